"""The database: one address for services (PgBouncer), and a hosted-style Postgres behind it.

Where stack config names no hosted Postgres, a stand-in runs in the `hosted` namespace: a real Postgres whose
workload role is as unprivileged as a hosted one's. Services know only DATABASE_URL, which never changes.
"""

from __future__ import annotations

from urllib.parse import quote

import pulumi

from components.containers import container
from components.foundation import Foundation
from components.kube import content_hash, create_all, password
from components.manifests import (
    deployment,
    disruption_budget,
    secret,
    service,
    service_account,
    stateful_set,
)
from components.networking import allow, edge, pods_in, pods_of
from components.pods import Manifest, Pod, Probes, env, tcp_probe
from components.settings import Settings
from contracts import names
from contracts.stages import Component

COMPONENT = Component.DATABASE
CLIENT = "database-client"
"""The Secret with DATABASE_URL."""
ROLE = "trading_app"
"""The workload's role at the stand-in: it may connect and make schemas of its own, nothing else."""
POSTGRES, POOLER = names.HOSTED_POSTGRES_NAME, names.POOLER_NAME


def roles_sql(role_password: str) -> str:
    """Makes the role and the database, and gives the role its password; run at every start, so a volume that was
    kept takes a new password. The password holds letters and digits only."""
    return f"""\\set ON_ERROR_STOP on
SELECT 'CREATE ROLE {ROLE}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
ALTER ROLE {ROLE} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{role_password}';
SELECT 'CREATE DATABASE {names.DATABASE_NAME}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{names.DATABASE_NAME}') \\gexec
REVOKE ALL ON DATABASE {names.DATABASE_NAME} FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {names.DATABASE_NAME} TO {ROLE};
"""  # noqa: S608 - names are constants, and the password was made of letters and digits


def pooler_files(host: str, port: int, database: str, user: str, sslmode: str, user_password: str) -> dict[str, str]:
    """pgbouncer.ini and userlist.txt. `user` connects to the pooler, and the pooler as `user` to Postgres."""
    ini = f"""[databases]
{names.DATABASE_NAME} = host={host} port={port} dbname={database}

[pgbouncer]
listen_addr = 0.0.0.0
listen_port = {names.POOLER_PORT}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
max_prepared_statements = 200
server_tls_sslmode = {sslmode}
ignore_startup_parameters = extra_float_digits,options
query_wait_timeout = 300
server_login_retry = 1
; a name that does not resolve yet is asked for again soon
dns_nxdomain_ttl = 2
"""
    quoted = user_password.replace('"', '""')
    return {"pgbouncer.ini": ini, "userlist.txt": f'"{user}" "{quoted}"\n'}


def stand_in(settings: Settings, config_hash: object) -> list[Manifest]:
    """The stand-in for a hosted Postgres."""
    namespace = settings.namespaces.hosted
    probe = tcp_probe(names.POSTGRES_PORT)
    made = container(
        settings,
        POSTGRES,
        "postgres",
        env=env(POSTGRES_PASSWORD_FILE="/run/secrets/postgres/password"),  # noqa: S106 - a path
        ports={"postgres": names.POSTGRES_PORT},
        mounts={
            "/data": ("data", False),
            "/run/secrets/postgres": ("password", True),
            "/docker-entrypoint-initdb.d": ("roles", True),
        },
        probes=Probes(startup=tcp_probe(names.POSTGRES_PORT, period=2, failures=150), readiness=probe, liveness=probe),
    )
    volumes: dict[str, Manifest] = {
        "password": {"secret": {"secretName": POSTGRES, "items": [{"key": "password", "path": "password"}]}},
        "roles": {"secret": {"secretName": POSTGRES, "items": [{"key": "roles.sql", "path": "roles.sql"}]}},
    }
    pod = Pod(
        app=POSTGRES,
        container=made,
        service_account=POSTGRES,
        volumes=volumes,
        hashes={"config": config_hash},
        grace_seconds=60,
    )
    return [
        service_account(POSTGRES, namespace),
        service(POSTGRES, namespace, {"postgres": names.POSTGRES_PORT}),
        disruption_budget(POSTGRES, namespace),
        allow(
            POSTGRES,
            namespace,
            pods_of(POSTGRES),
            ingress=[edge("from", [pods_in(settings.namespaces.backend, POOLER)], [names.POSTGRES_PORT])],
        ),
        stateful_set(
            pod, namespace, replicas=1, storage=settings.database.storage, storage_class=settings.storage_class
        ),
    ]


def pooler(settings: Settings, config_hash: object) -> list[Manifest]:
    """PgBouncer. One pod: a switch must pause all of it at once."""
    namespace, hosted = settings.namespaces.backend, settings.database.hosted
    server = (
        edge("to", [pods_in(settings.namespaces.hosted, POSTGRES)], [names.POSTGRES_PORT])
        if hosted is None
        else edge("to", [], [hosted.port])
    )
    probe = tcp_probe(names.POOLER_PORT)
    made = container(
        settings,
        POOLER,
        "pgbouncer",
        command=["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"],
        ports={"postgres": names.POOLER_PORT},
        mounts={"/etc/pgbouncer": ("config", True)},
        probes=Probes(startup=tcp_probe(names.POOLER_PORT, period=1, failures=60), readiness=probe, liveness=probe),
    )
    pod = Pod(
        app=POOLER,
        container=made,
        service_account=POOLER,
        volumes={"config": {"secret": {"secretName": POOLER}}},
        hashes={"config": config_hash},
    )
    return [
        service_account(POOLER, namespace),
        service(POOLER, namespace, {"postgres": names.POOLER_PORT}),
        disruption_budget(POOLER, namespace),
        allow(
            POOLER,
            namespace,
            pods_of(POOLER),
            ingress=[edge("from", [pods_of(names.TRADING_ENGINE_NAME)], [names.POOLER_PORT])],
            egress=[server],
        ),
        deployment(pod, namespace, recreate=True),
    ]


class Database(pulumi.ComponentResource):
    """See the module. `client_hash` changes with DATABASE_URL."""

    client_hash: pulumi.Output[str]
    ready: list[pulumi.Resource]

    def __init__(
        self, name: str, settings: Settings, foundation: Foundation, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("crossover:database:Database", name, {"stage": settings.database.stage.value}, opts)
        namespace, hosted = settings.namespaces.backend, settings.database.hosted
        inside = pulumi.ResourceOptions(parent=self, depends_on=foundation.ready)
        self.ready = []
        if hosted is None:
            host = f"{POSTGRES}.{settings.namespaces.hosted}.svc.{settings.cluster_domain}"
            port, database, user, sslmode = names.POSTGRES_PORT, names.DATABASE_NAME, ROLE, "disable"
            user_password = password("hosted-postgres-app-password", self)
            files = {
                "password": password("hosted-postgres-admin-password", self),
                "roles.sql": user_password.apply(roles_sql),
            }
            stored = create_all([secret(POSTGRES, settings.namespaces.hosted, files)], inside)
            made = stand_in(settings, content_hash(files, foundation.salt))
            self.ready += create_all(made, pulumi.ResourceOptions(parent=self, depends_on=stored))
        else:
            host, port, database, user, sslmode = hosted.host, hosted.port, hosted.name, hosted.user, hosted.sslmode
            user_password = pulumi.Output.secret(hosted.password.get_secret_value())
        written = user_password.apply(lambda value: pooler_files(host, port, database, user, sslmode, value))
        pooled = {key: written[key] for key in ("pgbouncer.ini", "userlist.txt")}
        url = user_password.apply(lambda value: database_url(user, value))
        stored = create_all(
            [secret(POOLER, namespace, pooled), secret(CLIENT, namespace, {names.ENV_DATABASE_URL: url})], inside
        )
        self.client_hash = content_hash({"url": url}, foundation.salt)
        made = pooler(settings, content_hash(pooled, foundation.salt))
        behind = pulumi.ResourceOptions(parent=self, depends_on=[*stored, *self.ready])
        self.ready += create_all(made, behind)
        self.register_outputs({"stage": settings.database.stage.value})


def database_url(user: str, user_password: str) -> str:
    """What services connect to, at every stage."""
    quoted = f"{quote(user, safe='')}:{quote(user_password, safe='')}"
    return f"postgresql://{quoted}@{POOLER}:{names.POOLER_PORT}/{names.DATABASE_NAME}"

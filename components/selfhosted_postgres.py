"""The Scale database: our own Postgres in a StatefulSet, whose pod is postgres-0. Pure."""

from __future__ import annotations

from components.containers import container
from components.hosted_postgres import secret_files
from components.manifests import disruption_budget, service, service_account, stateful_set
from components.pods import Container, Manifest, Pod, Probes, env, exec_probe
from components.settings import Settings
from components.sizes import resources
from contracts import names

NAME = names.SELFHOSTED_POSTGRES_NAME
SECRET = "database-postgres"  # noqa: S105 - the name of a Secret, not one
ROLE = "trading_app"
"""The workload's role. It owns what moved here, and nothing else."""
BACKUP_ROLE = "crossover_backup"
"""It may copy the whole server, by replication, and look into no database."""


def host(settings: Settings) -> str:
    """Where clients in the cluster find it."""
    return f"{names.SELFHOSTED_POSTGRES_SERVICE}.{settings.namespaces.backend}.svc.{settings.cluster_domain}"


def certified_names(settings: Settings) -> tuple[str, ...]:
    """What its certificate says that it is: all names of its Service."""
    service, namespace = names.SELFHOSTED_POSTGRES_SERVICE, settings.namespaces.backend
    return (service, f"{service}.{namespace}", f"{service}.{namespace}.svc", host(settings))


def configuration(settings: Settings) -> str:
    """postgresql.conf. Memory by what the pod may have."""
    memory = resources(settings.size, NAME).limit
    values = {
        "listen_addresses": "'*'",
        "wal_level": "logical",
        "max_wal_senders": "10",
        "max_replication_slots": "10",
        "max_slot_wal_keep_size": f"'{settings.database.selfhosted.max_wal_keep_mb}MB'",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "max_connections": "200",
        # Which certificate, the image's `run` says: the user's, or the one that it made.
        "ssl_min_protocol_version": "'TLSv1.2'",
        "shared_buffers": f"'{memory // 4}MB'",
        "effective_cache_size": f"'{memory // 2}MB'",
        "maintenance_work_mem": f"'{max(16, memory // 16)}MB'",
        "wal_compression": "on",
        # A copy writes more than any day's work: without room each checkpoint would write whole pages again.
        "max_wal_size": "'2GB'",
        "checkpoint_timeout": "'10min'",
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


HBA = f"""\
# The pod itself. Nobody else shares its loopback or its files.
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
# Everybody else comes by TLS, or not at all.
hostssl replication {BACKUP_ROLE} all scram-sha-256
hostssl all {BACKUP_ROLE} all reject
hostssl all all all scram-sha-256
"""
"""pg_hba.conf."""


def roles_sql(settings: Settings, role_password: str, backup_password: str) -> str:
    """Makes the roles and the database, and gives them their passwords; run at every start. Passwords hold letters and
    digits only, and so do the names of roles, beside `_`."""
    others = "".join(_role_sql(name) for name in settings.database.selfhosted.roles)
    return f"""\\set ON_ERROR_STOP on
{_role_sql(ROLE)}ALTER ROLE {ROLE} WITH LOGIN PASSWORD '{role_password}'
  NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
SELECT 'CREATE DATABASE {names.DATABASE_NAME}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{names.DATABASE_NAME}') \\gexec
REVOKE ALL ON DATABASE {names.DATABASE_NAME} FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {names.DATABASE_NAME} TO {ROLE};
{others}{_backup_sql(backup_password if settings.base_backups else None)}"""  # noqa: S608 - names are constants, and the password was made of letters and digits


def _backup_sql(password: str | None) -> str:
    """The role for base backups; where none are made it may not log in, if it is there from before."""
    if password is None:
        there = f"EXISTS (SELECT FROM pg_roles WHERE rolname = '{BACKUP_ROLE}')"
        return f"SELECT 'ALTER ROLE {BACKUP_ROLE} NOLOGIN' WHERE {there} \\gexec\n"
    return f"{_role_sql(BACKUP_ROLE)}ALTER ROLE {BACKUP_ROLE} WITH LOGIN REPLICATION PASSWORD '{password}';\n"


def _role_sql(name: str) -> str:
    made = f"SELECT 'CREATE ROLE {name} NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}')"  # noqa: S608
    return f"{made} \\gexec\n"


def files(settings: Settings, admin_password: object, roles: object) -> dict[str, object]:
    """The Secret's content."""
    return {
        "password": admin_password,
        "postgresql.conf": configuration(settings),
        "pg_hba.conf": HBA,
        "roles.sql": roles,
    }


def _server(settings: Settings) -> Container:
    """The one container."""
    ready = ["pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(names.POSTGRES_PORT)]
    given = settings.database.selfhosted.tls_secret
    return container(
        settings,
        NAME,
        "postgres",
        env=env(
            POSTGRES_PASSWORD_FILE="/run/secrets/postgres/password",  # noqa: S106 - a path
            POSTGRES_TLS_NAMES=None if given else ",".join(certified_names(settings)),
        ),
        ports={"postgres": names.POSTGRES_PORT},
        mounts={
            "/data": ("data", False),
            "/run/secrets/postgres": ("password", True),
            "/etc/postgres": ("config", True),
            "/docker-entrypoint-initdb.d": ("roles", True),
            **({"/run/secrets/tls": ("certificate", True)} if given else {}),
        },
        probes=Probes(
            startup=exec_probe(ready, period=2, failures=300),
            readiness=exec_probe(ready, period=5),
            liveness=exec_probe(ready, period=10, failures=6),
        ),
    )


def manifests(settings: Settings, config_hash: object) -> list[Manifest]:
    """What runs while our own side is deployed; its Secret exists at every stage."""
    namespace = settings.namespaces.backend
    given = settings.database.selfhosted.tls_secret
    certificate = {} if given is None else {"certificate": secret_files(given, "tls.crt", "tls.key")}
    pod = Pod(
        app=NAME,
        container=_server(settings),
        service_account=NAME,
        volumes={
            "password": secret_files(SECRET, "password"),
            "config": secret_files(SECRET, "postgresql.conf", "pg_hba.conf"),
            "roles": secret_files(SECRET, "roles.sql"),
            **certificate,
        },
        hashes={"config": config_hash},
        grace_seconds=120,
    )
    ports = {"postgres": names.POSTGRES_PORT}
    return [
        service_account(NAME, namespace),
        service(NAME, namespace, ports, headless=True),
        service(NAME, namespace, ports, name=names.SELFHOSTED_POSTGRES_SERVICE),
        disruption_budget(NAME, namespace),
        stateful_set(
            pod,
            namespace,
            replicas=1,
            storage=settings.database.selfhosted.storage,
            storage_class=settings.storage_class,
        ),
    ]

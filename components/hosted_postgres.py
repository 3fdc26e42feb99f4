"""The stand-in for a hosted Postgres: a real one in the `hosted` namespace, whose roles are as unprivileged. Pure."""

from __future__ import annotations

from pathlib import Path

from components.containers import container
from components.manifests import disruption_budget, service, service_account, stateful_set
from components.pods import Manifest, Pod, Probes, env, tcp_probe
from components.settings import Settings
from contracts import names

NAME = names.HOSTED_POSTGRES_NAME
ROLE = "trading_app"
"""The workload's role: it may connect and make schemas of its own, nothing else."""
MIGRATOR = "hosted"
"""What Supabase calls `postgres`: it may publish and replicate what it owns, and is no superuser."""
SEED = Path(__file__).resolve().parent.parent / "local" / "hosted_postgres" / "seed.sql"


def configuration() -> str:
    """postgresql.conf, with what a hosted server has."""
    values = {
        "listen_addresses": "'*'",
        "wal_level": "logical",
        "max_wal_senders": "10",
        "max_replication_slots": "5",
        "max_slot_wal_keep_size": "'512MB'",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "extra_float_digits": "0",
        "max_connections": "100",
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


DATABASE_SQL = f"""\\set ON_ERROR_STOP on
SELECT 'CREATE DATABASE {names.DATABASE_NAME}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{names.DATABASE_NAME}') \\gexec
"""  # noqa: S608 - a constant


def roles_sql(app_password: str, migrator_password: str) -> str:
    """Gives the seed's roles their passwords; run at every start after it, so a volume that was kept takes new ones.
    They hold letters and digits only."""
    return f"""\\set ON_ERROR_STOP on
ALTER ROLE {ROLE} PASSWORD '{app_password}';
ALTER ROLE {MIGRATOR} PASSWORD '{migrator_password}';
REVOKE ALL ON DATABASE {names.DATABASE_NAME} FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {names.DATABASE_NAME} TO {ROLE};
"""


def files(admin_password: object, roles: object) -> dict[str, object]:
    """The Secret's content."""
    return {
        "password": admin_password,
        "postgresql.conf": configuration(),
        "00-database.sql": DATABASE_SQL,
        "10-seed.sql": SEED.read_text(),
        "20-roles.sql": roles,
    }


def manifests(settings: Settings, config_hash: object) -> list[Manifest]:
    """What runs while the hosted side is deployed and no address of a real one is given."""
    namespace = settings.namespaces.hosted
    probe = tcp_probe(names.POSTGRES_PORT)
    made = container(
        settings,
        NAME,
        "postgres",
        env=env(POSTGRES_PASSWORD_FILE="/run/secrets/postgres/password"),  # noqa: S106 - a path
        ports={"postgres": names.POSTGRES_PORT},
        mounts={
            "/data": ("data", False),
            "/run/secrets/postgres": ("password", True),
            "/etc/postgres": ("config", True),
            "/docker-entrypoint-initdb.d": ("roles", True),
        },
        probes=Probes(startup=tcp_probe(names.POSTGRES_PORT, period=2, failures=150), readiness=probe, liveness=probe),
    )
    pod = Pod(
        app=NAME,
        container=made,
        service_account=NAME,
        volumes={
            "password": secret_files(NAME, "password"),
            "config": secret_files(NAME, "postgresql.conf"),
            "roles": secret_files(NAME, "00-database.sql", "10-seed.sql", "20-roles.sql"),
        },
        hashes={"config": config_hash},
        grace_seconds=60,
    )
    return [
        service_account(NAME, namespace),
        service(NAME, namespace, {"postgres": names.POSTGRES_PORT}),
        disruption_budget(NAME, namespace),
        stateful_set(
            pod, namespace, replicas=1, storage=settings.database.storage, storage_class=settings.storage_class
        ),
    ]


def secret_files(secret: str, *keys: str) -> Manifest:
    """A volume with some keys of a Secret."""
    return {"secret": {"secretName": secret, "items": [{"key": key, "path": key} for key in keys]}}

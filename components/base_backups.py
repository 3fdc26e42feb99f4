"""Base backups of our own Postgres by a schedule: a CronJob beside it, and a volume that outlives it. Pure.

It connects as a role that may replicate and nothing else, over TLS, like everybody from another pod. That a backup
is whole is checked before it gets its name; what is kept elsewhere is made by `crossover backup`.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from components import database_tls, selfhosted_postgres
from components.containers import container
from components.manifests import claim, cron_job, service_account
from components.pods import Manifest, Pod, env, secret_env
from components.settings import BaseBackups, Settings
from contracts import names

NAME = names.BASE_BACKUP_NAME
FOLDER = "/backups"
PASSWORD = "password"  # noqa: S105 - a key of a Secret
_DEADLINE_SECONDS = 6 * 3600


def volume(settings: Settings, backups: BaseBackups) -> Manifest:
    """Where they are kept: as long as somebody does not delete it by hand."""
    return claim(
        NAME, settings.namespaces.backend, storage=backups.storage, storage_class=settings.storage_class
    )  # fmt: skip


def manifests(settings: Settings, backups: BaseBackups) -> list[Manifest]:
    """What comes and goes with our own server; the volume, the Secret and the network's rule do not."""
    namespace = settings.namespaces.backend
    tls = {key: values[0] for key, values in parse_qs(database_tls.of_ours(settings)).items()}
    made = container(
        settings,
        NAME,
        "postgres",
        command=["sh", "/usr/local/bin/base-backup"],
        env=[
            *env(
                PGHOST=selfhosted_postgres.host(settings),
                PGPORT=str(names.POSTGRES_PORT),
                PGUSER=selfhosted_postgres.BACKUP_ROLE,
                PGSSLMODE=tls["sslmode"],
                PGSSLROOTCERT=tls.get("sslrootcert"),
                KEEP_DAYS=str(backups.keep),
            ),
            secret_env("PGPASSWORD", NAME, PASSWORD),
        ],
        mounts={FOLDER: ("backups", False), **database_tls.own_mounts(settings)},
    )
    pod = Pod(
        app=NAME,
        container=made,
        service_account=NAME,
        volumes={"backups": {"persistentVolumeClaim": {"claimName": NAME}}, **database_tls.own_volumes(settings)},
        restart="Never",
    )
    return [
        service_account(NAME, namespace),
        cron_job(pod, namespace, schedule=backups.schedule, deadline=_DEADLINE_SECONDS),
    ]

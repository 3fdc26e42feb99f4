"""The database: one address for services (PgBouncer), and behind it a hosted Postgres, our own, or both.

Where stack config names no hosted Postgres, a stand-in runs in the `hosted` namespace: a real Postgres whose
workload role is as unprivileged as a hosted one's. Services know only DATABASE_URL, which never changes. What is
deployed at a stage is contracts/stages.STAGE_TABLE; credentials, rights and network edges of both sides exist at every
stage, so that a switch restarts nobody.
"""

from __future__ import annotations

from urllib.parse import quote

import pulumi

from components import base_backups, database_access, database_tls, hosted_postgres, pooler, selfhosted_postgres
from components.bus_access import route_config_map
from components.foundation import Foundation
from components.kube import content_hash, create, create_all, password
from components.manifests import secret
from components.settings import Settings
from components.transition import Transition
from contracts import names
from contracts.stages import STAGE_TABLE, Component, Side, backend_of, deployed_backends

COMPONENT = Component.DATABASE
CLIENT = "database-client"
"""The Secret with DATABASE_URL."""
EMERGENCY = (
    "database.emergency is true: where our own Postgres serves, clients go to the hosted one without ours being asked, "
    "within seconds. What ours committed and the hosted one had not got stays in ours; the Transition tells up to "
    "where the hosted one has all. Once ours is back and emergency is taken out of config, it is told and kept in the "
    "table crossover.stranded of the hosted one, and ours is filled anew. Until then stage scale is refused. A "
    "Postgres that still serves is not fled from"
)
"""What a preview says that it will mean."""
HOSTED, OURS = (backend_of(COMPONENT, side) for side in (Side.OLD, Side.NEW))


class Database(pulumi.ComponentResource):
    """See the module. `client_hash` changes with DATABASE_URL."""

    client_hash: pulumi.Output[str]
    ready: list[pulumi.Resource]
    transition: Transition

    def __init__(
        self,
        name: str,
        settings: Settings,
        foundation: Foundation,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        stage = settings.database.stage
        super().__init__("crossover:database:Database", name, {"stage": stage.value}, opts)
        self._settings, self._salt, self._keeper = settings, foundation.salt, foundation.keeper
        if settings.database.emergency:
            pulumi.log.warn(EMERGENCY, self)
        self._inside = pulumi.ResourceOptions(parent=self, depends_on=foundation.ready)
        self._secrets()
        base = create_all([*database_access.rights(settings), *database_access.edges(settings)], self._inside)
        written = pulumi.ResourceOptions.merge(self._inside, pulumi.ResourceOptions(ignore_changes=["data"]))
        route = create(route_config_map(settings, COMPONENT), written)
        note = create(database_access.backup_note(settings), written)
        after = pulumi.ResourceOptions(parent=self, depends_on=[*foundation.ready, *base, *self._kept, route])
        deployed = deployed_backends(COMPONENT, stage)
        made: list[pulumi.Resource] = []
        if HOSTED in deployed and settings.database.hosted is None:
            made += create_all(hosted_postgres.manifests(settings, self._hosted_hash), after)
        if OURS in deployed:
            made += create_all(selfhosted_postgres.manifests(settings, self._ours_hash), after)
            made += self._base_backups(after)
        if STAGE_TABLE[stage].follows is not None:
            behind = pulumi.ResourceOptions.merge(after, pulumi.ResourceOptions(depends_on=made))
            made += create_all(database_access.carrier(settings, self._move_hash), behind)
        behind = pulumi.ResourceOptions.merge(after, pulumi.ResourceOptions(depends_on=made))
        made += create_all(pooler.manifests(settings, self._pooler_hash), behind)
        self.transition = Transition(
            name,
            settings,
            COMPONENT,
            stage,
            owner=foundation.owner,
            watch_seconds=settings.database.watch_seconds,
            deadline=settings.database.deadline_seconds,
            emergency=settings.database.emergency,
            ready=[route, note, *base, *self._kept, *made],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = [*made, self.transition.job]
        self.register_outputs({"stage": stage.value})

    def _base_backups(self, opts: pulumi.ResourceOptions) -> list[pulumi.CustomResource]:
        """The schedule, and the volume, which stays when the server goes: then it is what is left of it, and the next
        server's backups go there, too."""
        backups = self._settings.base_backups
        if backups is None:
            return []
        again = pulumi.ResourceOptions(retain_on_delete=True, provider=self._keeper)
        kept = pulumi.ResourceOptions.merge(opts, again)
        create(base_backups.volume(self._settings, backups), kept)
        return create_all(base_backups.manifests(self._settings, backups), opts)

    def _secrets(self) -> None:
        """All credentials, at every stage, and the hashes of what is configured with them."""
        settings, namespace, database = self._settings, self._settings.namespaces.backend, self._settings.database
        admin = password("database-postgres-admin-password", self)
        app = password("hosted-postgres-app-password", self)
        migrator = password("hosted-postgres-migrator-password", self)
        hosted_admin = password("hosted-postgres-admin-password", self)
        backup = password("database-postgres-backup-password", self)
        roles = pulumi.Output.all(app, backup).apply(lambda given: selfhosted_postgres.roles_sql(settings, *given))
        ours = selfhosted_postgres.files(settings, admin, roles)
        self._ours_hash = content_hash(ours, self._salt)
        stand_in = hosted_postgres.files(
            hosted_admin, pulumi.Output.all(app, migrator).apply(lambda given: hosted_postgres.roles_sql(*given))
        )
        self._hosted_hash = content_hash(stand_in, self._salt)
        hosted = database.hosted
        user = hosted_postgres.ROLE if hosted is None else hosted.user
        user_password = app if hosted is None else pulumi.Output.secret(hosted.password.get_secret_value())
        move = {
            names.ENV_HOSTED_DATABASE_URL: migrator.apply(lambda value: database_access.hosted_url(settings, value)),
            names.ENV_SELFHOSTED_DATABASE_URL: admin.apply(
                lambda value: database_access.own_server_url(settings, "postgres", value)
            ),
        }
        authority = database_tls.content(settings)
        self._move_hash = content_hash(move | authority, self._salt)
        written = pulumi.Output.all(user_password, app).apply(lambda given: self._pooler_files(user, *given))
        pooled = {key: written[key] for key in (HOSTED, OURS, pooler.LOGINS)}
        self._pooler_hash = content_hash(pooled | authority, self._salt)
        url = user_password.apply(lambda value: database_url(user, value))
        self.client_hash = content_hash({"url": url}, self._salt)
        manifests = [
            secret(selfhosted_postgres.SECRET, namespace, ours),
            secret(names.DATABASE_MOVE_NAME, namespace, move),
            secret(database_access.POOLER, namespace, pooled),
            secret(CLIENT, namespace, {names.ENV_DATABASE_URL: url}),
            *database_tls.authorities(settings),
            *([secret(base_backups.NAME, namespace, {base_backups.PASSWORD: backup})] if settings.base_backups else []),
        ]
        if hosted is None:
            manifests.append(secret(hosted_postgres.NAME, settings.namespaces.hosted, stand_in))
        self._kept = create_all(manifests, self._inside)

    def _pooler_files(self, user: str, user_password: str, app_password: str) -> dict[str, str]:
        urls = {
            HOSTED: database_access.hosted_server_url(self._settings, user, user_password),
            OURS: database_access.own_server_url(self._settings, selfhosted_postgres.ROLE, app_password),
        }
        return pooler.files(urls, user, user_password)


def database_url(user: str, user_password: str) -> str:
    """What services connect to, at every stage."""
    quoted = f"{quote(user, safe='')}:{quote(user_password, safe='')}"
    return f"postgresql://{quoted}@{database_access.POOLER}:{names.POOLER_PORT}/{names.DATABASE_NAME}"

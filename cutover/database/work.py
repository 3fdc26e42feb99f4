"""What the steps of the database's transitions share: who is who, connections, and waiting for the carrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.postgres import heartbeats
from adapters.postgres.bookkeeping import SCHEMA
from adapters.postgres.catalog import Table, tables
from adapters.postgres.driver import Address, lsn, translated
from adapters.postgres.side import Side, open_side
from contracts import stages
from contracts.stages import STAGE_TABLE, Component, Stage, backend_of
from cutover.context import Context, StepFailed

COMPONENT = Component.DATABASE
APPLICATION = "crossover-cutover"
HOSTED, OURS = (backend_of(COMPONENT, side) for side in (stages.Side.OLD, stages.Side.NEW))
SEE_CARRIER = "See kubectl logs deployment/database-carrier"
_OWNED = """
select distinct n.nspname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and pg_catalog.pg_has_role(c.relowner, 'USAGE') and n.nspname <> all(%s)
   and n.nspname not like 'pg\\_%%' order by 1
"""


def other(backend: str) -> str:
    """The backend that is not `backend`."""
    first, second = sorted(backend_of(COMPONENT, side) for side in STAGE_TABLE[Stage.SHADOW].deployed)
    return second if backend == first else first


class DatabaseWork:
    """One run's view of both servers. `wanted`: the schemas that config names, none for those in which the role at
    the hosted side owns tables; `role`: the workload's at our own side, which owns what moved there."""

    def __init__(
        self,
        context: Context,
        servers: Mapping[str, Address],
        wanted: Sequence[str],
        role: str,
        volumes: Mapping[str, int],
    ) -> None:
        self.context = context
        self.servers = servers
        self.role = role
        self.volumes = volumes
        self._wanted = tuple(wanted)
        self._sides: dict[str, Side] = {}

    def close(self) -> None:
        """Give up connections."""
        for side in self._sides.values():
            side.close()
        self._sides.clear()

    @property
    def active(self) -> str:
        """The backend that serves now."""
        return self.context.route.active

    @property
    def passive(self) -> str:
        """The backend that does not serve now."""
        return other(self.context.route.active)

    def at(self, backend: str) -> Side:
        """The connection to `backend`, made anew where it was lost. Raises Unavailable, Refused."""
        found = self._sides.get(backend)
        if found is None or found.connection.closed or found.connection.broken:
            found = self._sides[backend] = open_side(self.servers[backend], APPLICATION)
        return found

    def wal(self, backend: str) -> int:
        """Where the WAL of `backend` ends now."""
        return lsn(self.at(backend).row("select pg_catalog.pg_current_wal_insert_lsn()::text")[0])

    def schemas(self) -> tuple[str, ...]:
        """The schemas that move. Without config: those at the hosted side in which its role owns tables."""
        if self._wanted:
            return self._wanted
        # At our side the role is a superuser, who has what every role has: the hosted side is asked, whoever serves.
        return tuple(row[0] for row in self.at(HOSTED).rows(_OWNED, ([SCHEMA, "information_schema"],)))

    def tables(self, backend: str) -> tuple[Table, ...]:
        """The tables that move, as `backend` has them."""
        side, schemas = self.at(backend), self.schemas()
        with translated(side.address):
            return tables(side.connection, schemas)

    def await_beat(self, source: str, seconds: float) -> float:
        """Write a heartbeat at `source` and wait until it has come to the other side: then all that was committed
        before it has. How long that took, in seconds. Raises StepFailed after `seconds`."""
        began, target = self.context.now(), other(source)
        here = self.at(source)
        with translated(here.address):
            sent = heartbeats.beat(here.connection, source).number
        self.context.until(
            lambda: self.heard(target, source) >= sent,
            seconds,
            lambda: StepFailed(
                f"what was written at {source} did not come to {target} within {seconds:g} s: the stream stands still, "
                f"or somebody wrote at {source} past the pooler while it did not serve",
                SEE_CARRIER,
            ),
            every=0.005,
            note=lambda: f"waiting for what was written at {source} to come to {target}",
        )
        return self.context.now() - began

    def heard(self, backend: str, source: str) -> int:
        """The newest heartbeat of `source` that came to `backend`."""
        side = self.at(backend)
        with translated(side.address):
            return heartbeats.heard(side.connection, source)

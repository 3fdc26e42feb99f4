"""What the steps of the database's transitions share: who is who, connections, and waiting for the carrier."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from adapters.known import Fact, Unknown
from adapters.postgres import heartbeats, slots
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.catalog import Table, tables
from adapters.postgres.content_facts import extensions, owned_schemas
from adapters.postgres.driver import Address, lsn, lsn_text, translated
from adapters.postgres.masks import Masks
from adapters.postgres.side import Side, open_side, opened
from adapters.postgres.target import TARGET_SESSION
from adapters.routes.base import RouteError
from contracts import names, stages
from contracts.stages import Component, backend_of, other_backend
from cutover.context import Context, Evidence, StepFailed
from cutover.database.preflight import ACCEPTABLE, Backup, End, Journey, Limits, Situation, checks, gather, journey
from cutover.database.resuming import Resuming
from cutover.plan import Transition
from cutover.refusing import refuse
from validation.database import fingerprint, structure
from validation.database.fingerprint import Fingerprint
from validation.database.looking import Looks
from validation.database.progress import Progress
from validation.database.rows import Pace, Rows, compare
from validation.result import Check, Verdict
from validation.verdicts import KeptVerdict, moment

COMPONENT = Component.DATABASE
APPLICATION = "crossover-cutover"
HOSTED, OURS = (backend_of(COMPONENT, side) for side in (stages.Side.OLD, stages.Side.NEW))
_LOADED = """
select coalesce(extract(epoch from max(replay_lag)), 0)::float8,
       coalesce(max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)), 0)::int8,
       pg_catalog.current_setting('max_connections')::int4
         - pg_catalog.current_setting('superuser_reserved_connections')::int4,
       (select count(*) from pg_catalog.pg_stat_activity where backend_type = 'client backend')
  from pg_catalog.pg_stat_replication where application_name not like 'crossover%'
"""
_BEHIND_SECONDS, _BEHIND_BYTES = 10.0, 256 << 20
_FREE_SHARE = 0.1
"""Of the source's connections: fewer that are free are left to its clients."""
_HEIR = """
select coalesce((select rolname from pg_catalog.pg_roles
                  where rolname = %s and pg_catalog.pg_has_role(oid, 'member')), current_user)
"""
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_SMALL_BYTES = 16 << 20
"""Of the tables that are compared within the pause, together."""
PACE = Pace(connections=2)
"""Of each comparison."""
GIVEN_UP = "what was stranded"
"""In crossover:database.accept: what only a lost side had, and cannot be read any more, is given up."""
SEE_STRAYS = "crossover strays database lists what was written past the pooler, and settles it"
SEE_CARRIER = "See kubectl logs deployment/database-carrier"


def other(backend: str) -> str:
    """The backend that is not `backend`."""
    return other_backend(COMPONENT, backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """What config says of the move. `schemas`: those that move, none for those in which the role at the hosted side
    owns tables; `role`: the workload's at our own side, which owns what moved there; `accepted`: items of preflight
    that are let pass; `volumes`: bytes of a side's disk, where config knows them; `tied`: a commit at our own side
    waits until the hosted one has it (rollback_loss: none); `masks`: columns whose values are shown nowhere;
    `backup_hours`: how old the last backup may be where the database moves on."""

    schemas: tuple[str, ...] = ()
    role: str
    accepted: frozenset[str] = frozenset()
    volumes: Mapping[str, int] = field(default_factory=dict)
    masks: Masks = field(default_factory=Masks)
    tied: bool = False
    backup_hours: float = names.DEFAULT_BACKUP_HOURS


class DatabaseWork:
    """One run's view of both servers."""

    def __init__(self, context: Context, servers: Mapping[str, Address], moving: Moving) -> None:
        self.context = context
        self.servers = servers
        self.moving = moving
        self._sides: dict[str, Side] = {}
        self._declared: Fingerprint | None = None

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
        """The connection to `backend`, made anew where it was lost. What it commits is durable there, and waits for no
        other server. Raises Unavailable, Refused."""
        found = self._sides.get(backend)
        if found is None or found.connection.closed or found.connection.broken:
            found = self._sides[backend] = open_side(self.servers[backend], APPLICATION, TARGET_SESSION)
        return found

    def wal(self, backend: str) -> int:
        """Where the WAL of `backend` ends now."""
        return lsn(self.at(backend).row("select pg_catalog.pg_current_wal_insert_lsn()::text")[0])

    def schemas(self, *, asking_ours: bool = True) -> tuple[str, ...]:
        """The schemas that move. Without config: those at the hosted side in which its role owns tables; where our own
        side serves, those in which the workload's role does there, too, for the hosted one may be empty, or older. A
        side that is dead is not asked: `asking_ours`."""
        if self.moving.schemas:
            return self.moving.schemas
        hosted = self.at(HOSTED)
        with translated(hosted.address):
            found = set(owned_schemas(hosted.connection))
        if asking_ours and self.context.seen.route is not None and self.active == OURS:
            ours = self.at(OURS)  # as a superuser, who has what every role has
            with translated(ours.address):
                found |= set(owned_schemas(ours.connection, self.moving.role))
        return tuple(sorted(found))

    def owner(self, backend: str) -> str:
        """Whose at `backend` is what moves there. At the hosted side: the owner of the tables that it has; where it has
        none yet, the role that has the name of our side's, if the migrating role may act for it, or else that one."""
        if backend == OURS:
            return self.moving.role
        if owners := {table.owner for table in self.tables(backend)}:
            return sorted(owners)[0]
        return str(self.at(backend).row(_HEIR, (self.moving.role,))[0])

    def tables(self, backend: str) -> tuple[Table, ...]:
        """The tables that move, as `backend` has them."""
        side, schemas = self.at(backend), self.schemas()
        with translated(side.address):
            return tables(side.connection, schemas)

    def drop_slot(self, backend: str) -> None:
        """Drop what `backend` keeps for the other side, once nobody reads it. Raises StepFailed."""
        side, name = self.at(backend), slot_name(backend)
        with translated(side.address):
            self.context.until(
                lambda: (state := slots.slot_state(side.connection, name)) is None or state.reader is None,
                self.context.timing.drain,
                lambda: StepFailed(f"the slot {name} at {backend} is still read", SEE_CARRIER),
            )
            slots.drop_slot(side.connection, name)
            slots.unpublish(side.connection)

    def end_reader(self, backend: str) -> bool:
        """End the process by which the slot at `backend` is read; whether there was one."""
        side = self.at(backend)
        with translated(side.address):
            return slots.end_reader(side.connection, slot_name(backend))

    def pressure(self) -> str:
        """Why nothing more should be copied for a while: a standby of the source, if it has any, falls behind, or its
        clients are about to find no connection."""
        with opened(self.servers[self.active], APPLICATION) as source:
            seconds, behind, most, used = source.row(_LOADED)
        if seconds > _BEHIND_SECONDS or behind > _BEHIND_BYTES:
            return f"a standby of {self.active} is {seconds:.0f} s and {behind / 1e6:.0f} MB behind"
        free = max(0, most - used)
        return f"{free} of {most} connections of {self.active} are free" if free < most * _FREE_SHARE else ""

    def examine(self, transition: Transition) -> tuple[Check, ...]:
        """The answer of every item of preflight. Changes nothing."""
        route = self.context.seen.route
        source = route.active if route is not None else HOSTED
        kind = journey(transition)
        if not transition.steps:  # a check of how it stands
            kind = Journey.SWITCH if route is not None and route.mirror is not None else Journey.ESTABLISH
        target = "" if kind is Journey.ESTABLISH else other(source)
        end = End(target, self.servers[target]) if target else None
        unknown = sorted(self.moving.accepted - ACCEPTABLE - {GIVEN_UP})
        if unknown:
            raise StepFailed(
                f"crossover:database.accept names {', '.join(unknown)}, which cannot be let pass",
                f"Take it out, or name one of: {', '.join(sorted(ACCEPTABLE | {GIVEN_UP}))}",
            )
        schemas = self.moving.schemas or (self.schemas() if kind in {Journey.JOIN, Journey.SWITCH} else None)
        facts = gather(End(source, self.servers[source]), end, schemas)
        return checks(
            Situation(
                journey=kind, source=source, target=target, facts=facts, volumes=self.moving.volumes,
                accepted=self.moving.accepted,
                masks=self.moving.masks,
                pooled=frozenset({self.moving.role}),
                backup=self._backup(),
                limits=Limits(backup_hours=self.moving.backup_hours),
                encrypt=frozenset(name for name, at in self.servers.items() if at.sslmode in _ENCRYPTED),
            )
        )  # fmt: skip

    def _backup(self) -> Fact[Backup | None]:
        """What is noted of the last backup."""
        try:
            note = self.context.backups.read()
        except RouteError as error:
            return Unknown(str(error))
        return (
            None if note is None else Backup(side=note.side, hours=note.hours(self.context.clock()), place=note.place)
        )

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
                f"{SEE_STRAYS}; where it lists none: {SEE_CARRIER}",
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

    def compare(self, name: str, kept: KeptVerdict | None = None) -> str:
        """Definitions and rows of both sides, under traffic. What was compared before the last run of that `name` was
        cut off is gone on with, for a time. By a verdict that was `kept` the rows need not be read again, as long as
        the side that serves declares what it did then. Raises StepFailed, CouldNotCheck."""
        lock = threading.Lock()  # the comparison asks from several threads, and the main one waits for it

        def settle() -> None:
            with lock:
                self.await_beat(self.active, self.context.timing.drain)

        digest = self.remember_structure().digest
        positions = {side: lsn_text(self.wal(side)) for side in (self.active, self.passive)}
        declared = self._structure()
        if kept is not None and kept.fingerprint == digest:
            self.context.evidence = Evidence(spared=True)
            return f"{declared} kinds of definitions equal; rows were at {moment(kept.at)}, by a run that was cut off"
        resuming = Resuming(self.context, self.servers, self.passive, name)
        progress = resuming.begin(self.moving.masks, digest)
        since, resumed = progress.started, progress.done[0] > 0
        if resumed:
            settle()  # what was the same is so only where all that was written since has come
        self.context.evidence = Evidence(positions, digest, since)
        found: Rows | None = None
        try:
            found = self._rows(self.tables(self.active), Looks(settle=settle), PACE, progress, resuming.save)
        finally:
            resuming.end(progress, over=found is not None and found.verdict is Verdict.HOLDS)
        self._refuse(found)
        told = f"{declared} kinds of definitions and {found.compared} rows of {len(found.tables)} tables equal"
        return told + (f", the first as of {moment(since)}" if resumed else "")

    def remember_structure(self) -> Fingerprint:
        """From here on the side that serves shall declare what it does now."""
        self._declared = declared = self._fingerprint()
        return declared

    def refuse_drift(self) -> None:
        """Raise StepFailed where somebody changed a definition at the side that serves since it was remembered."""
        if self._declared is not None and (changed := fingerprint.changes(self._declared, self._fingerprint())):
            raise StepFailed(
                f"definitions at {self.active} changed meanwhile, which nothing carries: {', '.join(changed[:5])}"
                + (f" and {len(changed) - 5} more" if len(changed) > 5 else ""),
                f"Hold migrations meanwhile. Make the same change at {self.passive}, or go back to mvp and join anew",
            )

    def _fingerprint(self) -> Fingerprint:
        side, schemas = self.at(self.active), self.schemas()
        with translated(side.address):
            return fingerprint.take(side.connection, schemas)

    def _structure(self) -> int:
        here, there, schemas = self.at(self.active), self.at(self.passive), self.schemas()
        with translated(here.address):
            unneeded = {each.name for each in extensions(here.connection, schemas) if not each.needed}
        report = structure.compare(
            here.connection, there.connection, schemas, optional_extensions=unneeded, heir=self.moving.role
        )
        self.context.checks.extend(report.checks)
        refuse(report.checks, "comparison of definitions")
        return len(report.checks)

    def compare_at_rest(self, seconds: float) -> str:
        """The last look, while nobody writes: rows of the tables that are soon read, exactly. Those that are larger
        were compared before the pause, and every change since has come: a drain waits for that."""
        self.refuse_drift()
        small, size = [], 0
        for table in sorted(self.tables(self.active), key=lambda table: table.bytes):
            size += table.bytes
            if size <= _SMALL_BYTES:
                small.append(table)
        found = self._rows(small, Looks(), replace(PACE, seconds=max(1.0, seconds / 4)))
        self._refuse(found)
        return f"{found.compared} rows of {len(found.tables)} tables equal"

    def _rows(
        self, wanted: Sequence[Table], looks: Looks, pace: Pace, progress: Progress | None = None,
        save: Callable[[Progress], None] = lambda _: None,
    ) -> Rows:  # fmt: skip
        source, target = self.active, self.passive
        compared = {str(table) for table in wanted}
        there = [table for table in self.tables(target) if str(table) in compared]
        return compare(
            self.servers[source], self.servers[target], wanted, there, masks=self.moving.masks, looks=looks, pace=pace,
            progress=progress, save=save, stop=self.context.stopped.is_set, clock=self.context.clock,
        )  # fmt: skip

    def _refuse(self, found: Rows) -> None:
        self.context.check_stop()
        report = found.report()
        self.context.checks.extend(report.checks)
        refuse(report.checks, "comparison")

"""Before a switch: preflight, the first route, and bringing the other side into step."""

from __future__ import annotations

from adapters.postgres import bookkeeping, breaking_off, catalog, slots
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.copying import Copy, CopySettings
from adapters.postgres.driver import translated
from adapters.postgres.progress import Progress
from contracts.routes import Route
from contracts.stages import Stage, serving_backend
from cutover import verdicts
from cutover.context import StepFailed
from cutover.database.defining import Defining
from cutover.database.tying import Tying
from cutover.database.work import COMPONENT, OURS, DatabaseWork, other
from cutover.plan import Transition
from cutover.positions import carried
from cutover.refusing import tell

_TOLD_SECONDS = 5.0
_WORKERS = 2
"""Connections by which rows are read at the source."""


class Joining:
    """The steps that bring a side into step with the one that serves."""

    def __init__(self, work: DatabaseWork, tying: Tying, defining: Defining) -> None:
        self._w = work
        self._c = work.context
        self._tying = tying
        self._defining = defining
        self._told = 0.0

    def preflight(self, transition: Transition) -> str:
        """All that must hold before anything is touched, each item on a line."""
        found = self._w.examine(transition)
        self._c.checks.extend(found)
        return tell(found, self._c.say)

    def establish(self, transition: Transition) -> str:
        """Write the first route: the rows are at the hosted side, whatever is wanted in the end."""
        active = serving_backend(COMPONENT, Stage.MVP)
        self._c.write(Route(component=COMPONENT, stage=transition.goal, active=active, epoch=1))
        return f"{active} serves"

    def publish(self, transition: Transition) -> str:
        """The source keeps changes from now on; the tables that move are made at the target, empty and without keys.

        A slot that was there goes on with what it kept, and so does a copy that was begun behind it. One that was not
        begins anew: what an earlier try left at the target is taken away first, where it was ours.
        """
        source, target = self._w.active, self._w.passive
        here = self._w.at(source)
        moved = self._w.tables(source)
        for backend in (source, target):
            side = self._w.at(backend)
            with translated(side.address):
                bookkeeping.ensure(side.connection)
        with translated(here.address):
            kept = slots.slot_state(here.connection, slot_name(source))
            if kept is not None and kept.lost:
                raise StepFailed(
                    f"{source} dropped WAL that the copy still needed (max_slot_wal_keep_size): what was copied cannot "
                    "be brought into step any more",
                    f"Set crossover:database.stage to mvp, run pulumi up, raise the limit at {source}, and try again",
                )
            slots.publish(here.connection, moved)
        if kept is None:
            if self._c.route.mirror is not None:
                # Of a try whose slot is gone: nothing may be carried while all is copied.
                self._c.write(self._c.route.model_copy(update={"mirror": None}))
            self._empty(target)
        with translated(here.address):
            slots.ensure_slot(here.connection, slot_name(source))
        self._w.remember_structure()
        made = self._defining.make(source, target)
        self._defining.refuse_other_columns(moved, target)
        return f"{len(moved)} tables, {made} definitions made at {target}; {source} keeps what changes"

    def _empty(self, target: str) -> None:
        """Take away what an earlier try copied. Preflight has seen that nothing else is there; and what it had of its
        own after an emergency was kept (settling.py)."""
        side = self._w.at(target)
        self._w.drop_slot(target)
        if target == OURS:  # the hosted side is emptied by its owner alone: preflight asks for it
            for name in self._w.schemas():
                side.run(f"drop schema if exists {catalog.quoted(name)} cascade")
                if name == "public":  # as every database has it: pg_dump tells only what differs from that
                    side.run("create schema public authorization pg_database_owner")
                    side.run("grant usage on schema public to public")
        side.run(f"truncate {bookkeeping.SCHEMA}.{bookkeeping.CHUNK}, {bookkeeping.SCHEMA}.{bookkeeping.MARK}")
        # The stream from there begins anew, from a place that may lie before the last one: the server may be another.
        breaking_off.forget(self._w.at(other(target)), slot_name(target))

    def copy(self, transition: Transition) -> str:
        """Copy the rows that are not copied yet, and give them their keys."""
        source, target = self._w.active, self._w.passive
        copied = Copy(
            self._w.servers[source],
            self._w.servers[target],
            self._w.tables(source),
            CopySettings(workers=_WORKERS),
            pressure=self._w.pressure,
            progress=self._tell,
            stop=self._c.stopped,
        ).run()
        self._w.refuse_drift()
        self._defining.keys(source, target)
        return f"{copied.rows} rows, {copied.bytes} bytes"

    def _tell(self, progress: Progress) -> None:
        if self._c.now() - self._told > _TOLD_SECONDS:
            self._told = self._c.now()
            self._c.say(f"    {progress}")

    def publish_back(self, transition: Transition) -> str:
        """The target keeps what changes there for the way back. After the copy, which carries no mark, and before the
        carrier's first write."""
        target = self._w.passive
        there, moved = self._w.at(target), self._w.tables(target)
        with translated(there.address):
            slots.publish(there.connection, moved)
            slots.ensure_slot(there.connection, slot_name(target))
        return f"{target} keeps what changes"

    def start_mirror(self, transition: Transition) -> str:
        """Tell the carrier to carry from the side that serves; kept where it already does. All in its slot counts."""
        route = self._c.route
        if route.mirror is None:
            self._c.write(route.model_copy(update={"mirror": carried(route.active, other(route.active), 0)}))
        return f"{route.active} is carried to {other(route.active)}"

    def follow(self, transition: Transition) -> str:
        """Wait until all changes since the copy are applied, and so much of what came meanwhile that the rest takes
        less than a drain may."""
        timing, began = self._c.timing, self._c.now()
        while True:
            took = self._w.await_beat(self._w.active, timing.backfill)
            if took < timing.drain / 2 or self._c.now() - began > timing.backfill:
                return f"followed in {self._c.now() - began:.1f} s, {took * 1000:.0f} ms behind"

    def build(self, transition: Transition) -> str:
        """Build what comes after the rows: indexes, constraints, triggers, policies, rights."""
        source, target = self._w.active, self._w.passive
        self._w.refuse_drift()
        self._defining.rest(source, target)
        self._w.await_beat(source, self._c.timing.backfill)  # what waited for locks meanwhile
        return f"as at {source}"

    def prove_way_back(self, transition: Transition) -> str:
        """What is written at either side comes to the other one."""
        there = self._w.await_beat(self._w.active, self._c.timing.drain)
        back = self._w.await_beat(self._w.passive, self._c.timing.drain)
        return f"{self._w.active} to {self._w.passive} in {there * 1000:.0f} ms, back in {back * 1000:.0f} ms"

    def compare(self, transition: Transition) -> str:
        """Definitions and rows of both sides, under traffic; and what would be lost with the side that serves."""
        return self._w.compare(transition.name, verdicts.sparing(self._c, transition)) + self._tying.told(transition)

    def record(self, transition: Transition) -> str:
        """Write the stage that was reached; whatever was stranded has been told, and both sides are in step."""
        self._c.write(self._c.route.model_copy(update={"stage": transition.goal, "progress": None, "stranded": None}))
        return transition.goal.value

"""The pause and what follows it: fence, drain, sequences, check, open, watch, and undo."""

from __future__ import annotations

from adapters.postgres import breaking_off, sequences
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.errors import PostgresError
from adapters.postgres.server_facts import shown
from contracts.routes import Route
from cutover import fence
from cutover.context import CouldNotCheck, StepFailed
from cutover.database.tying import Tying
from cutover.database.work import DatabaseWork, other
from cutover.plan import Step, Transition
from cutover.positions import carried

_BUSY = """
select pid, coalesce(usename, ''), coalesce(application_name, ''),
       extract(epoch from pg_catalog.clock_timestamp() - xact_start)::int, left(query, 500)
  from pg_catalog.pg_stat_activity
 where backend_type = 'client backend' and datname = pg_catalog.current_database()
   and application_name not like 'crossover%' and xact_start < pg_catalog.clock_timestamp() - interval '1 second'
 order by xact_start limit 3
"""


class Switching:
    """The steps between which who serves changes. `open` is the one write that does it."""

    def __init__(self, work: DatabaseWork, tying: Tying) -> None:
        self._w = work
        self._c = work.context
        self._tying = tying
        self._opened_by = 0.0
        self._drained = 0

    def fence(self, transition: Transition) -> str:
        """Announce the next epoch and wait until the pooler has paused: no statement runs, none is begun."""
        if not [record for record in self._c.registry.records(self._c.component) if record.live]:
            raise CouldNotCheck(
                "the pooler's agent does not report: nobody would make clients wait",
                "See kubectl logs deployment/database-pooler -c database-pooler-agent",
            )
        self._opened_by = self._c.now() + self._c.timing.pause
        epoch = fence.announce(self._c, transition)
        return fence.await_acknowledged(
            self._c,
            epoch,
            self._busy,
            "Clients go on where they were. End what is named, or let it end; then run pulumi up again",
        )

    def _busy(self) -> str:
        """Why the pooler could not pause, as its agent tells; else what is under way at the side that serves."""
        records = self._c.registry.records(self._c.component)
        if troubles := [record.status["trouble"] for record in records if record.status.get("trouble")]:
            return f". {'; '.join(troubles)}"
        try:
            rows = self._w.at(self._w.active).rows(_BUSY)
        except PostgresError as error:
            return f". What is under way at {self._w.active} could not be asked: {error}"
        told = [
            f"{pid} of {user or '?'} ({name or 'no name'}) for {age} s: {shown(query)}"
            for pid, user, name, age, query in rows
        ]
        return f". Open transactions at {self._w.active}: {'; '.join(told)}" if told else ""

    def drain(self, transition: Transition) -> str:
        """All that was committed at the side that served is at the other one: a heartbeat that was written after it
        has come."""
        source = self._w.active
        began = self._c.now()
        self._w.await_beat(source, self._c.timing.drain)
        self._drained = self._w.wal(source)
        return f"drained in {(self._c.now() - began) * 1000:.0f} ms"

    def sequences(self, transition: Transition) -> str:
        """Sequences of the side that will serve go on beyond what was given out."""
        moved = sequences.move(self._w.at(self._w.active), self._w.at(self._w.passive), self._w.schemas())
        return f"{len(moved)} moved, with a head-room of {sequences.HEADROOM}"

    def check(self, transition: Transition) -> str:
        """The last comparison, inside the pause: definitions, and the rows of all that can be read in the time."""
        return self._w.compare_at_rest(self._opened_by - self._c.now())

    def open(self, transition: Transition) -> str:
        """Name the other side in one write; what it commits from here on is content, to be carried back."""
        route = self._c.route
        old, new = self._w.active, self._w.passive
        if route.fence is None:
            raise CouldNotCheck("there is no fence to open", "Run pulumi up again")
        start = self._w.wal(new)
        if self._c.stopped.is_set() or self._c.now() > self._opened_by:
            raise StepFailed(
                f"the switch took longer than {self._c.timing.pause:g} s between fence and opening",
                "Traffic stays where it was. Run pulumi up again, or see what was slow above",
            )
        self._c.write(
            route.model_copy(
                update={
                    "stage": transition.goal,
                    "active": new,
                    "epoch": route.fence.epoch,
                    "fence": None,
                    "mirror": carried(new, old, start, self._drained),
                    "progress": fence.progress(transition, Step.WATCH),
                }
            )
        )
        return f"{new} serves, epoch {route.fence.epoch}"

    def undo(self) -> str:
        """Let a fence that was not opened go: the side that served goes on, under the fence's epoch."""
        route = self._c.read()
        if route is None or route.fence is None:
            return "nothing to undo"
        if route.fence.emergency:
            breaking_off.mend(self._w.at(other(route.active)), slot_name(route.active))
        self._c.write(route.model_copy(update={"epoch": route.fence.epoch, "fence": None, "progress": None}))
        return f"{route.active} goes on, epoch {route.fence.epoch}"

    def readmit(self) -> str:
        """Nothing: neither side was ever shut."""
        return "both sides take writers"

    def watch(self, transition: Transition) -> str:
        """Post-checks under traffic: the pooler follows, the way back keeps up and is equal, and nobody writes at the
        side that served."""
        fence.await_followed(self._c)
        deadline, rounds, behind = self._c.now() + self._c.timing.watch, 0, 0.0
        while self._c.now() < deadline or rounds == 0:
            behind = max(behind, self._w.await_beat(self._w.active, self._c.timing.drain))
            # A stray at the side that served would stop the stream that leads from there.
            self._w.await_beat(self._w.passive, self._c.timing.drain)
            rounds += 1
            self._c.check_stop()
            self._c.rest(self._c.timing.watch_pace)  # the pace of the checks
        told = self._w.compare(f"{transition.name}, watched") + self._tying.told(transition)
        route: Route = self._c.route
        self._c.write(route.model_copy(update={"progress": None}))
        return f"{told}; {other(route.active)} at most {behind * 1000:.0f} ms behind"

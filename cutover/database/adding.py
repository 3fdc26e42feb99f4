"""Tables that were made at the serving side after the copy: defined at the other one, copied, and followed.

Only whole tables. What else was made with them (indexes, views, functions, sequences) comes with them; a table that was
dropped or altered at one side only is told by the comparison, and made alike by a person.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.postgres import adding, slots, unfollowed
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.catalog import Identity, Table
from adapters.postgres.driver import translated
from adapters.postgres.errors import PostgresError, Unavailable
from contracts.stages import Stage
from cutover.context import CouldNotCheck, StepFailed
from cutover.database.defining import Defining
from cutover.database.work import DatabaseWork
from cutover.plan import Step, Transition
from cutover.tables import TABLE_ADDITION

_KEPT = (Stage.SHADOW, Stage.SCALE)
"""The stages at which both sides are kept in step."""


class Adding:
    """Finds tables that nothing follows yet, and adds them."""

    def __init__(self, work: DatabaseWork, defining: Defining) -> None:
        self._w = work
        self._c = work.context
        self._defining = defining

    def due(self, wanted: Stage) -> tuple[Step, ...]:
        """Whether there are such tables. It stands in no one's way who leaves."""
        route = self._c.route
        if route.stage not in _KEPT or wanted not in _KEPT or route.mirror is None:
            return ()
        try:
            return TABLE_ADDITION if self._new() else ()
        except PostgresError as error:
            self._c.say(f"  whether tables were added is not known: {error}")
            return ()

    def _new(self) -> tuple[Table, ...]:
        serving, other = self._w.active, self._w.passive
        return unfollowed.among(self._w.tables(serving), self._w.at(serving), self._w.at(other))

    def add(self, transition: Transition) -> str:
        """Add them. Whatever this is killed at, it is done again from the start."""
        new, source, target = self._new(), self._w.active, self._w.passive
        bare = [table for table in new if not (table.key or (table.primary_key and table.identity is Identity.FULL))]
        if bare:
            raise StepFailed(
                f"tables were added at {source} whose rows have no key, so no change of them could be carried: "
                f"{', '.join(map(str, bare))}. Nothing was changed",
                "; ".join(f"ALTER TABLE {table.qualified} ADD PRIMARY KEY (...)" for table in bare[:3]),
            )
        self._defining.make(source, target)
        self._defining.refuse_other_columns(new, target)
        self._defining.keys(source, target)
        here, there = self._w.at(source), self._w.at(target)
        with translated(there.address):
            adding.expect(there)
        with translated(here.address):
            slots.publish(here.connection, new)
        servers = self._w.servers
        rows = adding.copy(servers[source], servers[target], slot_name(source), new, self._patience)
        self._defining.rest(source, target)  # behind the rows, for which no trigger may act
        with translated(there.address):
            slots.publish(there.connection, [table for table in self._w.tables(target) if str(table) in map(str, new)])
        self._w.end_reader(source)  # opened anew it is strict again
        self._w.await_beat(source, self._c.timing.backfill)
        return f"{len(new)} tables with {rows} rows: {', '.join(map(str, new))}"

    def _patience(self, lock: Callable[[], None]) -> None:
        """Writers queue behind a lock that is waited for: it is waited for briefly, and again."""
        deadline = self._c.now() + self._c.timing.answer
        while True:
            self._c.check_stop()
            try:
                lock()
                return
            except Unavailable as error:
                if self._c.now() > deadline:
                    raise CouldNotCheck(
                        f"tables that were added at {self._w.active} are written to by transactions that do not end: "
                        f"{error}",
                        "pg_stat_activity, by xact_start, tells which. End them, then run pulumi up again",
                    ) from error
            self._c.rest(0.1)

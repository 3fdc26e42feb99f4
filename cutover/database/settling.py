"""After an emergency: the side that was dead is back. What it committed that never came over is told and kept where it
can be read; only then is the side filled anew, which takes all that away there."""

from __future__ import annotations

from adapters.postgres import heartbeats, slots, stranded, synchronous, unfollowed
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import lsn_text, translated
from adapters.postgres.errors import PostgresError, SlotLost
from adapters.postgres.side import Side
from contracts.routes import Stranded
from cutover import fence
from cutover.context import CouldNotCheck, StepFailed
from cutover.database.fleeing import drop_slot
from cutover.database.reached import Reached, told
from cutover.database.work import GIVEN_UP, DatabaseWork
from cutover.plan import Transition
from cutover.positions import WAL

_LEFT_BEHIND = """
select pg_catalog.pg_terminate_backend(pid, 5000) from pg_catalog.pg_stat_activity
 where backend_type = 'client backend' and datname = pg_catalog.current_database()
   and application_name not like 'crossover%' and pid <> pg_catalog.pg_backend_pid()
"""
_OPEN = """
select count(*) from pg_catalog.pg_stat_activity
 where backend_type = 'client backend' and datname = pg_catalog.current_database()
   and application_name not like 'crossover%' and xact_start is not null
"""


class Settling:
    """Tells and keeps what is stranded."""

    def __init__(self, work: DatabaseWork) -> None:
        self._w = work
        self._c = work.context

    def list_stranded(self, transition: Transition) -> str:
        """Read all that only the side that is back has, and keep it at the one that serves. May be done again until
        the filling anew has begun."""
        tail = self._tail()
        alive = self._w.active
        serving = self._w.at(alive)
        with translated(serving.address):
            begun = slots.slot_state(serving.connection, slot_name(alive)) is not None
        if tail.swept and (begun or self._emptied(tail)):
            return f"told before: {self._kept(tail)}"
        fence.await_acknowledged(
            self._c, self._c.route.epoch, lambda: "", "They may write at the side that is back. Restart those pods"
        )
        try:
            tail = self._listed(tail)
        except _GoneError as error:
            tail = self._given_up(tail, error)
        left = drop_slot(self._w, alive, self._c.timing.drain)  # what was copied by it is not gone on with
        if left:
            raise CouldNotCheck(f"the slot of the time before could not be dropped at {alive}: {left}")
        self._c.write(self._c.route.model_copy(update={"stranded": {WAL: tail.model_copy(update={"swept": True})}}))
        for line in self._how_to_look(tail):
            self._c.say(f"    {line}")
        return self._kept(tail)

    def _emptied(self, tail: Stranded) -> bool:
        """Whether a run was cut off just after it had begun to take away what the side that is back had."""
        back = self._back(tail)
        with translated(back.address):
            return slots.slot_state(back.connection, slot_name(tail.backend)) is None

    def _tail(self) -> Stranded:
        found = (self._c.route.stranded or {}).get(WAL)
        if found is None:
            raise CouldNotCheck("the route does not say what is stranded", "This is a defect")
        return found

    def _listed(self, tail: Stranded) -> Stranded:
        back = self._back(tail)
        reached, name = Reached.of(tail.copied), slot_name(tail.backend)
        self._refuse_lost(back, tail, reached)
        self._end_sessions(back)
        self._refuse_tables(back, tail)
        with translated(back.address):
            end = heartbeats.beat(back.connection, tail.backend).lsn
        keeper = stranded.Keeper(self._w.at(self._w.active), tail.epoch)
        self._await_unread(back, name)
        try:
            found = stranded.gather(self._w.servers[tail.backend], name, reached.lsn, end, keeper, self._c.check_stop)
        except SlotLost as error:
            raise _GoneError(str(error)) from error
        for table, count in sorted(found.changes.items()):
            self._c.say(f"    {table}: {count} changes")
        first = stranded.place(*found.first) if found.first else ""
        last = stranded.place(*found.last) if found.last else ""
        update = {"count": found.transactions, "first": first, "last": last, "at_least": False}
        return tail.model_copy(update=update)

    def _back(self, tail: Stranded) -> Side:
        try:
            return self._w.at(tail.backend)
        except PostgresError as error:
            raise CouldNotCheck(
                f"{tail.backend} does not answer, and may have committed what nobody else has ({told(tail)}): {error}",
                f"{self._w.active} goes on serving. Bring {tail.backend} back, then run pulumi up again",
            ) from error

    def _refuse_lost(self, back: Side, tail: Stranded, reached: Reached) -> None:
        """Raise where what answers is not the server that was fled from, as it was then."""
        with translated(back.address):
            slot = slots.slot_state(back.connection, slot_name(tail.backend))
        end = self._w.wal(tail.backend)
        if slot is None:
            raise _GoneError(f"it has no slot {slot_name(tail.backend)}")
        if slot.lost:
            raise _GoneError(f"it dropped the WAL that the slot {slot.name} needed (max_slot_wal_keep_size)")
        if end < reached.lsn:
            raise _GoneError(f"it has written up to {lsn_text(end)} only: it lost its data, or was set back")

    def _refuse_tables(self, back: Side, tail: Stranded) -> None:
        """Raise where whole tables would be lost: no stream brings them, and the filling anew takes them away."""
        scope = unfollowed.Scope(self._w.moving.schemas, self._w.moving.role)
        alone = unfollowed.only_there(back, self._w.at(self._w.active), scope)
        if not alone:
            return
        named = unfollowed.told([str(table) for table in alone])
        if GIVEN_UP in self._w.moving.accepted:
            self._c.say(f"    given up, as config says: all rows of {named}")
            return
        switches = " ".join(f"--table='{table.qualified}'" for table in alone)
        raise StepFailed(
            f"{tail.backend} has tables with rows that {self._w.active} has not, for they were made there and never "
            f"followed: {named}. To fill {tail.backend} anew would lose them. Nothing was changed",
            f"Bring them over: pg_dump {switches} of {tail.backend}, into {self._w.active}; then run pulumi up again. "
            f"To give them up, add {GIVEN_UP!r} to crossover:database.accept",
        )

    def _given_up(self, tail: Stranded, error: Exception) -> Stranded:
        why = f"{tail.backend} is back without what it committed beyond {Reached.of(tail.copied)}: {error}"
        if GIVEN_UP not in self._w.moving.accepted:
            raise StepFailed(
                f"{why}. Nothing was changed",
                "Restore its volume, then run pulumi up again. To give that up, and what its tables still show, add "
                f"{GIVEN_UP!r} to crossover:database.accept",
            ) from error
        self._c.say(f"    given up, as config says: {why}")
        return tail

    def _end_sessions(self, back: Side) -> None:
        """Whoever was left behind there in a transaction ends now: what it has not committed, it never does."""
        if synchronous.named(back) == slot_name(self._tail().backend):
            synchronous.wait_for_nobody(back)
        back.rows(_LEFT_BEHIND)
        self._c.until(
            lambda: back.row(_OPEN)[0] == 0,
            self._c.timing.drain,
            lambda: StepFailed(
                f"clients write at {back.address} past the pooler",
                "pg_stat_activity tells who. End them, then run pulumi up again",
            ),
        )

    def _await_unread(self, back: Side, name: str) -> None:
        """A carrier that did not hear of the emergency reads the slot still: its process there is ended."""

        def unread() -> bool:
            with translated(back.address):
                return not slots.end_reader(back.connection, name)

        self._c.until(
            unread,
            self._c.timing.drain,
            lambda: CouldNotCheck(f"the slot {name} at {back.address} is read by another again and again"),
            every=0.2,
        )

    def _kept(self, tail: Stranded) -> str:
        if tail.at_least:
            return f"what {tail.backend} had is given up"
        if tail.count == 0:
            return f"{tail.backend} had committed nothing that is not here"
        return f"{told(tail)}; kept in {stranded.TABLE} at {self._w.active}"

    def _how_to_look(self, tail: Stranded) -> list[str]:
        if not tail.count or tail.at_least:
            return []
        query = f"select * from {stranded.TABLE} where epoch = {tail.epoch} order by lsn, number"  # noqa: S608 - shown
        return [
            f"{told(tail)}. Nothing of it was applied at {self._w.active}. Each change is kept there:",
            f"  {query}",
            "  a row as its table has it: json_populate_record(null::SCHEMA.TABLE, is_now)",
        ]


class _GoneError(Exception):
    """What was stranded cannot be read any more."""

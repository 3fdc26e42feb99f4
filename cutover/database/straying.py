"""Strays: what was written past the pooler at a side that did not serve. Found, told row by row, and settled.

A stray of the side that does not serve is applied at the serving side, or taken back where it was made; either way both
sides are alike afterwards. One of the side that serves by now (it was made before that side was opened) is part of what
clients see there, so it can only be carried to the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.postgres import bookkeeping, heartbeats, mending, stranded, strays
from adapters.postgres.applying import Statement
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import translated
from adapters.postgres.errors import Unavailable
from adapters.postgres.pgoutput import Row
from adapters.postgres.strays import Stray, Touched, Verdict
from adapters.postgres.target import applied
from cutover.context import CouldNotCheck, StepFailed
from cutover.database.strays_told import ROWS_TOLD, ToldStray, told
from cutover.database.work import DatabaseWork, other
from cutover.plan import Transition
from cutover.positions import content_from

LOOK_SECONDS = 3.0
"""For which a heartbeat is waited for before a stream is taken to stand still."""


@dataclass(frozen=True, slots=True)
class Held:
    """The strays of one side that are not settled, in the order of their commits."""

    side: str
    strays: tuple[Stray, ...]

    def __bool__(self) -> bool:
        return bool(self.strays)


class Straying:
    """Finds strays and settles them."""

    def __init__(self, work: DatabaseWork) -> None:
        self._w = work
        self._masks = work.moving.masks
        self._c = work.context

    def find(self) -> tuple[Held, ...]:
        """The strays of both sides, the serving one last. All of them are kept in crossover.stranded at both sides.
        Raises CouldNotCheck where nothing is carried at this stage."""
        if self._c.route.mirror is None:
            raise CouldNotCheck(
                f"nothing is carried at stage {self._c.route.stage.value}, so nothing can stray",
                "Ask at shadow or scale",
            )
        return tuple(held for side in (self._w.passive, self._w.active) if (held := self._found(side)))

    def _found(self, side: str) -> Held:
        try:
            self._w.await_beat(side, LOOK_SECONDS)
        except StepFailed:
            return Held(side, self._unsettled(side))
        return Held(side, ())

    def _unsettled(self, side: str) -> tuple[Stray, ...]:
        ledger, stream = self._w.at(other(side)), slot_name(side)
        strays.ensure(ledger)
        known = strays.decided(ledger, stream)
        return tuple(
            one for one in self._read(side) if not known.get(_key(one), (None, False))[1]
        )  # one that is done is passed by the carrier in a moment

    def _read(self, side: str) -> tuple[Stray, ...]:
        """From the slot, for which the carrier's process there is ended. It holds the stray and so brings nothing; it
        comes back by itself within seconds."""
        here, there, stream = self._w.at(side), self._w.at(other(side)), slot_name(side)
        with translated(there.address):
            begin = applied(there.connection, stream) or 0
        with translated(here.address):
            end = heartbeats.beat(here.connection, side).lsn
        keepers = [stranded.Keeper(each, self._c.route.epoch) for each in (there, here)]
        deadline = self._c.now() + self._c.timing.drain
        while True:
            gathered = strays.Gathered(keepers, content_from(self._c.route.mirror, side))
            try:
                self._w.end_reader(side)
                stranded.gather(self._w.servers[side], stream, begin, end, gathered, self._c.check_stop)
                return gathered.found
            except Unavailable:  # the carrier was faster
                if self._c.now() > deadline:
                    raise
            self._c.rest(0.05)

    def told(self, held: Held) -> tuple[ToldStray, ...]:
        """Row by row: each as the stray left it, and as it is at the other side now."""
        there = other(held.side)

        def rows(one: Stray) -> tuple[tuple[Touched, Row | None], ...]:
            return () if one.unsettled else mending.rows_of(self._w.servers[there], one, ROWS_TOLD)

        return tuple(told(one, held.side, there, rows(one), self._masks) for one in held.strays)

    def settle(self, held: Held, chosen: Sequence[Stray], verdict: Verdict, by: str) -> None:
        """Do so with `chosen`, which are of `held`, and note it. May be done again, whatever it was killed at. Raises
        StepFailed, and what adapters/postgres/mending.py raises."""
        self._refuse(held, chosen, verdict)
        side, ledger = held.side, self._w.servers[other(held.side)]
        known = strays.decided(self._w.at(other(side)), slot_name(side))
        begun = [one for one in chosen if _key(one) in known]
        new = [one for one in chosen if _key(one) not in known]
        if verdict is Verdict.CARRIED:
            mending.note(ledger, self._notes(side, new, verdict, by, done=True))
            return
        there = self._w.at(side)
        with translated(there.address):
            bookkeeping.ensure(there.connection)
        if verdict is Verdict.APPLIED and new:
            self._apply(side, new, by)
            begun += new
        elif new:
            self._mend(side, new)
            mending.note(ledger, self._notes(side, new, verdict, by, done=True))
        if begun:
            self._mend(side, begun)  # after a kill in the midst of it: the rows there may not be put right yet
            mending.note(ledger, self._notes(side, begun, Verdict.APPLIED, by, done=True))

    def _refuse(self, held: Held, chosen: Sequence[Stray], verdict: Verdict) -> None:
        serving = held.side == self._w.active
        if serving and verdict is not Verdict.CARRIED:
            raise StepFailed(
                f"{held.side} serves by now, so clients see there what its strays wrote: they can be applied only",
                f"Apply them; then change at {held.side} what has to be changed, as a client does",
            )
        wrong = [f"{one.name}: {one.unsettled}" for one in chosen if one.unsettled]
        if wrong and not serving:
            raise StepFailed(
                f"not settled row by row: {'; '.join(wrong)}",
                f"What was written stands in {stranded.TABLE} at both sides. Go back to the stage at which only one "
                "side is deployed, and join anew",
            )
        left = [one for one in held.strays if one not in chosen and not one.unsettled]
        shared = mending.shared(self._w.servers[held.side], chosen, left) if left and not serving else ()
        if shared:
            raise StepFailed(
                f"the same rows were changed by {', '.join(one.name for one in shared)}, too", "Settle them together"
            )

    def _notes(self, side: str, chosen: Sequence[Stray], verdict: Verdict, by: str, *, done: bool) -> list[Statement]:
        return [strays.noting(one, slot_name(side), verdict, by, done=done) for one in chosen]

    def _apply(self, side: str, chosen: Sequence[Stray], by: str) -> None:
        serving = other(side)

        def caught_up() -> None:
            self._w.await_beat(serving, self._c.timing.drain)

        notes = self._notes(side, chosen, Verdict.APPLIED, by, done=False)
        servers, stream = self._w.servers, slot_name(serving)
        mending.apply(servers[serving], servers[side], stream, chosen, notes, caught_up, self._masks)

    def _mend(self, side: str, chosen: Sequence[Stray]) -> None:
        serving = other(side)
        mending.mend(self._w.servers[serving], self._w.servers[side], slot_name(serving), chosen, self._masks)

    def await_passed(self, side: str) -> None:
        """Wait until the carrier has gone past what was settled. Raises StepFailed."""
        self._w.await_beat(side, 2 * self._c.timing.drain)  # it looks again every few seconds

    def set_aside(self, transition: Transition) -> str:
        """Before a switch back: nothing that was written past the pooler stands in its way. Where it was written, the
        rows are made as at the side that serves; what the serving side had before it was opened is carried. Each
        change is told, and kept at both sides."""
        done = []
        for held in self.find():
            serving = held.side == self._w.active
            verdict = Verdict.CARRIED if serving else Verdict.SET_ASIDE
            for one in self.told(held):
                for line in one.lines():
                    self._c.say(f"    {verdict.value}: {line}")
            self.settle(held, held.strays, verdict, self._c.holder)
            self.await_passed(held.side)
            done.append(f"{len(held.strays)} at {held.side} {verdict.value}")
        if not done:
            return "nothing was written past the pooler"
        return f"strays: {', '.join(done)}; each change is kept in {stranded.TABLE} at both sides"


def _key(stray: Stray) -> tuple[int, int]:
    return stray.begin.commit, stray.begin.xid

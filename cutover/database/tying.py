"""rollback_loss: whether a commit at our own side is acknowledged before the hosted one has it, and what would be lost.

With `none` the stream back is a synchronous standby of our own server. It is made one before our side serves, so that
there is no commit of a client that it missed, and stays one until the hosted side serves again. The carrier confirms
only what is committed at the hosted side, and its own commits at our side wait for nobody.
"""

from __future__ import annotations

import threading

from adapters.postgres import heartbeats, slots, synchronous
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import translated
from adapters.postgres.errors import PostgresError
from contracts.stages import Stage
from cutover.context import CouldNotCheck, StepFailed, utc_now
from cutover.database.work import APPLICATION, HOSTED, OURS, SEE_CARRIER, DatabaseWork
from cutover.plan import Transition
from cutover.refusing import refuse
from validation.result import Check

STREAM = slot_name(OURS)
_ITEM = "rollback loss"


class Tying:
    """Lets commits at our own side wait for the hosted one, or no longer."""

    def __init__(self, work: DatabaseWork) -> None:
        self._w = work
        self._c = work.context

    def tie(self, transition: Transition) -> str:
        """As config has it. Where commits shall wait: seen to do so before it is told."""
        if not self._w.moving.tied:
            return self.untie(transition)
        at = self._w.at(OURS)
        self._refuse_exempt()
        before = synchronous.named(at)
        if before not in ("", STREAM):
            raise StepFailed(
                f"commits at {OURS} wait for {before!r} (synchronous_standby_names) already",
                "ALTER SYSTEM RESET synchronous_standby_names there, and in its configuration, or set "
                "crossover:database.rollback_loss to bounded",
            )
        self._await_standby(waited_for=False)
        if before != STREAM:
            synchronous.wait_for(at, STREAM)
        try:
            self._await_standby(waited_for=True)
            self._await_waiting()
        except BaseException:
            if before != STREAM:
                synchronous.wait_for_nobody(at)
            raise
        if not self._c.route.tied_since:
            self._c.write(self._c.route.model_copy(update={"tied_since": utc_now()}))
        return f"a commit at {OURS} is acknowledged once {HOSTED} has it"

    def untie(self, transition: Transition) -> str:
        """Told first: the route never promises what is not so any more."""
        if self._c.route.tied_since:
            self._c.write(self._c.route.model_copy(update={"tied_since": None}))
        at = self._w.at(OURS)
        if synchronous.named(at) == STREAM:
            synchronous.wait_for_nobody(at)
        self._c.until(
            lambda: synchronous.named(at) != STREAM,
            self._c.timing.drain,
            lambda: StepFailed(
                f"{OURS} still lets commits wait for {STREAM}, though it was told otherwise",
                "See its log: it may be unable to read its configuration (SELECT * FROM pg_file_settings)",
            ),
        )
        return f"a commit at {OURS} waits for nobody"

    def told(self, transition: Transition) -> str:
        """What would be lost were our side lost now, where it serves; nothing where it does not."""
        route = self._c.route
        if route.stage is not Stage.SCALE or transition.goal is not Stage.SCALE:
            return ""
        check = self._check()
        self._c.checks.append(check)
        refuse([check], "rollback_loss")
        return f"; {check.found}"

    def _check(self) -> Check:
        expected = f"a commit waits for {HOSTED}" if self._w.moving.tied else "what is not there yet is told"
        try:
            ours, lost = self._w.at(OURS), self._lost()
            tied = synchronous.named(ours) == STREAM and self._c.route.tied_since is not None
            found = synchronous.standby(ours, STREAM)
        except PostgresError as error:
            return Check.unknown(_ITEM, expected=expected, why=str(error), fix=SEE_CARRIER)
        if not self._w.moving.tied:
            return Check.that(_ITEM, not tied, expected=expected, found=lost, fix="Run pulumi up")
        told = f"nothing acknowledged: commits wait for {HOSTED}" if tied else f"commits do not wait; {lost}"
        if tied and (found is None or not found.waited_for):
            told = f"nothing acknowledged, for commits wait: the stream to {HOSTED} does not run"
            return Check.that(_ITEM, False, expected=expected, found=told, fix=f"{SEE_CARRIER}, and that {HOSTED} runs")
        return Check.that(_ITEM, tied, expected=expected, found=told, fix="Run pulumi up")

    def _lost(self) -> str:
        """Were our side lost now. The seconds are by its own clock: all of before is there."""
        there, ours = self._w.at(HOSTED), self._w.at(OURS)
        with translated(there.address):
            heard = heartbeats.last(there.connection, OURS)
        with translated(ours.address):
            slot = slots.slot_state(ours.connection, STREAM)
        (age,) = ours.row(
            "select extract(epoch from pg_catalog.clock_timestamp() - %s::timestamptz)::float8", (heard.at,)
        )
        size = "an unknown part" if slot is None else f"{slot.lag_bytes} bytes"
        since = "an unknown time" if age is None else f"the last {max(0.0, age):.1f} s"
        return f"at most what was committed in {since}, {size} of WAL, is only at {OURS}"

    def _refuse_exempt(self) -> None:
        found = synchronous.exempt(self._w.servers[OURS], APPLICATION)
        if found:
            raise StepFailed(
                f"some commits at {OURS} would not wait: {'; '.join(found)}",
                "ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit there, or set "
                "crossover:database.rollback_loss to bounded",
            )

    def _await_standby(self, *, waited_for: bool) -> None:
        at, what = self._w.at(OURS), "is not waited for" if waited_for else "has not caught up"

        def reached() -> bool:
            found = synchronous.standby(at, STREAM)
            return found is not None and (found.waited_for if waited_for else found.streaming)

        self._c.until(
            reached,
            self._c.timing.drain,
            lambda: StepFailed(f"the stream from {OURS} to {HOSTED} {what}; commits would wait for ever", SEE_CARRIER),
        )

    def _await_waiting(self) -> None:
        """Commits are tried on a thread, for one may never come back."""
        answers: list[bool | PostgresError] = []

        def look() -> None:
            try:
                answers.append(synchronous.waited(self._w.servers[OURS], APPLICATION, OURS, STREAM))
            except PostgresError as error:
                answers.append(error)

        def holds() -> bool:
            if answers and answers[-1] is not True:
                if isinstance(answers[-1], PostgresError):
                    raise answers[-1]
                answers.clear()
                begin()
            return bool(answers)

        def begin() -> None:
            threading.Thread(target=look, name="tie", daemon=True).start()

        begin()
        self._c.until(
            holds,
            self._c.timing.drain,
            lambda: CouldNotCheck(f"commits at {OURS} were not seen to wait for {HOSTED}", SEE_CARRIER),
        )

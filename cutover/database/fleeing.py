"""The emergency: traffic leaves our own Postgres, which is dead and is asked nothing that anybody waits for.

The hosted side has all that it committed but what the carrier had not brought yet. That stays in the dead one,
stranded, until it is back and told (settling.py): rows that were written here since may stand against it, so nothing of
it is applied by itself.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from adapters.postgres import breaking_off, counting, heartbeats, slots, unfollowed
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import translated
from adapters.postgres.errors import PostgresError, Unavailable
from adapters.postgres.side import opened
from adapters.postgres.target import TARGET_SESSION
from contracts.routes import Fence, Mirror, Route, Stranded
from contracts.stages import Stage
from cutover import fence
from cutover.context import CouldNotCheck, StepFailed, utc_now
from cutover.database.reached import Reached, told
from cutover.database.work import APPLICATION, DatabaseWork
from cutover.plan import Step, Transition
from cutover.positions import WAL

_log = logging.getLogger(__name__)
_UNKNOWN_SECONDS = 86_400.0
"""For which sequences are taken to have been out of sight where nothing is known of it."""


class Fleeing:
    """The steps of an emergency. `flee` is the one write that moves traffic."""

    def __init__(self, work: DatabaseWork) -> None:
        self._w = work
        self._c = work.context

    def survey(self, transition: Transition) -> str:
        """Refuse only where the dead side is seen to serve: it answers, takes a write, and that comes to the other
        side. Then the ordinary way back strands nothing. Whatever is less than that is dead, by the operator's word."""
        dead, alive = self._w.active, self._w.passive
        sent: list[int] = []
        # On a thread, for it may never answer.
        threading.Thread(target=lambda: self._write(dead, sent), name="survey", daemon=True).start()
        if not fence.await_briefly(
            self._c, lambda: [] if sent and self._w.heard(alive, dead) >= sent[0] else ["it"], self._c.timing.survey
        ):
            raise StepFailed(
                f"{dead} serves: it takes writes, and they come to {alive}. An emergency would only strand rows",
                "Take emergency out of config and run pulumi up: the ordinary way back strands nothing",
            )
        return f"{dead} is not seen to serve; it is not asked any more"

    def _write(self, dead: str, sent: list[int]) -> None:
        try:
            with opened(self._w.servers[dead], APPLICATION, TARGET_SESSION) as side, translated(side.address):
                sent.append(heartbeats.beat(side.connection, dead).number)
        except PostgresError as error:
            _log.info("the survey of %s: %s", dead, error)

    def break_off(self, transition: Transition) -> str:
        """The fence first, which waits for nothing that is in flight; then the stream is ended for good at the side
        that lives, so that all know how far it came."""
        route, alive = self._c.route, self._w.passive
        dead = _mirror(route).source
        epoch = max(route.epoch, route.fence.epoch if route.fence else 0) + 1
        told = Fence(epoch=epoch, since=utc_now(), holder=self._c.holder, copied={})
        progress = fence.progress(transition, Step.BREAK_OFF)
        self._c.write(route.model_copy(update={"fence": told, "progress": progress}))
        side = self._w.at(alive)
        applied = breaking_off.break_off(side, slot_name(dead))
        with translated(side.address):
            heard = heartbeats.last(side.connection, dead)
        at = heard.at.isoformat(timespec="milliseconds") if heard.at else ""
        new = unfollowed.told(unfollowed.noted(side))
        reached = Reached(applied, heard.number, at, tied=route.tied_since is not None, unfollowed=new)
        told = told.model_copy(update={"copied": {WAL: reached.cursor}})
        self._c.write(self._c.route.model_copy(update={"fence": told}))
        silent = fence.await_briefly(self._c, lambda: fence.behind(self._c, epoch), self._c.timing.flight_fence)
        waited = f"; not waited for: {', '.join(silent)}" if silent else ""
        return f"epoch {epoch} announced; {alive} has all up to {reached}{waited}"

    def sequences(self, transition: Transition) -> str:
        """Sequences of the side that lives go on beyond all that the dead one can have given out."""
        moved = counting.advance(self._w.at(self._w.passive), self._w.schemas(asking_ours=False), self._out_of_sight())
        if moved.short:
            self._c.say(f"    near their end, so values of the dead side may come again: {', '.join(moved.short)}")
        return (
            f"{len(moved.settings)} moved, looked at {moved.oldest:.1f} s ago, as if "
            f"{counting.VALUES_A_SECOND} values a second had been given out since"
        )

    def _out_of_sight(self) -> float:
        """How long ago the dead side began to serve, where that is known."""
        for entry in reversed(self._c.route.history):
            if entry.to_stage is Stage.SCALE and entry.from_stage is not Stage.SCALE and entry.outcome == "holds":
                ago = datetime.now(UTC) - datetime.fromisoformat(entry.at)
                return max(0.0, ago.total_seconds() + entry.seconds)
        return _UNKNOWN_SECONDS

    def flee(self, transition: Transition) -> str:
        """Name the side that lives, in one write. Nothing is carried any more."""
        route = self._c.route
        if route.fence is None or not route.fence.copied:
            raise CouldNotCheck("there is no emergency's fence to open", "Run pulumi up again")
        alive, dead = self._w.passive, route.active
        tail = Stranded(backend=dead, epoch=route.epoch, copied=route.fence.copied[WAL], at_least=True)
        self._c.write(
            route.model_copy(
                update={
                    "stage": transition.goal,
                    "active": alive,
                    "epoch": route.fence.epoch,
                    "fence": None,
                    "mirror": None,
                    "progress": None,
                    "stranded": {WAL: tail},
                    "tied_since": None,
                }
            )
        )
        return f"{alive} serves, epoch {route.fence.epoch}"

    def count(self, transition: Transition) -> str:
        """Tell what is known of that which only the dead side has; and keep nothing for it any more, lest the disk of
        the side that lives fill: it is copied anew once it is back."""
        route, alive = self._c.route, self._w.active
        silent = fence.await_briefly(self._c, lambda: fence.behind(self._c, route.epoch), self._c.timing.flight_count)
        if silent:
            self._c.say(f"    not heard of, may still write at the dead side: {', '.join(silent)}")
        try:
            kept = drop_slot(self._w, alive, self._c.timing.flight_count)
        except PostgresError as error:
            kept = str(error)
        if kept:
            self._c.say(f"    {alive} still keeps WAL for the dead side, and it piles up: {kept}")
        return told(next(iter((route.stranded or {}).values())))


def drop_slot(work: DatabaseWork, backend: str, seconds: float) -> str:
    """Drop the slot at `backend`, whoever reads it: their process there is ended. Why it is there still, or nothing."""
    side, name = work.at(backend), slot_name(backend)
    deadline, patience = work.context.now() + seconds, work.context.now() + seconds / 2
    while True:
        try:
            with translated(side.address):
                slots.drop_slot(side.connection, name)
            return ""
        except Unavailable as error:
            if work.context.now() > deadline:
                return str(error)
        if work.context.now() > patience:
            work.end_reader(backend)
        work.context.rest(0.05)


def _mirror(route: Route) -> Mirror:
    if route.mirror is None or route.mirror.source != route.active:
        raise CouldNotCheck(f"nothing is carried from {route.active}, so nothing stands in", "Ask for the ordinary way")
    return route.mirror

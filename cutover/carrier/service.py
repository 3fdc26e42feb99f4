"""The carrier: carries rows between the two databases, both ways at once, exactly once.

Runs as a Deployment of one. From which side content comes, and from which commit on, is the route's word; the other
way only heartbeats pass, which proves it, and content is held. It holds no state of its own: how far a stream is
applied stands in its target, in one transaction with the rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from adapters import metrics
from adapters.event_bus.view import RouteView
from adapters.postgres import bookkeeping, counting, slots, unfollowed
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.carrier import Carrier, End, State, open_carrier
from adapters.postgres.driver import connect, translated
from adapters.postgres.errors import PostgresError
from adapters.postgres.gate import Gate
from adapters.postgres.heartbeats import beat
from adapters.postgres.masks import Masks
from adapters.postgres.side import Side, opened
from adapters.postgres.slots import SlotState
from adapters.postgres.target import TARGET_SESSION
from adapters.postgres.unfollowed import Scope
from contracts.routes import Mirror
from cutover.carrier.telling import ERROR_CHARACTERS, Carried
from cutover.positions import content_from

_log = logging.getLogger(__name__)

STEP_SECONDS = 0.5
BEAT_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""Between two looks for tables that are new."""
FIRST_RETRY_SECONDS, MOST_RETRY_SECONDS = 0.5, 5.0
"""How long a stream that ended waits before it is opened again: twice as long each time, up to a limit."""
WELL_SECONDS = 10.0
"""A stream that runs for so long, or gets on, is over its last error."""
END_SECONDS = 20.0
"""Within which a thread ends; Kubernetes waits 30 s for the process."""
_BEAT_SESSION = {**TARGET_SESSION, "statement_timeout": "10s"}


class Repeating:
    """A task on a thread of its own, begun again after each error until stopped."""

    def __init__(self, name: str, source: str, task: Callable[[Repeating], None]) -> None:
        self._name = name
        self._source = source
        self._task = task
        self._stopped = threading.Event()
        self._pause = FIRST_RETRY_SECONDS
        self.error = ""
        """Why it ended last; empty while it goes well."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it shall end."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, unless it is stopped; whether it is."""
        return self._stopped.wait(seconds)

    def well(self) -> None:
        """To be called by the task when it got on."""
        self._pause, self.error = FIRST_RETRY_SECONDS, ""

    def stop(self) -> None:
        """Ask it to end after what is in hand."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            _log.error("%s does not end: it is left behind", self._name)

    def _run(self) -> None:
        while not self.stopped:
            try:
                self._task(self)
            except PostgresError as error:
                self._failed(error)
                _log.warning("%s: %s; trying again in %.1f s", self._name, error, self._pause)
            except Exception as error:
                # One that dies silently would stop the way back; it must go on and be seen.
                self._failed(error)
                _log.exception("%s failed; trying again in %.1f s", self._name, self._pause)
            if not self.stopped:
                self._stopped.wait(self._pause)
                self._pause = min(2 * self._pause, MOST_RETRY_SECONDS)

    def _failed(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {error}"
        metrics.CARRIER_FAILED.labels(self._source, type(error).__name__).inc()


class Direction:
    """One stream, kept open until stopped. `gate` says what of it passes, `masks` what of a row no error tells."""

    def __init__(self, source: End, target: End, gate: Gate, masks: Masks) -> None:
        self._source, self._target, self._gate, self._masks = source, target, gate, masks
        self._state: State | None = None
        self._repeating = Repeating(f"{source.name} to {target.name}", source.name, self._carry)

    @property
    def source(self) -> str:
        """Where it reads."""
        return self._source.name

    @property
    def state(self) -> State | None:
        """How far it is; None before it was first opened. `error` is why it does not go on."""
        state = self._state
        return None if state is None else replace(state, error=self._repeating.error)

    @property
    def error(self) -> str:
        """Why it does not go on; empty where it does."""
        return self._repeating.error

    def stop(self) -> None:
        """Ask it to end after the batch in hand."""
        self._repeating.stop()

    def join(self) -> None:
        """Wait for its end."""
        self._repeating.join()

    def _carry(self, repeating: Repeating) -> None:
        name = self._source.name
        carrier = open_carrier(self._source, self._target, self._gate, masks=self._masks)
        metrics.CARRIER_UP.labels(name).set(1)
        try:
            self._follow(carrier, repeating)
        finally:
            metrics.CARRIER_UP.labels(name).set(0)
            carrier.close()

    def _follow(self, carrier: Carrier, repeating: Repeating) -> None:
        name, carried, held = self._source.name, 0, False
        began, since = carrier.state.applied, time.monotonic()
        while not repeating.stopped:
            carrier.step(STEP_SECONDS)
            self._state = state = carrier.state
            if state.applied != began or time.monotonic() - since > WELL_SECONDS:
                repeating.well()  # not before: a conflict would look mended each time that it is met anew
            metrics.CARRIED.labels(name).inc(state.changes - carried)
            metrics.CARRIED_BEHIND.labels(name).set(state.seconds_behind)
            metrics.CARRIED_HELD.labels(name).set(state.held.transactions if state.held else 0)
            carried = state.changes
            if held != (state.held is not None):
                held = state.held is not None
                _log.warning("%s: %s", name, f"held: {state.held}" if held else "what was held goes through")


class Pulse:
    """Writes the heartbeat of one side each second, and looks how its slot is."""

    def __init__(self, end: End) -> None:
        self._end = end
        self.slot: SlotState | None = None
        """As it was seen last; None where there is none, or nobody answered yet."""
        self._repeating = Repeating(f"heartbeat of {end.name}", end.name, self._beat)

    @property
    def name(self) -> str:
        """Of the side."""
        return self._end.name

    def stop(self) -> None:
        """Ask it to end."""
        self._repeating.stop()

    def join(self) -> None:
        """Wait for its end."""
        self._repeating.join()

    def _beat(self, repeating: Repeating) -> None:
        name, address = self._end.name, self._end.address
        with connect(address, "crossover_heartbeat", session=_BEAT_SESSION) as connection, translated(address):
            while not repeating.stopped:
                beat(connection, name)
                self.slot = slot = slots.slot_state(connection, slot_name(name))
                repeating.well()
                if slot is not None:
                    metrics.CARRIED_LAG.labels(name).set(slot.lag_bytes)
                    metrics.CARRIED_SAFE.labels(name).set(-1 if slot.safe_bytes is None else slot.safe_bytes)
                repeating.wait(BEAT_SECONDS)


class Noting:
    """Looks at the side that serves now and then, while it does, and notes at the other one what traffic needs to know
    that flees from it. `what` is looked at, every `pace` seconds."""

    def __init__(self, serving: End, other: End, gate: Gate, what: str, pace: float) -> None:
        self._serving, self._other, self._gate = serving, other, gate
        self._application, self._pace = f"crossover_{what}", pace
        self._repeating = Repeating(f"{what} of {serving.name}", serving.name, self._follow)

    @property
    def name(self) -> str:
        """Of the side that is looked at."""
        return self._serving.name

    def stop(self) -> None:
        """Ask it to end."""
        self._repeating.stop()

    def join(self) -> None:
        """Wait for its end."""
        self._repeating.join()

    def note(self, serving: Side, other: Side) -> None:
        """Look once, and note it."""
        raise NotImplementedError

    def idle(self) -> None:
        """This side does not serve."""

    def _follow(self, repeating: Repeating) -> None:
        while not self._gate.open:
            self.idle()
            if repeating.wait(BEAT_SECONDS):
                return
        with (
            opened(self._serving.address, self._application, _BEAT_SESSION) as serving,
            opened(self._other.address, self._application, _BEAT_SESSION) as other,
        ):
            with translated(other.address):
                bookkeeping.ensure(other.connection)
            while self._gate.open and not repeating.stopped:
                self.note(serving, other)
                repeating.well()
                repeating.wait(self._pace)


class Counting(Noting):
    """How far the sequences are."""

    def __init__(self, serving: End, other: End, gate: Gate) -> None:
        super().__init__(serving, other, gate, "sequences", BEAT_SECONDS)

    def note(self, serving: Side, other: Side) -> None:
        with translated(serving.address):
            schemas = sorted({schema for schema, _ in slots.published(serving.connection)})
        counting.note(serving, other, schemas)


class Looking(Noting):
    """Which tables were made there and are not followed. `found`: their names, as seen last."""

    def __init__(self, serving: End, other: End, gate: Gate, scope: Scope) -> None:
        self._scope = scope
        self.found: tuple[str, ...] = ()
        super().__init__(serving, other, gate, "tables", LOOK_SECONDS)

    def note(self, serving: Side, other: Side) -> None:
        self._take(tuple(map(str, unfollowed.among(self._scope.tables(serving), serving, other))))
        unfollowed.note(other, self.found)

    def idle(self) -> None:
        self._take(())

    def _take(self, found: tuple[str, ...]) -> None:
        self.found = found
        metrics.UNFOLLOWED.labels(self.name).set(len(found))


class CarrierService:
    """Keeps both directions running while the route names a mirror."""

    def __init__(
        self, view: RouteView, hosted: End, selfhosted: End, *, masks: Masks | None = None, scope: Scope | None = None
    ) -> None:
        self._view = view
        self._scope = scope or Scope()
        self._masks = masks or Masks()
        self._ends = (hosted, selfhosted)
        self._gates = {end.name: Gate() for end in self._ends}
        self._current: Mirror | None = None
        self._running: list[Direction | Pulse | Counting | Looking] = []

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those that run."""
        return tuple(running for running in self._running if isinstance(running, Direction))

    def standing(self) -> dict[str, Carried]:
        """By source, how far each direction that runs is."""
        pulses = {running.name: running.slot for running in self._running if isinstance(running, Pulse)}
        new = {running.name: running.found for running in self._running if isinstance(running, Looking)}
        return {
            running.source: _carried(running, pulses.get(running.source), new.get(running.source, ()))
            for running in self.directions
        }

    def run(self) -> None:
        """Follow the route until the view is stopped."""
        while not self._view.stopped:
            route = self._view.current
            if route is not None and route.mirror != self._current:
                self._take(route.mirror)
            self._view.wait_for(lambda r: r is not None and r.mirror != self._current, 3600.0)
        self._stop()

    def _take(self, mirror: Mirror | None) -> None:
        wanted = {name: content_from(mirror, name) for name in self._gates}
        for name in sorted(wanted, key=lambda name: wanted[name] is not None):  # closes one before it opens the other
            self._gates[name].set(wanted[name])
        self._current = mirror
        if mirror is None:
            _log.info("nothing to carry")
            self._stop()
            return
        _log.info("carrying content from %s to %s, heartbeats both ways", mirror.source, mirror.target)
        if not self._running:
            first, second = self._ends
            self._running = [
                Direction(first, second, self._gates[first.name], self._masks),
                Direction(second, first, self._gates[second.name], self._masks),
                *(Pulse(end) for end in self._ends),
                Counting(second, first, self._gates[second.name]),
                Looking(first, second, self._gates[first.name], Scope(self._scope.schemas)),
                Looking(second, first, self._gates[second.name], self._scope),
            ]

    def _stop(self) -> None:
        running, self._running = self._running, []
        for one in running:
            one.stop()
        for one in running:
            one.join()


def _carried(direction: Direction, slot: SlotState | None, new: Sequence[str]) -> Carried:
    state = direction.state
    return Carried(
        behind_seconds=None if state is None else round(state.seconds_behind, 3),
        lag_bytes=None if slot is None else slot.lag_bytes,
        safe_bytes=None if slot is None else slot.safe_bytes,
        held=state.held.transactions if state is not None and state.held else 0,
        error=direction.error[:ERROR_CHARACTERS],
        unfollowed=unfollowed.told(new)[:ERROR_CHARACTERS],
    )

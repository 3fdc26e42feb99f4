"""The publishing half of the routed bus: a gate that a fence closes and the next route opens.

What the gate does next is decided in gate.py; here it is done, and waited for on a thread of its own.
Order within a key survives because events are submitted under one lock, and because what a
sealed backend refused goes back to the front of the held events before anything newer is sent.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from adapters import metrics
from adapters.event_bus.base import EventLog, LogSettings, LogWriter
from adapters.event_bus.errors import BufferFull, BusClosed, EventBusError, UnknownTopic
from adapters.event_bus.gate import FENCE_HOLD_SECONDS, Action, Gate, Standing, next_action
from adapters.event_bus.interface import Receipt
from adapters.event_bus.journal import Journal
from adapters.event_bus.outgoing import Batch, Outgoing, finish_all, finish_one
from adapters.event_bus.parcels import Outcome
from adapters.event_bus.room import Room
from adapters.event_bus.standby import Aside, Standby, on_a_thread
from adapters.event_bus.wire import pack
from contracts.envelope import Event
from contracts.routes import Route

_log = logging.getLogger(__name__)

MAX_OUTSTANDING = 20_000
"""Events accepted and not yet durable, held ones included: beyond it publishers wait."""
_NEWS_SECONDS = 0.1
"""How long a refused publisher waits for a newer route before it tries the sealed backend again."""


class Publisher:
    """Sends events to the backend that the route names. Thread-safe.

    `acknowledge(epoch)` is called once nothing is in flight under a fence of that epoch (in an emergency: once
    nothing more will be sent). `clock` gives seconds, monotonic; `aside` runs what must not lengthen a pause. The
    gate moves on its thread once `start` was called, else by `step`.
    """

    def __init__(
        self,
        open_log: Callable[[str], EventLog],
        settings: LogSettings,
        client_id: str,
        acknowledge: Callable[[int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        aside: Aside = on_a_thread,
    ) -> None:
        self._open_log = open_log
        self._settings = settings
        self._clock = clock
        self._aside = aside
        self._client_id = client_id
        self._acknowledge = acknowledge
        self._changed = threading.Condition()
        self._gate = Gate.HELD
        self._route: Route | None = None
        self._fenced_since: float | None = None
        self._fenced_by = 0
        self._ignored_fence = 0
        self._writer: LogWriter | None = None
        self._standby = Standby(open_log, client_id, aside)
        self._used: frozenset[str] = frozenset()
        self._writer_epoch = 0
        self._active = ""
        self._acknowledged = 0
        self._refused = False
        self._held: deque[Outgoing] = deque()
        self._in_flight: dict[tuple[int, int], Outgoing] = {}
        self._moved: set[int] = set()
        self._journalled = ""
        self.journal = Journal()
        self._numbers = itertools.count()
        self._room = Room(MAX_OUTSTANDING)
        self._thread = threading.Thread(target=self._control, name="bus-gate", daemon=True)

    def start(self) -> None:
        """Begin to move the gate."""
        self._thread.start()

    @property
    def moving(self) -> bool:
        """Whether events of unknown fate were, or will be, taken to the backend that traffic fled to, and are not
        durable there yet."""
        with self._changed:
            return bool(self._moved) or (self._fled() and bool(self._in_flight))

    @property
    def gate(self) -> Gate:
        """The state of the gate now."""
        return self._gate

    def publish(self, event: Event) -> Future[Receipt]:
        """Accept `event`; the future resolves once it is durable.

        Raises EventTooLarge, UnknownTopic, BufferFull (no room within publish_timeout), BusClosed.
        """
        result: Future[Receipt] = Future()
        self._accept((event,), finish_one(result))
        return result

    def publish_batch(self, events: Sequence[Event]) -> Future[Sequence[Receipt]]:
        """Accept `events` as a whole; the future resolves once all are durable, each with its receipt, in their
        order, and fails with BatchFailed where some are not.

        Raises as `publish` does, and ValueError for more than MAX_OUTSTANDING events: then none was accepted.
        """
        if len(events) > MAX_OUTSTANDING:
            raise ValueError(f"{len(events)} events in a batch, at most {MAX_OUTSTANDING} are taken: split it")
        result: Future[Sequence[Receipt]] = Future()
        if events:
            self._accept(events, finish_all(result))
        else:
            result.set_result(())
        return result

    def _accept(self, events: Sequence[Event], finish: Callable[[Batch], None]) -> None:
        route = self._route
        parcels = pack(self._settings, events, None if route is None else route.chains)
        if not self._room.enter(len(events), self._settings.publish_timeout):
            raise BufferFull(
                f"{MAX_OUTSTANDING} events wait to become durable and there was no room for {len(events)} within "
                f"{self._settings.publish_timeout:g} s: event {events[0].id} was not accepted. Slow down, or see why "
                "the backend stands still (crossover status event_bus)"
            )
        batch = Batch(events, finish)
        now = time.monotonic()
        with self._changed:
            if self._gate is Gate.CLOSED:
                self._room.leave(len(events))
                raise BusClosed("the bus is closed: the event was not sent")
            for parcel in parcels:
                self._pass_on(Outgoing(next(self._numbers), parcel, batch, now))

    def _pass_on(self, outgoing: Outgoing) -> None:
        """Send what was just accepted, or hold it; the lock is held."""
        if self._gate is Gate.OPEN and not self._refused:
            self._send(outgoing)
        else:
            self._held.append(outgoing)
            metrics.HELD.inc(len(outgoing.parcel.events))  # to count all of it again would take longer and longer
            self._changed.notify_all()

    def _tell_held(self) -> None:
        metrics.HELD.set(sum(len(outgoing.parcel.events) for outgoing in self._held))

    def on_route(self, route: Route) -> None:
        """Take a new route; called by the watching thread."""
        with self._changed:
            self._route = route
            self._journalled = self._source(route)
            metrics.EPOCH.set(route.epoch)
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything accepted is resolved; whether that came true. Seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held and not self._in_flight, timeout)

    def close(self, timeout: float) -> None:
        """Flush, then refuse; what is still unresolved fails with BusClosed. Seconds."""
        self.flush(timeout)
        with self._changed:
            self._gate = Gate.CLOSED
            held, self._held = list(self._held), deque()
            self._changed.notify_all()
        for outgoing in held:
            error = BusClosed("the bus was closed before the event was sent")
            self._resolve(outgoing, [error] * len(outgoing.parcel.events), "", 0)
        self._thread.join(timeout)
        self._standby.keep(None, frozenset())
        if self._writer is not None:
            self._writer.close()

    # -- the gate

    def step(self) -> bool:
        """Do what the gate has to do next, if anything; whether it goes on. Does not wait."""
        with self._changed:
            action = self._next_action()
            if action is Action.CLOSE:
                self._gate = Gate.CLOSING
        if action is Action.SETTLE:
            self._settle()
        elif action is Action.TAKE_OVER:
            self._take_over()
        elif action is Action.REOPEN:
            self._reopen()
        return action is not Action.END

    def _control(self) -> None:
        """The gate's own thread: every blocking change of state happens here."""
        while True:
            with self._changed:
                while (action := self._next_action()) is None:
                    self._changed.wait(self._patience())
                if action is Action.REOPEN and self._refused and not self._stale():
                    self._await_news()
            try:
                if not self.step():
                    return
            except EventBusError as error:
                _log.warning("event bus gate: %s; trying again", error)
                with self._changed:
                    self._changed.wait(0.2)  # a backend that is away: there is no event to wait for

    def _await_news(self) -> None:
        """Sealed, but no newer route was seen: the route is on its way, or the seal is undone. The lock is held."""
        route = self._route
        self._changed.wait_for(lambda: self._route is not route or self._gate is Gate.CLOSED, _NEWS_SECONDS)

    def _patience(self) -> float | None:
        if self._fenced_since is None:
            return None
        return max(0.01, self._fenced_since + FENCE_HOLD_SECONDS - self._clock())

    def _fence_epoch(self) -> int | None:
        """The epoch of the fence in force, or None. A fence that outlived FENCE_HOLD_SECONDS is none."""
        fence = self._route.fence if self._route else None
        if fence is None or fence.epoch == self._ignored_fence:
            self._fenced_since = None
            return None
        if self._fenced_since is None or self._fenced_by != fence.epoch:
            # Of this very fence: a watch may pass over the moment between an undone fence and the next.
            self._fenced_since, self._fenced_by = self._clock(), fence.epoch
        if self._clock() - self._fenced_since > FENCE_HOLD_SECONDS:
            _log.error("the fence of epoch %d was never opened: going on under the last route", fence.epoch)
            self._ignored_fence = fence.epoch
            self._fenced_since = None
            return None
        return fence.epoch

    def _stale(self) -> bool:
        return self._route is None or self._writer_epoch != self._route.epoch

    def _fled(self) -> bool:
        route = self._route
        return route is not None and bool(route.stranded) and self._active not in ("", route.active)

    def _source(self, route: Route) -> str:
        """The backend of which a tail may be stranded, "" where there is none: nothing flees to a log that cannot
        stand in for it."""
        mirror = route.mirror
        return mirror.source if mirror and self._open_log(mirror.target).refuge is not None else ""

    def _next_action(self) -> Action | None:
        """What has to be done now; the lock is held."""
        if self._route is None and self._gate is not Gate.CLOSED:
            return None
        stale = self._stale()
        if self._gate is Gate.OPEN and not stale and self._route is not None:
            mirror = self._route.mirror
            self._standby.keep(mirror.target if mirror else None, self._used)
        return next_action(
            Standing(
                gate=self._gate,
                fence=self._fence_epoch(),
                acknowledged=self._acknowledged,
                stale=stale,
                refused=self._refused,
                in_flight=len(self._in_flight),
                held=len(self._held),
                emergency=bool(self._route and self._route.fence and self._route.fence.emergency),
                fled=self._fled(),
            )
        )

    def _settle(self) -> None:
        with self._changed:
            if self._gate is Gate.CLOSED:
                return
            self._gate = Gate.HELD
            fence = self._fence_epoch()
            self._acknowledged = fence or 0
        if fence is not None:
            self._acknowledge(fence)

    def _take_over(self) -> None:
        """Nobody will ever say what became of these: they are sent again under the same ids, before anything newer.
        What the dead backend did store of them is passed over when it is swept."""
        with self._changed:
            taken = list(self._in_flight.values())
            self._in_flight.clear()
            self._held = deque(sorted((*taken, *self._held), key=lambda outgoing: outgoing.number))
            self._moved |= {outgoing.number for outgoing in taken}
            self._changed.notify_all()
        _log.warning("%d events had no answer when traffic fled from %s: sending them again", len(taken), self._active)

    def _reopen(self) -> None:
        route = self._route
        if route is None:
            return
        old, self._writer = self._writer, None
        if old is not None:
            # All that it was given is resolved; that it takes a moment to hang up must not lengthen a pause.
            self._aside(old.close)
        writer = self._standby.take(route.active) or self._open_log(route.active).writer(self._client_id)
        with self._changed:
            if self._gate is Gate.CLOSED:
                writer.close()
                return
            self._writer, self._refused = writer, False
            if self._route is None or self._route.epoch != route.epoch or self._fence_epoch() is not None:
                self._writer_epoch = 0
                return
            self._writer_epoch = route.epoch
            self._active = route.active
            self._gate = Gate.OPEN
            while self._held and self._gate is Gate.OPEN and not self._refused:
                self._send_held(self._held.popleft(), route)
            self._tell_held()

    # -- sending

    def _send_held(self, outgoing: Outgoing, route: Route) -> None:
        """Send what was held; the lock is held. Its topic was not looked at where no route was known yet."""
        topic = outgoing.parcel.topic
        if topic in route.chains:
            self._send(outgoing)
        else:
            unknown = UnknownTopic(topic, tuple(route.chains))
            self._resolve(outgoing, [unknown] * len(outgoing.parcel.events), "", 0)

    def _send(self, outgoing: Outgoing) -> None:
        """Hand a parcel to the writer; the lock is held."""
        epoch, backend, parcel = self._writer_epoch, self._active, outgoing.parcel
        if self._writer is None:
            self._take_back(outgoing)
            return
        self._in_flight[outgoing.number, epoch] = outgoing
        if parcel.topic not in self._used:
            self._used |= {parcel.topic}
            self._changed.notify_all()
        stored = self._writer.submit_all(parcel, epoch)
        stored.add_done_callback(lambda done: self._on_stored(outgoing, done.result(), backend, epoch))

    def _on_stored(self, outgoing: Outgoing, outcomes: Sequence[Outcome], backend: str, epoch: int) -> None:
        refused = outgoing.refused(outcomes)
        with self._changed:
            if self._in_flight.pop((outgoing.number, epoch), None) is None:
                return  # taken over: it is on its way to another backend
            if refused is None:
                self._moved.discard(outgoing.number)
            else:
                self._take_back(refused)
            if backend == self._journalled:
                self.journal.add(backend, outgoing.parcel, outcomes)
            if refused is not None or not self._in_flight:
                self._changed.notify_all()
        self._resolve(outgoing, outcomes, backend, epoch)

    def _resolve(self, outgoing: Outgoing, outcomes: Sequence[Outcome], backend: str, epoch: int) -> None:
        """Tell callers what became of a parcel, but for what was taken back."""
        stored, failed = outgoing.results(outcomes, backend, epoch)
        topic, count = outgoing.parcel.topic, len(stored.at)
        if not count and not failed:
            return
        self._room.leave(count + len(failed))
        if count:
            metrics.published(topic, backend).inc(count)
            metrics.publish_seconds(topic).observe(time.monotonic() - outgoing.accepted)
        for error in failed.values():
            metrics.PUBLISH_FAILED.labels(topic, error.__class__.__name__).inc()
        outgoing.batch.settled(stored, failed)

    def _take_back(self, outgoing: Outgoing) -> None:
        """Put what is definitely not stored back in its place; the lock is held."""
        self._refused = True
        place = 0
        for waiting in self._held:
            if waiting.number > outgoing.number:
                break
            place += 1
        self._held.insert(place, outgoing)
        self._changed.notify_all()

"""The half of a writer that all real backends share: a lane or two a topic, each with one batch at a time.

A lane is a queue and a thread. It sends what has gathered, waits for the whole answer, then sends
what has gathered meanwhile. So nothing is ever in flight behind something that may still be
refused: when an event is refused as sealed, all that was submitted after it is refused too, in
order, and what a caller sends again cannot be overtaken by what it sent later. A key keeps its
lane: so all this holds within each key, and while one lane waits for an answer another sends.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from adapters.event_bus.base import LogSettings, LogWriter
from adapters.event_bus.errors import BufferFull, BusClosed, EventBusError, Fenced, PermanentError, PublishTimeout
from adapters.event_bus.parcels import PARCEL_BYTES, Outcome, Parcel, all_stored, parts
from adapters.event_bus.wire import pack
from contracts.envelope import Event

_log = logging.getLogger(__name__)

MAX_QUEUED_EVENTS = 32_768
"""Unresolved events a writer takes before it says BufferFull."""
MAX_QUEUED_BYTES = 512 << 20
LINGER_SECONDS = 0.002
"""How long a lane that was idle waits for company, in seconds: at 1,000 events/s it halves the
requests and adds at most this to a publish."""
CLOSE_SECONDS = 2.0
"""How long close() waits for a lane's thread. It may hang in a socket a little longer, and then
ends by itself; its futures are resolved before that."""


Name = tuple[str, int]
"""Of a lane: its topic, and its number among the topic's."""
Part = tuple[Sequence[Event], int]
"""Events, and the epoch under which they are written."""


@dataclass(slots=True, eq=False)
class _Item:
    parcel: Parcel
    epoch: int
    deadline: float
    resolve: Callable[[Sequence[Outcome]], None]
    resolved: bool = False


@dataclass(slots=True, eq=False)
class _Lane:
    changed: threading.Condition
    batch_events: int
    batch_bytes: int
    queue: deque[_Item] = field(default_factory=deque)
    queued_events: int = 0
    queued_bytes: int = 0
    sending: list[_Item] = field(default_factory=list)
    refused: Fenced | None = None
    thread: threading.Thread | None = None


class LaneWriter(LogWriter):
    """Subclasses say how one batch of one topic becomes durable, and by how many lanes a topic is written."""

    lanes = 1
    batch_events = 1000
    batch_bytes = PARCEL_BYTES

    def __init__(self, settings: LogSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._lock = threading.Lock()
        self._resolved = threading.Condition(self._lock)
        self._lanes: dict[Name, _Lane] = {}
        self._unresolved = 0
        self._unresolved_bytes = 0
        self._closed = False

    # -- what a backend adds

    @abstractmethod
    def _append(self, lane: Name, parts: Sequence[Part], deadline: float) -> Sequence[Outcome]:
        """Store the events of `parts` in order; one outcome each. Called by the lane's thread alone. Retries
        without storing twice until `deadline` (of time.monotonic) or until `closing`."""

    @abstractmethod
    def _leave(self, lane: Name) -> None:
        """The lane ends: give its connection up. Called by its thread."""

    @property
    def closing(self) -> bool:
        """Whether close() was called: a retry is in vain."""
        return self._closed

    # -- LogWriter

    def warm(self, topics: Collection[str]) -> None:
        """Nothing: a lane connects at its first batch, in a millisecond or two."""

    def submit(self, event: Event) -> Future[str]:
        parcel = pack(self._settings, (event,))[0]
        future: Future[str] = Future()
        future.set_running_or_notify_cancel()  # it may be on its way: it cannot be cancelled
        self._take(parcel, event.epoch, lambda outcomes: _answer(future, outcomes[0]))
        return future

    def submit_all(self, parcel: Parcel, epoch: int) -> Future[Sequence[Outcome]]:
        future: Future[Sequence[Outcome]] = Future()
        future.set_running_or_notify_cancel()
        try:
            self._take(parcel, epoch, future.set_result)
        except EventBusError as error:
            future.set_result([error] * len(parcel.events))
        return future

    def drain(self, timeout: float) -> bool:
        with self._lock:
            return self._resolved.wait_for(lambda: not self._unresolved, timeout)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
            lost = [item for lane in lanes for item in (*lane.sending, *lane.queue)]
            for lane in lanes:
                lane.queue.clear()
                lane.changed.notify_all()
        error = BusClosed("the writer was closed before the event was known to be durable")
        self._resolve([(item, _all(item, error)) for item in lost])
        for lane in lanes:
            if lane.thread is not None and lane.thread is not threading.current_thread():
                lane.thread.join(CLOSE_SECONDS)

    # -- lanes

    def _take(self, parcel: Parcel, epoch: int, resolve: Callable[[Sequence[Outcome]], None]) -> None:
        item = _Item(parcel, epoch, time.monotonic() + self._settings.publish_timeout, resolve)
        with self._lock:
            if self._closed:
                raise BusClosed("the writer is closed: the event was not sent")
            lane = self._lane((parcel.topic, parcel.lane % self.lanes))
            if lane.refused is None:
                self._enqueue(lane, item)
                return
            refused = lane.refused
        resolve(_all(item, refused))

    def _lane(self, name: Name) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(threading.Condition(self._lock), self.batch_events, self.batch_bytes)
            thread_name = f"lane-{name[0]}-{name[1]}"
            lane.thread = threading.Thread(target=self._run, args=(name, lane), name=thread_name, daemon=True)
            lane.thread.start()
        return lane

    def _enqueue(self, lane: _Lane, item: _Item) -> None:
        count, size = len(item.parcel.events), item.parcel.size
        if self._unresolved + count > MAX_QUEUED_EVENTS or self._unresolved_bytes + size > MAX_QUEUED_BYTES:
            raise BufferFull(
                f"{self._unresolved} events ({self._unresolved_bytes} bytes) wait to become durable, the limits are "
                f"{MAX_QUEUED_EVENTS} and {MAX_QUEUED_BYTES}: event {item.parcel.events[0].id} was not sent. Slow down"
            )
        full = _full(lane)
        self._unresolved += count
        self._unresolved_bytes += size
        lane.queue.append(item)
        lane.queued_events += count
        lane.queued_bytes += size
        # Woken when there is something at all, and when a full batch ends the lingering early.
        if len(lane.queue) == 1 or (not full and _full(lane)):
            lane.changed.notify()

    def _run(self, name: Name, lane: _Lane) -> None:
        try:
            while (batch := self._next_batch(lane)) is not None:
                if batch:
                    self._send(name, lane, batch)
        finally:
            self._leave(name)

    def _next_batch(self, lane: _Lane) -> list[_Item] | None:
        """What to send next; empty where all of it had waited for too long, None at the end."""
        with self._lock:
            if not lane.queue and not self._closed:
                lane.changed.wait_for(lambda: lane.queue or self._closed)
                lane.changed.wait_for(lambda: self._closed or _full(lane), LINGER_SECONDS)
            if self._closed:
                return None
            batch, late = _taken(lane, time.monotonic())
            lane.sending = batch
        if late:
            limit = self._settings.publish_timeout
            error = PublishTimeout(f"event {late[0].parcel.events[0].id} could not be sent in {limit:g} s: it was not")
            self._resolve([(item, _all(item, error)) for item in late])
        return batch

    def _send(self, name: Name, lane: _Lane, batch: list[_Item]) -> None:
        outcomes = self._outcomes(name, batch)
        refusal = None
        if not all_stored(outcomes):
            refusal = next((outcome for outcome in outcomes if isinstance(outcome, Fenced)), None)
        results = list(zip(batch, parts(outcomes, [len(item.parcel.events) for item in batch]), strict=True))
        with self._lock:
            lane.sending = []
            if refusal is not None:
                lane.refused = refusal
                results += [(item, _all(item, refusal)) for item in lane.queue]
                lane.queue.clear()
                lane.queued_events = lane.queued_bytes = 0
        self._resolve(results)
        if refusal is not None:
            # Every caller has been told by now, so what comes from here on knows of it.
            with self._lock:
                lane.refused = None

    def _outcomes(self, name: Name, batch: Sequence[_Item]) -> Sequence[Outcome]:
        parts = [(item.parcel.events, item.epoch) for item in batch]
        count = sum(len(events) for events, _ in parts)
        try:
            return self._append(name, parts, max(item.deadline for item in batch))
        except EventBusError as error:
            return [error] * count
        except Exception as error:
            # A fault of ours: callers must not wait for ever because of it.
            _log.exception("appending %d events to %s failed", count, name[0])
            text = f"appending to {name[0]} failed: {error!r}; it may or may not be stored"
            return [PermanentError(text)] * count

    def _resolve(self, results: Sequence[tuple[_Item, Sequence[Outcome]]]) -> None:
        """Resolve futures outside the lock, in order: their callbacks may take locks of their own."""
        for item, outcomes in results:
            with self._lock:
                if item.resolved:
                    continue
                item.resolved = True
            try:
                item.resolve(outcomes)
            finally:
                with self._lock:
                    self._unresolved -= len(item.parcel.events)
                    self._unresolved_bytes -= item.parcel.size
                    if not self._unresolved:
                        self._resolved.notify_all()


def _full(lane: _Lane) -> bool:
    return lane.queued_events >= lane.batch_events or lane.queued_bytes >= lane.batch_bytes


def _taken(lane: _Lane, now: float) -> tuple[list[_Item], list[_Item]]:
    """The next batch out of the queue, and what had waited there for too long; the lock is held."""
    batch: list[_Item] = []
    late: list[_Item] = []
    count = size = 0
    while lane.queue:
        item = lane.queue[0]
        expired = item.deadline < now
        full = count + len(item.parcel.events) > lane.batch_events or size + item.parcel.size > lane.batch_bytes
        if batch and full and not expired:
            break
        lane.queue.popleft()
        lane.queued_events -= len(item.parcel.events)
        lane.queued_bytes -= item.parcel.size
        if expired:
            late.append(item)
        else:
            count += len(item.parcel.events)
            size += item.parcel.size
            batch.append(item)
    return batch, late


def _all(item: _Item, outcome: Outcome) -> list[Outcome]:
    return [outcome] * len(item.parcel.events)


def _answer(future: Future[str], outcome: Outcome) -> None:
    if isinstance(outcome, str):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)

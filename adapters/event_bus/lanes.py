"""The half of a writer that all real backends share: one lane a topic, one batch at a time.

A lane is a queue and a thread. It sends what has gathered, waits for the whole answer, then sends
what has gathered meanwhile. So nothing is ever in flight behind something that may still be
refused: when an event is refused as sealed, all that was submitted after it is refused too, in
order, and what a caller sends again cannot be overtaken by what it sent later.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from adapters.event_bus.base import LogSettings, LogWriter
from adapters.event_bus.errors import BufferFull, BusClosed, EventBusError, Fenced, PermanentError, PublishTimeout
from adapters.event_bus.wire import admit
from contracts.envelope import Event

_log = logging.getLogger(__name__)

MAX_QUEUED_EVENTS = 32_768
"""Unresolved events a writer takes before it says BufferFull."""
MAX_QUEUED_BYTES = 512 << 20
BATCH_EVENTS = 500
BATCH_BYTES = 1 << 20
LINGER_SECONDS = 0.002
"""How long a lane that was idle waits for company, in seconds: at 1,000 events/s it halves the
requests and adds at most this to a publish."""
CLOSE_SECONDS = 2.0
"""How long close() waits for a lane's thread. It may hang in a socket a little longer, and then
ends by itself; its futures are resolved before that."""

Outcome = str | EventBusError
"""The position where an event is stored, or why it is not (or is not known to be)."""


@dataclass(slots=True, eq=False)
class _Item:
    event: Event
    size: int
    deadline: float
    future: Future[str]
    resolved: bool = False


@dataclass(slots=True, eq=False)
class _Lane:
    changed: threading.Condition
    queue: deque[_Item] = field(default_factory=deque)
    queued_bytes: int = 0
    sending: list[_Item] = field(default_factory=list)
    refused: Fenced | None = None
    thread: threading.Thread | None = None


class LaneWriter(LogWriter):
    """Subclasses say how one batch of one topic becomes durable."""

    def __init__(self, settings: LogSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._lock = threading.Lock()
        self._resolved = threading.Condition(self._lock)
        self._lanes: dict[str, _Lane] = {}
        self._unresolved = 0
        self._unresolved_bytes = 0
        self._closed = False

    # -- what a backend adds

    @abstractmethod
    def _append(self, topic: str, events: Sequence[Event], deadline: float) -> Sequence[Outcome]:
        """Store `events` in order; one outcome each. Called by the topic's lane thread alone. Retries
        without storing twice until `deadline` (of time.monotonic) or until `closing`."""

    @abstractmethod
    def _leave(self, topic: str) -> None:
        """The lane of `topic` ends: give its connection up. Called by its thread."""

    @property
    def closing(self) -> bool:
        """Whether close() was called: a retry is in vain."""
        return self._closed

    # -- LogWriter

    def warm(self, topics: Collection[str]) -> None:
        """Nothing: a lane connects at its first batch, in a millisecond or two."""

    def submit(self, event: Event) -> Future[str]:
        size = admit(self._settings, event)
        future: Future[str] = Future()
        future.set_running_or_notify_cancel()  # it may be on its way: it cannot be cancelled
        item = _Item(event, size, time.monotonic() + self._settings.publish_timeout, future)
        with self._lock:
            if self._closed:
                raise BusClosed("the writer is closed: the event was not sent")
            lane = self._lane(event.topic)
            if lane.refused is None:
                self._enqueue(lane, item)
                return future
            refused = lane.refused
        future.set_exception(refused)
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
        self._resolve([(item, error) for item in lost])
        for lane in lanes:
            if lane.thread is not None and lane.thread is not threading.current_thread():
                lane.thread.join(CLOSE_SECONDS)

    # -- lanes

    def _lane(self, topic: str) -> _Lane:
        lane = self._lanes.get(topic)
        if lane is None:
            lane = self._lanes[topic] = _Lane(threading.Condition(self._lock))
            lane.thread = threading.Thread(target=self._run, args=(topic, lane), name=f"lane-{topic}", daemon=True)
            lane.thread.start()
        return lane

    def _enqueue(self, lane: _Lane, item: _Item) -> None:
        if self._unresolved >= MAX_QUEUED_EVENTS or self._unresolved_bytes + item.size > MAX_QUEUED_BYTES:
            raise BufferFull(
                f"{self._unresolved} events ({self._unresolved_bytes} bytes) wait to become durable, the limits are "
                f"{MAX_QUEUED_EVENTS} and {MAX_QUEUED_BYTES}: event {item.event.id} was not sent. Slow down"
            )
        self._unresolved += 1
        self._unresolved_bytes += item.size
        lane.queue.append(item)
        lane.queued_bytes += item.size
        # Woken when there is something at all, and when a full batch ends the lingering early.
        if len(lane.queue) in (1, BATCH_EVENTS) or lane.queued_bytes >= BATCH_BYTES:
            lane.changed.notify()

    def _run(self, topic: str, lane: _Lane) -> None:
        try:
            while (batch := self._next_batch(lane)) is not None:
                if batch:
                    self._send(topic, lane, batch)
        finally:
            self._leave(topic)

    def _next_batch(self, lane: _Lane) -> list[_Item] | None:
        """What to send next; empty where all of it had waited for too long, None at the end."""
        with self._lock:
            if not lane.queue and not self._closed:
                lane.changed.wait_for(lambda: lane.queue or self._closed)
                lane.changed.wait_for(
                    lambda: self._closed or len(lane.queue) >= BATCH_EVENTS or lane.queued_bytes >= BATCH_BYTES,
                    LINGER_SECONDS,
                )
            if self._closed:
                return None
            batch: list[_Item] = []
            late: list[_Item] = []
            size, now = 0, time.monotonic()
            while lane.queue and len(batch) < BATCH_EVENTS and (not batch or size + lane.queue[0].size <= BATCH_BYTES):
                item = lane.queue.popleft()
                lane.queued_bytes -= item.size
                if item.deadline < now:
                    late.append(item)
                else:
                    size += item.size
                    batch.append(item)
            lane.sending = batch
        limit = self._settings.publish_timeout
        self._resolve(
            [
                (item, PublishTimeout(f"event {item.event.id} could not be sent in {limit:g} s: it was not"))
                for item in late
            ]
        )
        return batch

    def _send(self, topic: str, lane: _Lane, batch: list[_Item]) -> None:
        try:
            outcomes: Sequence[Outcome] = self._append(
                topic, [item.event for item in batch], max(item.deadline for item in batch)
            )
        except EventBusError as error:
            outcomes = [error] * len(batch)
        except Exception as error:
            # A fault of ours: callers must not wait for ever because of it.
            _log.exception("appending %d events to %s failed", len(batch), topic)
            outcomes = [PermanentError(f"appending to {topic} failed: {error!r}; it may or may not be stored")] * len(
                batch
            )
        refusal = next((outcome for outcome in outcomes if isinstance(outcome, Fenced)), None)
        results = list(zip(batch, outcomes, strict=True))
        with self._lock:
            lane.sending = []
            if refusal is not None:
                lane.refused = refusal
                results += [(item, refusal) for item in lane.queue]
                lane.queue.clear()
                lane.queued_bytes = 0
        self._resolve(results)
        if refusal is not None:
            # Every caller has been told by now, so what comes from here on knows of it.
            with self._lock:
                lane.refused = None

    def _resolve(self, results: Sequence[tuple[_Item, Outcome]]) -> None:
        """Resolve futures outside the lock, in order: their callbacks may take locks of their own."""
        for item, outcome in results:
            with self._lock:
                if item.resolved:
                    continue
                item.resolved = True
            try:
                if isinstance(outcome, str):
                    item.future.set_result(outcome)
                else:
                    item.future.set_exception(outcome)
            finally:
                with self._lock:
                    self._unresolved -= 1
                    self._unresolved_bytes -= item.size
                    if not self._unresolved:
                        self._resolved.notify_all()

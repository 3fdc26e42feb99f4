"""Publishes what transactions left in the outbox: at least once, under one id, in order within a key.

Consumers drop a repeated id, so an event that was published but not marked before a crash does
no harm. A lease keeps two engines from publishing at once; should it run out during a long
switch, the worst is a repeated id.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta

from adapters.database import TradingStore
from adapters.database.errors import DatabaseError
from adapters.event_bus import EventBus, EventBusError, Receipt
from contracts.envelope import Event, MalformedEvent
from services.common import metrics

LEASE = "outbox"
LEASE_SECONDS = 10.0
"""How long signals wait after an engine died before another may send them."""
RENEW_SECONDS = 3.0
"""How often the lease is renewed while an event is waited for."""
PUBLISH_SECONDS = 30.0
"""How long to wait for one event in one round; a fence may hold it for longer."""
POLL_SECONDS = 1.0
"""How often to look without being told: what another engine left behind is found this late."""
PURGE_SECONDS = 60.0
PURGE_LIMIT = 10_000
FETCH = 500

_log = logging.getLogger(__name__)


def by_turns(events: Sequence[Event]) -> list[list[Event]]:
    """`events` in rounds: the n-th round holds each key's n-th event. A key's events are never in
    flight together, so a failed one cannot be overtaken by the next of its key."""
    rounds: list[list[Event]] = []
    seen: dict[tuple[str, str], int] = {}
    for event in events:
        place = (event.topic, event.key)
        turn = seen[place] = seen.get(place, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(event)
    return rounds


class OutboxPublisher:
    """A thread that sends the outbox. `wake` it when a transaction has left something there."""

    def __init__(self, store: TradingStore, bus: EventBus, holder: str, retention: timedelta) -> None:
        self._store = store
        self._bus = bus
        self._holder = holder
        self._retention = retention
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._purged = 0.0
        self._flying: dict[str, Future[Receipt]] = {}
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self, timeout: float) -> None:
        """Send what is there, once more, and end; seconds."""
        self._stopped.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopped.is_set()
            self._wake.clear()
            try:
                self.send()
                self._purge()
            except DatabaseError as error:
                _log.warning("the outbox waits for the database: %s", error)
            if not last:
                self._wake.wait(POLL_SECONDS)
        try:
            self._store.drop_lease(LEASE, self._holder)
        except DatabaseError as error:
            _log.info("the outbox lease was left to run out: %s", error)

    def send(self) -> int:
        """Send all that waits, unless another engine does; how many became durable."""
        total = 0
        while self._store.take_lease(LEASE, self._holder, LEASE_SECONDS):
            events = self._store.unsent(FETCH)
            sent = self._publish(events)
            if sent:
                self._store.mark_sent(sent)
            total += len(sent)
            metrics.OUTBOX_SENT.inc(len(sent))
            if len(sent) < len(events) or len(events) < FETCH:
                metrics.OUTBOX_WAITING.set(len(events) - len(sent))
                break
        return total

    def _publish(self, events: Sequence[Event]) -> list[str]:
        sent: list[str] = []
        stuck: set[tuple[str, str]] = set()
        for turn in by_turns(events):
            flying = [(event, self._submit(event)) for event in turn if (event.topic, event.key) not in stuck]
            for event, future in flying:
                if self._arrived(event, future):
                    sent.append(event.id)
                else:
                    stuck.add((event.topic, event.key))
        return sent

    def _submit(self, event: Event) -> Future[Receipt]:
        """The future of `event`; the earlier one, where the bus still holds it from an earlier round."""
        if event.id not in self._flying:
            try:
                self._flying[event.id] = self._bus.publish_event(event)
            except (EventBusError, MalformedEvent) as error:
                failed: Future[Receipt] = Future()
                failed.set_exception(error)
                return failed
        return self._flying[event.id]

    def _arrived(self, event: Event, future: Future[Receipt]) -> bool:
        try:
            self._await(future)
        except TimeoutError:
            _log.warning("outbox event %s of key %s is still held by the bus", event.id, event.key)
            return False
        except (EventBusError, MalformedEvent) as error:
            self._flying.pop(event.id, None)
            metrics.OUTBOX_FAILED.inc()
            _log.warning("outbox event %s of key %s waits: %s", event.id, event.key, error)
            return False
        self._flying.pop(event.id, None)
        return True

    def _await(self, future: Future[Receipt]) -> None:
        """Wait for `future`, keeping the lease. Raises TimeoutError, also where the lease was lost."""
        deadline = time.monotonic() + PUBLISH_SECONDS
        while True:
            left = deadline - time.monotonic()
            try:
                future.result(min(RENEW_SECONDS, max(0.0, left)))
                return
            except TimeoutError:
                if left <= RENEW_SECONDS or not self._store.take_lease(LEASE, self._holder, LEASE_SECONDS):
                    raise

    def _purge(self) -> None:
        if time.monotonic() - self._purged < PURGE_SECONDS:
            return
        self._purged = time.monotonic()
        total = 0
        # In small transactions until all of it is gone: more may come in a minute than one of them takes.
        while (gone := self._store.purge(self._retention, PURGE_LIMIT)) and not self._stopped.is_set():
            total += gone
            if gone < PURGE_LIMIT:
                break
        if total:
            _log.info("forgot %d claims and sent events older than %s", total, self._retention)

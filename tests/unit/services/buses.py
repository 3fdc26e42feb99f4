"""An event bus for unit tests: keeps what is published, fails or holds on demand."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from typing import override

from adapters.event_bus import EventBus, EventBusError, Handler, Receipt, Subscription
from contracts.envelope import DEFAULT_TYPE, Event


class RecordingBus(EventBus):
    """`refuse` maps an event id, or a topic, to the error it meets; `hold` leaves futures unresolved."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.refuse: dict[str, EventBusError] = {}
        self.hold = False
        self.held: list[tuple[Event, Future[Receipt]]] = []
        self.arrived = threading.Condition()
        self.closed = False

    @override
    def publish_event(self, event: Event) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        with self.arrived:
            error = self.refuse.get(event.id) or self.refuse.get(event.topic)
            if error is not None:
                future.set_exception(error)
            elif self.hold:
                self.held.append((event, future))
            else:
                self._store(event, future)
            self.arrived.notify_all()
        return future

    def release(self) -> None:
        """Let what is held become durable, in order."""
        with self.arrived:
            self.hold = False
            held, self.held = self.held, []
            for event, future in held:
                self._store(event, future)
            self.arrived.notify_all()

    def _store(self, event: Event, future: Future[Receipt]) -> None:
        self.published.append(event)
        future.set_result(Receipt(event.id, "memory", str(len(self.published)), 1))

    @override
    def publish_batch(self, events: Sequence[Event]) -> Future[Sequence[Receipt]]:
        raise NotImplementedError

    @override
    def publish_future(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Future[Receipt]:
        return self.publish_event(Event.create(topic, key, payload, source="test", type=type))

    @override
    def publish(
        self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE, timeout: float | None = None
    ) -> Receipt:
        return self.publish_future(topic, key, payload, type=type).result(timeout)

    @override
    def publish_async(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Awaitable[Receipt]:
        raise NotImplementedError

    @override
    def subscribe(
        self, topics: Sequence[str], group: str, handler: Handler, *, max_batch: int = 256, start: str = "earliest"
    ) -> Subscription:
        raise NotImplementedError

    @override
    def ready(self) -> str | None:
        return None

    @override
    def close(self, timeout: float = 10.0) -> None:
        self.closed = True

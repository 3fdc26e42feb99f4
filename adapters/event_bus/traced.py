"""The event bus with a trace of some events: around it, so that the bus costs the same where none are made."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, override

from adapters.event_bus.interface import EventBus, Handler, Receipt, Subscription
from adapters.tracing.spans import Sent, Tracing
from contracts.envelope import DEFAULT_TYPE, Event

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


class TracedEventBus(EventBus):
    """See the module. What failed to be published has no id of its own yet where the bus makes it: no trace then."""

    def __init__(self, bus: EventBus, tracing: Tracing) -> None:
        self._bus, self._tracing = bus, tracing

    @override
    def publish(
        self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE, timeout: float | None = None
    ) -> Receipt:
        noted = self._noting(topic, len(payload))
        receipt = self._bus.publish(topic, key, payload, type=type, timeout=timeout)
        noted(receipt)
        return receipt

    @override
    def publish_event(self, event: Event) -> Future[Receipt]:
        began, within = time.time_ns(), self._tracing.here()
        future = self._bus.publish_event(event)
        if self._tracing.takes(event.id):
            future.add_done_callback(lambda done: self._done(event, within, began, done))
        return future

    @override
    def publish_batch(self, events: Sequence[Event]) -> Future[Sequence[Receipt]]:
        began, within = time.time_ns(), self._tracing.here()
        future = self._bus.publish_batch(events)
        if taken := [place for place, event in enumerate(events) if self._tracing.takes(event.id)]:
            future.add_done_callback(lambda done: self._batch_done(events, taken, within, began, done))
        return future

    @override
    def publish_future(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Future[Receipt]:
        noted = self._noting(topic, len(payload))
        future = self._bus.publish_future(topic, key, payload, type=type)
        future.add_done_callback(lambda done: None if _failure(done) else noted(done.result()))
        return future

    @override
    def publish_async(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Awaitable[Receipt]:
        noted = self._noting(topic, len(payload))

        async def submit() -> Receipt:
            receipt = await self._bus.publish_async(topic, key, payload, type=type)
            noted(receipt)
            return receipt

        return submit()

    @override
    def subscribe(
        self, topics: Sequence[str], group: str, handler: Handler, *, max_batch: int = 256, start: str = "earliest"
    ) -> Subscription:
        def traced(events: Sequence[Event]) -> None:
            began, failed = time.time_ns(), ""
            try:
                handler(events)
            except BaseException as error:
                failed = _told(error)
                raise
            finally:
                self._tracing.handled(events, group, began, time.time_ns(), failed=failed)

        return self._bus.subscribe(topics, group, traced, max_batch=max_batch, start=start)

    @override
    def ready(self) -> str | None:
        return self._bus.ready()

    @override
    def close(self, timeout: float = 10.0) -> None:
        self._bus.close(timeout)
        self._tracing.flush()

    def _noting(self, topic: str, size: int) -> Callable[[Receipt], None]:
        """Notes what is published from now on, once its receipt is there."""
        began, within = time.time_ns(), self._tracing.here()

        def noted(receipt: Receipt) -> None:
            sent = Sent(topic, receipt.event_id, size, receipt.backend, receipt.epoch)
            self._tracing.published(sent, within, began, time.time_ns())

        return noted

    def _done(self, event: Event, within: SpanContext, began: int, done: Future[Receipt]) -> None:
        failed = _failure(done)
        self._note(event, None if failed else done.result(), within, began, failed)

    def _batch_done(
        self, events: Sequence[Event], taken: Sequence[int], within: SpanContext, began: int,
        done: Future[Sequence[Receipt]],
    ) -> None:  # fmt: skip
        failed = _failure(done)
        receipts = () if failed else done.result()
        for place in taken:
            self._note(events[place], receipts[place] if receipts else None, within, began, failed)

    def _note(self, event: Event, receipt: Receipt | None, within: SpanContext, began: int, failed: str) -> None:
        where = (receipt.backend, receipt.epoch) if receipt is not None else ("", 0)
        sent = Sent(event.topic, event.id, len(event.payload), *where)
        self._tracing.published(sent, within, began, time.time_ns(), failed=failed)


def _failure(done: Future[Receipt] | Future[Sequence[Receipt]]) -> str:
    if done.cancelled():
        return "cancelled"
    error = done.exception()
    return "" if error is None else _told(error)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

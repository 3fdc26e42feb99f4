"""What services see of the event bus: the same at every stage and on every backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from contracts.envelope import DEFAULT_TYPE, Event

Handler = Callable[[Sequence[Event]], None]
"""Takes a batch in order. All of it counts as acknowledged when the handler returns. A batch whose
handler raised is delivered again; raise RejectEvent to set one event aside."""


class RejectEvent(Exception):
    """Raised by a handler for an event that it can never take: it goes to the dead-letter topic
    with `cause`, and the rest of the batch is delivered again without it."""

    def __init__(self, event_id: str, cause: str) -> None:
        super().__init__(f"event {event_id} rejected: {cause}")
        self.event_id = event_id
        self.cause = cause


class Receipt(NamedTuple):
    """Proof that an event is durable: its id, where it lies, and the epoch it was written under."""

    event_id: str
    backend: str
    position: str
    epoch: int


class Subscription(Protocol):
    """A running consumer: one thread per topic."""

    def close(self, timeout: float = 10.0) -> None:
        """Finish the batch in hand, acknowledge it, leave the group. Seconds."""

    @property
    def failure(self) -> BaseException | None:
        """Why it stopped by itself, if it did."""

    def position(self, topic: str) -> int:
        """The index of the segment of `topic` that is being read (0 is the oldest)."""


class EventBus(Protocol):
    """Publish and subscribe. Thread-safe."""

    def publish(
        self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE, timeout: float | None = None
    ) -> Receipt:
        """Publish and wait until the event is durable. `timeout` in seconds.

        Raises what adapters/event_bus/errors.py draws, and MalformedEvent.
        """

    def publish_event(self, event: Event) -> Future[Receipt]:
        """Publish an event made before, with its id: for an outbox, where the id must be stable."""

    def publish_batch(self, events: Sequence[Event]) -> Future[Sequence[Receipt]]:
        """Publish events made before, in order, at a fraction of the cost of one by one. They are accepted as a whole
        or not at all. The future resolves once all are durable, with a receipt each, and fails with BatchFailed
        where some are not."""

    def publish_future(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Future[Receipt]:
        """Publish without waiting; the future resolves once the event is durable."""

    def publish_async(self, topic: str, key: str, payload: bytes, *, type: str = DEFAULT_TYPE) -> Awaitable[Receipt]:
        """The same for asyncio."""

    def subscribe(
        self, topics: Sequence[str], group: str, handler: Handler, *, max_batch: int = 256, start: str = "earliest"
    ) -> Subscription:
        """Deliver `topics` to `handler` as a member of `group`. A group that is new to the topic
        starts at its `earliest` retained event or after its `latest`."""

    def ready(self) -> str | None:
        """None when usable, else why not."""

    def close(self, timeout: float = 10.0) -> None:
        """Flush, stop all subscriptions, leave the registry."""

"""What can go wrong on the event bus, as callers see it.

    EventBusError
    ├── BatchFailed               of a batch: what became of each event, and why
    ├── PermanentError            trying again as it is cannot help
    │   ├── EventTooLarge         over the limit: says both sizes
    │   ├── UnknownTopic          not one of the configured topics
    │   ├── AccessDenied          the backend refuses these credentials
    │   └── BusClosed             the bus was closed by its owner
    └── RetryableError            nothing was stored, or it is not known yet
        ├── BackendUnavailable    the backend does not answer
        ├── PublishTimeout        not durable in time; the event may or may not be stored
        ├── BufferFull            back-pressure: the bounded buffer is full
        └── Fenced                definitely not stored: this backend is sealed for writers

Foreign exceptions (redis, confluent_kafka, kubernetes) never leave their module.
`contracts.envelope.MalformedEvent` (a ValueError) is raised for events that no backend
could carry.
"""

from __future__ import annotations

from collections.abc import Mapping


class EventBusError(Exception):
    """The root of all errors of the event bus."""


class BatchFailed(EventBusError):
    """Events of a batch failed: `errors` says which, by id, and why. All others are durable."""

    def __init__(self, errors: Mapping[str, EventBusError], count: int) -> None:
        event_id, first = next(iter(errors.items()))
        super().__init__(
            f"{len(errors)} of {count} events of a batch failed, the others are durable. First {event_id}: {first}"
        )
        self.errors = errors


class PermanentError(EventBusError):
    """Trying again as it is cannot help."""


class RetryableError(EventBusError):
    """Trying again may help."""


class EventTooLarge(PermanentError):
    """An event is larger than the limit. Sizes in bytes."""

    def __init__(self, event_id: str, size: int, limit: int) -> None:
        super().__init__(
            f"event {event_id} has {size} bytes, the limit is {limit}: it was not sent. "
            "Make the payload smaller, or raise max_event_bytes on every backend first"
        )
        self.size = size
        self.limit = limit


class UnknownTopic(PermanentError):
    """A topic that the route does not know."""

    def __init__(self, topic: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"topic {topic!r} is not configured (known: {', '.join(known) or 'none'}): nothing was sent. "
            "Add it to crossover:event_bus.topics and run pulumi up"
        )
        self.topic = topic


class AccessDenied(PermanentError):
    """The backend refuses these credentials."""


class BusClosed(PermanentError):
    """The bus was closed by its owner."""


class BackendUnavailable(RetryableError):
    """The backend does not answer."""


class PublishTimeout(RetryableError):
    """The event was not durable in time; it may or may not be stored."""


class BufferFull(RetryableError):
    """The bounded buffer is full: the publisher is faster than the backend, or a switch lasts."""


class Fenced(RetryableError):
    """Definitely not stored: the backend is sealed for writers."""

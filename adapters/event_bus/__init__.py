"""The event bus: one interface over Redis Streams, Kafka, and a log made of both."""

import os
from collections.abc import Mapping

from adapters.event_bus.errors import (
    AccessDenied,
    BackendUnavailable,
    BatchFailed,
    BufferFull,
    BusClosed,
    EventBusError,
    EventTooLarge,
    Fenced,
    PermanentError,
    PublishTimeout,
    RetryableError,
    UnknownTopic,
)
from adapters.event_bus.interface import EventBus, Handler, Receipt, RejectEvent, Subscription
from adapters.tracing import tracing_from_env

__all__ = [
    "AccessDenied",
    "BackendUnavailable",
    "BatchFailed",
    "BufferFull",
    "BusClosed",
    "EventBus",
    "EventBusError",
    "EventTooLarge",
    "Fenced",
    "Handler",
    "PermanentError",
    "PublishTimeout",
    "Receipt",
    "RejectEvent",
    "RetryableError",
    "Subscription",
    "UnknownTopic",
    "open_bus",
]


def open_bus(client_id: str, env: Mapping[str, str] = os.environ) -> EventBus:
    """The event bus of this process, from the environment. See adapters/event_bus/factory.py."""
    from adapters.event_bus.factory import open_bus as make  # the backends' clients are slow to import

    bus, tracing = make(client_id, env), tracing_from_env(client_id, env)
    if tracing is None:
        return bus
    from adapters.event_bus.traced import TracedEventBus

    return TracedEventBus(bus, tracing)

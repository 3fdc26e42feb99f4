"""The bare clients that the routed bus is measured against: as durable, and with nothing around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from confluent_kafka import KafkaException, Producer

from adapters.event_bus.lanes import BATCH_EVENTS
from contracts.envelope import Event


def publish_to_redis(url: str, password: str, events: Sequence[Event]) -> None:
    """Pipelines of XADD, as large as the adapter's batches, each awaited. Raises where one failed."""
    client = redis.Redis.from_url(url, password=password)
    try:
        for begin in range(0, len(events), BATCH_EVENTS):
            pipeline = client.pipeline(transaction=False)
            for event in events[begin : begin + BATCH_EVENTS]:
                fields: dict[Any, Any] = {**event.headers(), "data": event.payload}
                pipeline.xadd(f"raw-{event.topic}", fields)
            pipeline.execute(raise_on_error=True)
    finally:
        client.close()


def publish_to_kafka(settings: dict[str, str], topic: str, events: Sequence[Event]) -> None:
    """An idempotent producer with acks=all; every delivery is checked."""
    failed: list[str] = []
    producer = Producer({**settings, "enable.idempotence": True, "acks": "all", "linger.ms": 2})
    for event in events:
        while True:
            try:
                producer.produce(
                    topic, event.payload, event.key, headers=list(event.headers().items()),
                    on_delivery=lambda error, _: failed.append(str(error)) if error else None,
                )  # fmt: skip
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    left = producer.flush(60)
    if failed or left:
        raise KafkaException(f"{len(failed)} events failed, {left} were not delivered: {failed[:1]}")

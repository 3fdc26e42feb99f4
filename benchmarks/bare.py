"""The bare clients that the routed bus is measured against: as durable, connected beforehand, and with
nothing around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from confluent_kafka import KafkaException, Producer

from adapters.event_bus.base import PARCEL_EVENTS as BATCH_EVENTS
from contracts.envelope import Event


class BareRedis:
    """Pipelines of XADD, as large as the adapter's batches, each awaited."""

    def __init__(self, url: str, password: str) -> None:
        self._client = redis.Redis.from_url(url, password=password)

    def publish(self, events: Sequence[Event]) -> None:
        """Publish all. Raises where one failed."""
        for begin in range(0, len(events), BATCH_EVENTS):
            pipeline = self._client.pipeline(transaction=False)
            for event in events[begin : begin + BATCH_EVENTS]:
                fields: dict[Any, Any] = {**event.headers(), "data": event.payload}
                pipeline.xadd(f"bare-{event.topic}", fields)
            pipeline.execute(raise_on_error=True)

    def close(self) -> None:
        """Give the connection up."""
        self._client.close()


class BareKafka:
    """An idempotent producer with acks=all; every delivery is checked."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._producer = Producer({**settings, "enable.idempotence": True, "acks": "all", "linger.ms": 2})
        self._failed: list[str] = []

    def publish(self, events: Sequence[Event]) -> None:
        """Publish all. Raises where one failed."""
        for event in events:
            while True:
                try:
                    self._producer.produce(
                        event.topic, event.payload, event.key, headers=list(event.headers().items()),
                        on_delivery=self._note,
                    )  # fmt: skip
                    break
                except BufferError:
                    self._producer.poll(0.05)
        left = self._producer.flush(60)
        if self._failed or left:
            raise KafkaException(f"{len(self._failed)} events failed, {left} were not delivered: {self._failed[:1]}")

    def _note(self, error: object, _message: object) -> None:
        if error:
            self._failed.append(str(error))

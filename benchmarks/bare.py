"""The bare clients that the routed bus is measured against.

They are given the same events and carry the same bytes, encoded with as little as can be; are as durable, batch as
the adapter does, are connected beforehand, confirm each delivery, acknowledge what they read, and have nothing around
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis
from confluent_kafka import Consumer, KafkaException, Producer

from adapters.event_bus.kafka_consumer import BACKOFF_MS, FETCH_BYTES, QUEUED_KBYTES
from adapters.event_bus.kafka_writer import largest_batch
from adapters.event_bus.lanes import LaneWriter
from benchmarks.servers import SETTINGS, Servers
from contracts.envelope import DEFAULT_CONTENT_TYPE, DEFAULT_TYPE, Event
from tests.contract.bus_servers import REDIS_PASSWORD

READ_EVENTS = 500
"""Of a read, on both sides."""
PATIENCE_SECONDS = 60.0


_SHARED = (
    ("ce_specversion", b"1.0"), ("ce_source", b"crossover/bench"), ("ce_type", DEFAULT_TYPE.encode()),
    ("ce_schemaversion", b"1"), ("ce_epoch", b"1"), ("content-type", DEFAULT_CONTENT_TYPE.encode()),
)  # fmt: skip
"""The headers that all events of a benchmark share, made once."""
_SHARED_FIELDS = dict(_SHARED)


class BareRedis:
    """Pipelines of XADD, as large as the adapter's batches, each awaited and each answer looked at."""

    def __init__(self, running: Servers) -> None:
        self._client: Any = redis.Redis.from_url(running.redis.url, password=REDIS_PASSWORD)

    def publish(self, topic: str, sent: Sequence[Event]) -> None:
        """Publish all. Raises where one failed."""
        for batch in _batches(sent):
            pipeline = self._client.pipeline(transaction=False)
            for event in batch:
                pipeline.xadd(topic, _fields(event))
            if not all(pipeline.execute(raise_on_error=True)):
                raise RuntimeError("an XADD was not answered with an id")

    def consume(self, topic: str, group: str, count: int, started: Callable[[], None]) -> None:
        """Read `count` entries as a new group: each batch acknowledged, in one round trip with the next read.
        `started` is called when the first batch is there."""
        self._client.xgroup_create(topic, group, id="0")
        taken: list[bytes] = []
        left = count
        while left > 0:
            pipeline = self._client.pipeline(transaction=False)
            if taken:
                pipeline.xack(topic, group, *taken)
            pipeline.xreadgroup(group, "bare", {topic: ">"}, count=READ_EVENTS, block=None)
            entries = pipeline.execute()[-1][0][1]
            if left == count:
                started()
            for _, fields in entries:
                _use(fields[b"ce_id"].decode(), fields[b"ce_partitionkey"], fields[b"data"])
            taken = [position for position, _ in entries]
            left -= len(entries)
        self._client.xack(topic, group, *taken)

    def close(self) -> None:
        """Give the connection up."""
        self._client.close()


class BareKafka:
    """An idempotent producer with acks=all, and consumers that commit by hand."""

    def __init__(self, running: Servers) -> None:
        self._client = running.kafka_client()
        size = largest_batch(SETTINGS)
        self._producer = Producer(
            {
                **self._client, "enable.idempotence": True, "acks": "all", "linger.ms": 2,
                "batch.size": size, "message.max.bytes": size, "partitioner": "murmur2_random",
            }
        )  # fmt: skip
        self._delivered = 0

    def publish(self, topic: str, sent: Sequence[Event]) -> None:
        """Publish all. Raises where one failed."""
        self._delivered = 0
        produce: Callable[..., None] = self._producer.produce
        poll = self._producer.poll
        for number, event in enumerate(sent):
            key = event.key.encode()
            headers = [
                ("ce_id", event.id.encode()),
                ("ce_time", event.time.encode()),
                ("ce_partitionkey", key),
                *_SHARED,
            ]
            while True:
                try:
                    produce(topic, event.payload, key, on_delivery=self._note, headers=headers)
                    break
                except BufferError:
                    poll(0.05)
            if not number % READ_EVENTS:
                poll(0)
        self._producer.flush(PATIENCE_SECONDS)
        if self._delivered != len(sent):
            raise KafkaException(f"{self._delivered} of {len(sent)} events were delivered")

    def _note(self, error: object, _message: object) -> None:
        if error is None:
            self._delivered += 1

    def consume(self, topic: str, group: str, count: int, started: Callable[[], None]) -> None:
        """Read `count` records as a new group, each batch committed. `started`: as of BareRedis."""
        consumer = Consumer(
            {
                **self._client, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                "isolation.level": "read_committed", "fetch.message.max.bytes": FETCH_BYTES,
                "queued.max.messages.kbytes": QUEUED_KBYTES, "fetch.queue.backoff.ms": BACKOFF_MS,
            }
        )  # fmt: skip
        consumer.subscribe([topic])
        deadline, left = time.monotonic() + PATIENCE_SECONDS, count
        while left > 0:
            batch = consumer.consume(READ_EVENTS, 1.0)
            if not batch and time.monotonic() > deadline:
                raise TimeoutError(f"{left} of {count} records of {topic} did not come")
            if batch and left == count:
                started()
            for message in batch:
                if message.error() is not None:
                    raise KafkaException(message.error())
                headers: Mapping[str, Any] = dict(message.headers() or ())
                _use(headers["ce_id"].decode(), message.key(), message.value())
            if batch:
                consumer.commit(asynchronous=False)
            left -= len(batch)
        consumer.close()


def _fields(event: Event) -> dict[Any, Any]:
    own = {"ce_id": event.id, "ce_time": event.time, "ce_partitionkey": event.key}
    return {**own, **_SHARED_FIELDS, "data": event.payload}


def _use(event_id: str, key: object, payload: object) -> None:
    """What a handler looks at, on both sides."""
    if not event_id or key is None or payload is None:
        raise ValueError("an event without id, key or payload")


def _batches(sent: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """As the adapter's lanes make them: by number and by bytes."""
    step = max(1, min(LaneWriter.batch_events, LaneWriter.batch_bytes // max(1, len(sent[0].payload))))
    for begin in range(0, len(sent), step):
        yield sent[begin : begin + step]

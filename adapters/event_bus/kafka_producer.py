"""Sending to Kafka: a batch at a time, or a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from adapters.event_bus.errors import BackendUnavailable, EventBusError, PublishTimeout
from adapters.event_bus.kafka_client import (
    PARTITIONER,
    Handle,
    KafkaAddress,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    SessionFenced,
    TopicPartition,
    WriteDenied,
    translate,
)
from adapters.event_bus.kafka_reports import Report, asked_for, settled
from adapters.event_bus.parcels import Outcome
from adapters.event_bus.patience import Helper

_GRACE_SECONDS = 1.0
"""How much longer than it was told the library may take, before it counts as stuck."""

Row = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
"""One record to send: payload, key, headers."""
MOST_KEYS = 100_000
"""Keys whose partition is remembered; beyond it all are forgotten, and learnt again."""


class KafkaProducer(Handle):
    """An idempotent producer for one topic, transactional with a `transactional_id`. Not thread-safe."""

    def __init__(
        self, address: KafkaAddress, client_id: str, timeout: float, batch_bytes: int, transactional_id: str = ""
    ) -> None:
        super().__init__(address)
        self._lost = False
        self._partitions: dict[str, int] = {}
        self._stuck = False
        self._helper = Helper("kafka-transaction")
        self._failed: list[KafkaError] = []
        config = address.config(client_id, self.note) | {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": PARTITIONER,
            # Not to gather, for `send` flushes: so that nothing leaves before the whole batch is handed over.
            # What it holds for a partition is then one record batch, which Kafka takes or refuses as a whole.
            "linger.ms": int(timeout * 500),
            "message.timeout.ms": int(timeout * 1000),
            "message.max.bytes": batch_bytes,
            "batch.size": batch_bytes,
        }
        if transactional_id:
            config |= {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(timeout * 1000),
                "delivery.report.only.error": True,
                "linger.ms": 20,  # batches worth their cost leave while more is read; the rest goes with the flush
            }
        self._producer = Producer(config)

    def _serve(self) -> None:
        self._producer.poll(0)

    def note(self, error: KafkaError) -> None:
        super().note(error)
        self._lost = self._lost or error.fatal() or error.code() == KafkaError._FATAL

    @property
    def lost(self) -> bool:
        """Whether it can send no more (a fatal error): make another."""
        self._serve()
        return self._lost

    def warm(self, topic: str, timeout: float) -> None:
        """Connect and learn the partitions of `topic`. Seconds."""
        try:
            known = self._producer.list_topics(topic, timeout).topics[topic]
        except KafkaException as error:
            raise self.trouble(error) from error
        if known.error is not None:
            raise translate(known.error, self.where)

    def send(
        self, topic: str, keys: Sequence[str], rows: Iterable[Row], give_up: Callable[[], bool]
    ) -> Sequence[Outcome]:
        """Send `rows`, which have these `keys`, together, and wait for all answers: where each lies, as
        `partition:offset`, or why that is not known."""
        known = self._partitions
        assumed: list[int | None] = list(map(known.get, keys))
        asked = asked_for(assumed)
        reports: dict[int, Report] = {}
        unsent: dict[int, EventBusError] = {}

        def note(number: int, error: KafkaError | None, message: Message) -> None:
            failure = None if error is None else self._failure(error)
            partition, offset = message.partition(), message.offset()
            reports[number] = Report(-1 if partition is None else partition, offset or 0, failure)

        produce: Callable[..., None] = self._producer.produce
        for number, (payload, key, headers) in enumerate(rows):
            try:
                if number in asked:
                    produce(topic, payload, key, on_delivery=partial(note, number), headers=headers)
                else:
                    produce(topic, payload, key, headers=headers)
            except KafkaException as error:
                unsent[number] = self._failure(error.args[0])
            except BufferError as error:
                unsent[number] = BackendUnavailable(f"Kafka at {self.where}: {error}")
        self._wait(give_up)
        self._learn(keys, assumed, reports)
        unknown = PublishTimeout(f"Kafka at {self.where} gave no answer: it may or may not be stored")
        return settled(assumed, reports, unsent, unknown, WriteDenied)

    def _learn(self, keys: Sequence[str], assumed: Sequence[int | None], reports: Mapping[int, Report]) -> None:
        """Remember where keys go: the partitioner knows nothing but the key and the number of partitions."""
        known = self._partitions
        stored = {n: report.partition for n, report in reports.items() if report.error is None}
        if len(known) > MOST_KEYS or any(assumed[n] not in (None, partition) for n, partition in stored.items()):
            known.clear()
        for n, partition in stored.items():
            known[keys[n]] = partition

    def send_in_transaction(self, topic: str, rows: Iterable[Row]) -> None:
        """Send `rows` as part of the transaction, and wait for nothing; where each lies is not asked."""
        note = self._note_failure
        produce: Callable[..., None] = self._producer.produce
        try:
            for payload, key, headers in rows:
                produce(topic, payload, key, on_delivery=note, headers=headers)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        except BufferError as error:
            raise BackendUnavailable(f"Kafka at {self.where}: {error}") from error

    def await_sent(self) -> None:
        """Wait for all answers to what the transaction sent. Raises what the first failed with."""
        self._wait(lambda: False)
        if self._failed:
            raise self._failure(self._failed[0])

    def _note_failure(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error)

    def _wait(self, give_up: Callable[[], bool]) -> None:
        """Until every answer is there, or `give_up()`."""
        try:
            while self._producer.flush(0.2) and not give_up():
                pass
        except KafkaException as error:
            self._lost = self._lost or error.args[0].fatal()
            raise self.trouble(error) from error

    def _failure(self, error: KafkaError) -> EventBusError:
        self._lost = self._lost or error.fatal()
        found = self.trouble(error)
        if isinstance(found, BackendUnavailable) and not isinstance(found, SessionFenced):
            return PublishTimeout(f"{found}: it may or may not be stored")
        return found

    # -- transactions

    def begin_session(self, timeout: float) -> None:
        """Shut out older sessions of the transactional id, and wait for what they left. Seconds."""
        self._transact(self._producer.init_transactions, timeout)

    def begin(self) -> None:
        """Begin a transaction."""
        self._failed.clear()
        self._transact(self._producer.begin_transaction)

    def send_position(self, topic: str, offset: int, note: str, group: Any, timeout: float) -> None:
        """Commit `offset` with `note` for partition 0 of `topic` in `group`, as part of the transaction."""
        position, send = TopicPartition(topic, 0, offset, note), self._producer.send_offsets_to_transaction
        begun = self._helper.begin(lambda: self._transact(send, [position], group, timeout))
        try:
            # The library heeds no timeout here: where the group's coordinator went away it may wait for ever
            # (librdkafka#5456, #5511).
            begun.result(timeout + _GRACE_SECONDS)
        except TimeoutError as error:
            self._stuck = self._lost = True
            raise BackendUnavailable(f"Kafka at {self.where}: no answer to the offset of {topic}") from error

    def commit(self, timeout: float) -> None:
        """Commit the transaction."""
        self._transact(self._producer.commit_transaction, timeout)

    def abort(self, timeout: float) -> None:
        """Undo the transaction. Where the library is stuck in it, only Kafka can, and does after its time-out."""
        if self._stuck:
            raise BackendUnavailable(f"Kafka at {self.where}: the library does not come back from the transaction")
        self._transact(self._producer.abort_transaction, timeout)

    def _transact(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            act(*arguments)
        except KafkaException as error:
            self._lost = self._lost or error.args[0].fatal()
            raise self.trouble(error) from error

    def close(self) -> None:
        """Give up what is unsent, and the connections; where the library is stuck, once it comes back."""
        self._producer.purge()
        if self._stuck:
            self._helper.abandon()
        else:
            self._helper.end()
        del self._producer  # the library's own close would warn of each transaction that was fenced

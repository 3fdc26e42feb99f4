"""Sending to Kafka: a batch at a time, or a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    translate,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One record to send."""

    key: bytes | None
    headers: Mapping[str, bytes]
    payload: bytes


class KafkaProducer(Handle):
    """An idempotent producer, transactional with a `transactional_id`. Not thread-safe."""

    def __init__(
        self, address: KafkaAddress, client_id: str, timeout: float, batch_bytes: int, transactional_id: str = ""
    ) -> None:
        super().__init__(address)
        self._lost = False
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
            config |= {"transactional.id": transactional_id, "transaction.timeout.ms": int(timeout * 1000)}
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

    def send(self, topic: str, rows: Sequence[Row], give_up: Callable[[], bool]) -> list[str | EventBusError]:
        """Send `rows` together and wait for all answers: where each lies, as `partition:offset`, or why not."""
        answers: list[str | EventBusError | None] = [None] * len(rows)
        for number, row in enumerate(rows):
            try:
                self._producer.produce(
                    topic,
                    row.payload,
                    row.key,
                    on_delivery=partial(self._answered, answers, number),
                    headers=list(row.headers.items()),
                )
            except KafkaException as error:
                answers[number] = self._failure(error.args[0])
            except BufferError as error:
                answers[number] = BackendUnavailable(f"Kafka at {self.where}: {error}")
        self._wait(give_up)
        unknown = PublishTimeout(f"Kafka at {self.where} gave no answer: it may or may not be stored")
        return [unknown if answer is None else answer for answer in answers]

    def _wait(self, give_up: Callable[[], bool]) -> None:
        """Until every answer is there, or `give_up()`."""
        try:
            while self._producer.flush(0.2) and not give_up():
                pass
        except KafkaException as error:
            self._lost = self._lost or error.args[0].fatal()
            raise self.trouble(error) from error

    def _answered(
        self, answers: list[str | EventBusError | None], number: int, error: KafkaError | None, message: Message
    ) -> None:
        if error is None:
            answers[number] = f"{message.partition()}:{message.offset()}"
        else:
            answers[number] = self._failure(error)

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
        self._transact(self._producer.begin_transaction)

    def send_position(self, topic: str, offset: int, note: str, group: Any, timeout: float) -> None:
        """Commit `offset` with `note` for partition 0 of `topic` in `group`, as part of the transaction."""
        position = TopicPartition(topic, 0, offset, note)
        self._transact(self._producer.send_offsets_to_transaction, [position], group, timeout)

    def commit(self, timeout: float) -> None:
        """Commit the transaction."""
        self._transact(self._producer.commit_transaction, timeout)

    def abort(self, timeout: float) -> None:
        """Undo the transaction."""
        self._transact(self._producer.abort_transaction, timeout)

    def _transact(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            act(*arguments)
        except KafkaException as error:
            self._lost = self._lost or error.args[0].fatal()
            raise self.trouble(error) from error

    def close(self) -> None:
        """Give up what is unsent, and the connections."""
        self._producer.purge()
        del self._producer  # the library's own close would warn of each transaction that was fenced

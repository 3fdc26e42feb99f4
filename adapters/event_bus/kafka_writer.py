"""Writing to Kafka: events of services, and copies of a mirror."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain

from adapters.event_bus.base import LogCopier, LogSettings, Stored
from adapters.event_bus.errors import BackendUnavailable, EventBusError, Fenced, PermanentError, PublishTimeout
from adapters.event_bus.kafka_client import ANSWER_SECONDS, KafkaAddress, SessionFenced, WriteDenied
from adapters.event_bus.kafka_consumer import KafkaConsumer, stored
from adapters.event_bus.kafka_producer import KafkaProducer, Row
from adapters.event_bus.kafka_reader import group_id
from adapters.event_bus.lanes import LaneWriter, Name, Part
from adapters.event_bus.parcels import LANES, Outcome, all_stored
from adapters.event_bus.wire import copied_rows, letter_limit, reached
from contracts.envelope import Event, wire_rows
from contracts.routes import Cursor

_log = logging.getLogger(__name__)

BATCH_BYTES = 4 << 20
"""Of a batch over all partitions: a request to Kafka costs more than one to Redis. Should all of it have one key, it
is one record batch still, which Kafka takes or refuses as a whole."""
_OVERHEAD_BYTES = 256 << 10
_LETTER_OVERHEAD_BYTES = 16 << 10
_CLOCK_SECONDS = 2.0
"""How far a clock may step back within one batch."""
_RETRY_SECONDS = 0.1
TRANSACTION_SECONDS = 10.0
"""After so long Kafka undoes what a dead mirror left open, and readers go on."""


def largest_batch(settings: LogSettings) -> int:
    """Bytes of the largest record batch that a writer sends: a topic must take it."""
    events = max(BATCH_BYTES, settings.max_event_bytes) + _OVERHEAD_BYTES
    return max(events, letter_limit(settings.max_event_bytes) + _LETTER_OVERHEAD_BYTES)


def copier_name(source: str, topic: str) -> str:
    """The transactional id of the copier from `source`, and the group in which it keeps its place."""
    return f"crossover-mirror:{source}:{topic}" if source else "crossover-mirror:"


class KafkaWriter(LaneWriter):
    """One idempotent producer a lane."""

    lanes = LANES
    batch_events = 4000
    batch_bytes = BATCH_BYTES

    def __init__(self, address: KafkaAddress, settings: LogSettings, client_id: str) -> None:
        super().__init__(settings, client_id)
        self._address = address
        self._making = threading.Lock()
        self._producers: dict[Name, KafkaProducer] = {}

    def warm(self, topics: Collection[str]) -> None:
        for topic in topics:
            with suppress(EventBusError):
                for number in range(self.lanes):
                    self._ready((topic, number), time.monotonic() + ANSWER_SECONDS)

    def _append(self, lane: Name, parts: Sequence[Part], deadline: float) -> Sequence[Outcome]:
        topic = lane[0]
        try:
            producer = self._ready(lane, deadline)
        except BackendUnavailable as error:
            limit = self._settings.publish_timeout
            unsent = PublishTimeout(f"not sent within {limit:g} s, so not stored: {error}")
            return [unsent] * sum(len(events) for events, _ in parts)
        began = time.time()
        keys = [event.key for events, _ in parts for event in events]
        answers = producer.send(topic, keys, _rows(parts), lambda: self.closing)
        denied = not all_stored(answers) and any(isinstance(answer, WriteDenied) for answer in answers)
        if denied or producer.lost:
            self._leave(lane)  # librdkafka goes on to refuse for a second after rights are given back
        if not denied:
            return answers
        return self._settle(topic, [event for events, _ in parts for event in events], answers, began)

    def _settle(
        self, topic: str, events: Sequence[Event], answers: Sequence[Outcome], began: float
    ) -> Sequence[Outcome]:
        """A denial is an answer to the last attempt: an earlier one, whose answer was lost with a connection,
        may have been stored. Only the log itself can say."""
        denied = {event.id for event, answer in zip(events, answers, strict=True) if isinstance(answer, WriteDenied)}
        try:
            places = self._places(topic, denied, began)
        except EventBusError as error:
            unknown = PublishTimeout(f"{topic} is sealed at kafka, and may or may not hold the event: {error}")
            return [unknown if isinstance(answer, WriteDenied) else answer for answer in answers]
        fenced = Fenced(f"{topic} is sealed at kafka: the event was not stored")
        return [
            places.get(event.id, fenced) if isinstance(answer, WriteDenied) else answer
            for event, answer in zip(events, answers, strict=True)
        ]

    def _places(self, topic: str, ids: set[str], began: float) -> dict[str, str]:
        """Where those of `ids` lie that are in the log."""
        consumer = KafkaConsumer(self._address, self._client_id, group_id(topic, "~look"), committed_only=False)
        found: dict[str, str] = {}
        try:
            spans = consumer.offsets_since(topic, consumer.partitions(topic), began - _CLOCK_SECONDS)
            ends = {p: end for p, (first, end) in spans.items() if first < end}
            at = {p: spans[p][0] for p in ends}
            deadline = time.monotonic() + ANSWER_SECONDS
            if at:
                consumer.assign(topic, at)
            while any(at[p] < end for p, end in ends.items()):
                if time.monotonic() > deadline:
                    raise BackendUnavailable(f"{topic} could not be read to its end in {ANSWER_SECONDS:g} s")
                messages, read_to = consumer.fetch(1000, 0.1)
                for entry in (stored(topic, message) for message in messages):
                    at[entry.partition] = max(at[entry.partition], int(entry.position) + 1)
                    if entry.event is not None and entry.event.id in ids:
                        found[entry.event.id] = f"{entry.partition}:{entry.position}"
                for partition, offset in read_to.items():
                    at[partition] = max(at[partition], offset)
        finally:
            consumer.close()
        return found

    def _ready(self, lane: Name, deadline: float) -> KafkaProducer:
        """The producer of `lane`, connected: so that a batch is never spread over several requests because
        the partitions were still unknown."""
        with self._making:
            producer = self._producers.get(lane)
            if producer is not None and producer.lost:
                self._leave(lane)  # opened ahead, and refused a session since
                producer = None
            if producer is None:
                producer = self._producers[lane] = self._made(lane[0], deadline)
            return producer

    def _made(self, topic: str, deadline: float) -> KafkaProducer:
        producer = KafkaProducer(
            self._address, self._client_id, self._settings.publish_timeout, largest_batch(self._settings)
        )
        while True:
            try:
                producer.warm(topic, min(ANSWER_SECONDS, max(0.1, deadline - time.monotonic())))
            except BackendUnavailable:
                if self.closing or time.monotonic() + _RETRY_SECONDS >= deadline:
                    producer.close()
                    raise
                time.sleep(_RETRY_SECONDS)  # a server that is away announces nothing
            except EventBusError:
                producer.close()
                raise
            else:
                return producer

    def _leave(self, lane: Name) -> None:
        producer = self._producers.pop(lane, None)
        if producer is not None:
            producer.close()


def _rows(parts: Sequence[Part]) -> Iterator[Row]:
    return chain.from_iterable(wire_rows(events, epoch) for events, epoch in parts)


class KafkaCopier(LogCopier):
    """Copies and the source's position in one transaction, the position as the note of a group's offset."""

    most_events = 5000  # what a transaction costs does not grow with them

    def __init__(self, address: KafkaAddress, settings: LogSettings, topic: str, source: str) -> None:
        self._topic = topic
        self._source = source
        self._reached: Cursor | None = None
        self._number = 0
        self._open = False
        self._unknown = False
        name = copier_name(source, topic)
        self._producer = KafkaProducer(address, name, TRANSACTION_SECONDS, largest_batch(settings), name)
        self._group = KafkaConsumer(address, name, name)
        try:
            self._producer.begin_session(settings.publish_timeout)
        except BackendUnavailable:
            self.close()
            raise

    def send(self, entries: Sequence[Stored]) -> Sequence[Stored]:
        with self._transaction():
            self._send(entries)
        return ()

    def copy(self, entries: Sequence[Stored], reached: Cursor) -> None:
        self._refuse_backwards(reached)
        with self._transaction():
            self._send(entries)
            self._number += 1
            note = json.dumps(dict(reached))
            # Ahead of waiting for the copies, which are on their way meanwhile.
            self._producer.send_position(self._topic, self._number, note, self._group.group, TRANSACTION_SECONDS)
            self._producer.await_sent()
            self._producer.commit(TRANSACTION_SECONDS)
        self._open, self._reached = False, dict(reached)

    def close(self) -> None:
        if self._open and not self._unknown:
            self._undo()
        self._producer.close()
        self._group.close()

    def _send(self, entries: Sequence[Stored]) -> None:
        if not self._open:
            self._producer.begin()
            self._open = True
        self._producer.send_in_transaction(self._topic, copied_rows(entries, self._source))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A part of the transaction. What fails in it undoes the whole; what becomes of that is not known."""
        if self._unknown:
            raise BackendUnavailable("an earlier batch had no answer: open a new copier and see how far it came")
        self._unknown = True
        try:
            yield
        except SessionFenced as error:
            raise Fenced(
                f"a newer session copies {self._topic} from {self._source} into kafka: nothing was copied"
            ) from error
        except EventBusError as error:
            self._undo()
            if isinstance(error, PermanentError):
                raise
            raise BackendUnavailable(f"a batch of copies of {self._topic} was not committed: {error}") from error
        except Exception:
            self._undo()  # else who reads what is committed would wait for its end
            raise
        self._unknown = False

    def _undo(self) -> None:
        try:
            self._producer.abort(TRANSACTION_SECONDS)
        except EventBusError as error:
            _log.warning("copies of %s could not be undone, Kafka does it in a while: %s", self._topic, error)

    def _refuse_backwards(self, now: Cursor) -> None:
        if self._reached is not None and not reached(now, self._reached):
            raise ValueError(f"copies reach {self._reached} already: {dict(now)} is behind it")

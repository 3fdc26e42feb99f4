"""The one module that imports `confluent_kafka`: handles that speak bytes and raise our own errors.

A handle connects in the background and again after a failure, as librdkafka does; what could not
be done within the time given raises BackendUnavailable.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
    admin,
)

from adapters.event_bus.base import Stored
from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError, PermanentError, PublishTimeout
from adapters.event_bus.wire import decode

__all__ = [
    "IsolationLevel",
    "KafkaError",
    "KafkaException",
    "TopicCollection",
    "TopicPartition",
    "admin",
]
"""Of the library, for kafka_admin.py; the rest of this module is its own."""

_log = logging.getLogger(__name__)
_library_log = logging.getLogger(f"{__name__}.librdkafka")
_library_log.setLevel(logging.CRITICAL + 1)  # what matters comes as errors, in our own words

ANSWER_SECONDS = 10.0
"""How long one answer may take before it counts as none."""
PARTITIONER = "murmur2_random"
"""How every producer of ours, a service's or the mirror's, chooses the partition of a key: as Java clients do."""
_LOGIN_SECONDS = 2.0
_GIVE_UP_SECONDS = 0.1
"""How soon it is seen that nobody waits for an answer any more."""

_DENIED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_PERMANENT = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.SECURITY_DISABLED,
        KafkaError.UNSUPPORTED_VERSION,
    }
)
_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_REJOINING = frozenset({KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION})
_ACTIVE = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP})
SILENT = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
"""The codes of errors which only say that no broker answered."""


class WriteDenied(AccessDenied):
    """The topic may not be written by this user: it is sealed, or rights were never given."""


class SessionFenced(BackendUnavailable):
    """A newer producer of the same transactional id exists."""


class Rejoining(BackendUnavailable):
    """The group is between two generations: the same commit succeeds shortly."""


class GroupActive(BackendUnavailable):
    """The group has members: only they can move it."""


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where Kafka is: `host:port,...`. With a user name it logs in by SASL/PLAIN; `tls` encrypts."""

    bootstrap: str
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    def config(self, client_id: str, on_error: Callable[[KafkaError], None] | None = None) -> dict[str, Any]:
        """What every handle is configured with. An admin client must have no `on_error`: it would be called
        on a thread of the library's own, which then crashes."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "client.id": client_id,
            "security.protocol": ("SASL_" if self.username else "") + ("SSL" if self.tls else "PLAINTEXT"),
            "allow.auto.create.topics": False,
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 1000,
            "retry.backoff.ms": 10,
            "log_level": 0,
        }
        if on_error is not None:
            config |= {"error_cb": on_error, "logger": _library_log}
        if self.username:
            config |= {"sasl.mechanism": "PLAIN", "sasl.username": self.username, "sasl.password": self.password}
        return config


def translate(error: KafkaError, where: str) -> EventBusError:
    """`error` as one of ours. No password stands in any of these texts."""
    code, text = error.code(), f"Kafka at {where}: {error.name()}: {error.str()}"
    if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return WriteDenied(f"{text}. The topic is sealed, or this user has no rights on it (the Transition gives them)")
    if code in _DENIED:
        return AccessDenied(f"{text}. Check KAFKA_USERNAME and KAFKA_PASSWORD, and the user's ACLs")
    kinds: tuple[tuple[frozenset[int], type[EventBusError]], ...] = (
        (_PERMANENT, PermanentError),
        (_FENCED, SessionFenced),
        (_REJOINING, Rejoining),
        (_ACTIVE, GroupActive),
    )
    return next((kind(text) for codes, kind in kinds if code in codes), BackendUnavailable(text))


class Handle:
    """What producers, consumers and the admin client share: the last error that librdkafka told of."""

    def __init__(self, address: KafkaAddress) -> None:
        self.where = address.bootstrap
        self._last: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Called by librdkafka for what is no caller's answer: brokers lost, logins refused."""
        self._last = error
        _log.info("Kafka at %s: %s", self.where, error)

    def _serve(self) -> None:
        """Let librdkafka tell what it has to tell."""

    def trouble(self, error: KafkaException | KafkaError) -> EventBusError:
        """`error` as one of ours; where it only says that there was no answer, the reason that was told before."""
        found = error.args[0] if isinstance(error, KafkaException) else error
        if not isinstance(found, KafkaError):
            return PermanentError(f"Kafka at {self.where}: {found}")
        silent = found.code() in SILENT
        if silent:
            self._serve()
        if silent and self._last is not None and self._last.code() in _DENIED:
            found = self._last
        return translate(found, self.where)


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


Fetched = tuple[int, int, Message | None]
"""Partition, offset, and the message; without one it says that all before the offset has been fetched."""


class _Helper:
    """A thread that does what the library would block on for as long as it likes."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do[T](self, act: Callable[[], T], seconds: float, give_up: threading.Event) -> T:
        """The answer of `act`. Raises TimeoutError where there is none in `seconds`, or `give_up` was set."""
        answer: Future[T] = Future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kafka-helper", daemon=True)
            self._thread.start()
        self._work.put(lambda: _resolve(answer, act))
        deadline = time.monotonic() + seconds
        while not give_up.is_set() and (left := deadline - time.monotonic()) > 0:
            try:
                return answer.result(min(left, _GIVE_UP_SECONDS))
            except TimeoutError:
                continue
        raise TimeoutError

    def end(self) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (act := self._work.get()) is not None:
            act()


def _resolve[T](answer: Future[T], act: Callable[[], T]) -> None:
    try:
        answer.set_result(act())
    except BaseException as error:
        # Whoever waits for the answer has it raised.
        answer.set_exception(error)


class KafkaConsumer(Handle):
    """A consumer that commits only what it is told to. Owned by one thread."""

    def __init__(
        self,
        address: KafkaAddress,
        client_id: str,
        group: str,
        *,
        session: float = 10.0,
        committed_only: bool = True,
        told_of_ends: float = 0.5,
    ) -> None:
        """`told_of_ends`: within how many seconds it says that an end was reached behind which lie no events,
        only the record that ends a transaction. It also is how often an idle one asks."""
        super().__init__(address)
        self._helper = _Helper()
        self._given_up = threading.Event()
        self._consumer = Consumer(
            address.config(client_id, self.note)
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # only where retention took what was asked for
                "isolation.level": "read_committed" if committed_only else "read_uncommitted",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": int(session * 1000),
                "heartbeat.interval.ms": int(session * 1000 / 4),
                "queued.max.messages.kbytes": 16_384,
                "fetch.wait.max.ms": int(told_of_ends * 1000),
                # A partition whose last messages were not taken yet is not asked for again for a moment: at
                # 1,000 events/s that halves what a group costs the broker, and adds at most as much to a delivery.
                "queued.min.messages": 1,
                "fetch.queue.backoff.ms": 5,
            }
        )

    def _serve(self) -> None:
        with suppress(KafkaException):
            self._consumer.poll(0)

    @property
    def group(self) -> Any:
        """What a transaction needs to know of the group."""
        return self._consumer.consumer_group_metadata()

    def subscribe(
        self, topic: str, assigned: Callable[[list[int]], Mapping[int, int]], revoked: Callable[[list[int]], None]
    ) -> None:
        """Join the group. `assigned(partitions)` says where each begins; `revoked(partitions)` may still commit.
        Both are called by fetch and close."""

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            starts = assigned([p.partition for p in partitions])
            consumer.incremental_assign(
                [TopicPartition(topic, p.partition, starts.get(p.partition, OFFSET_BEGINNING)) for p in partitions]
            )

        def on_revoke(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            revoked([p.partition for p in partitions])
            consumer.incremental_unassign(partitions)

        self._consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke)

    def assign(self, topic: str, starts: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, outside any group."""
        self._consumer.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])

    def pause(self, topic: str, partition: int) -> None:
        """Fetch no more of `partition`."""
        self._consumer.pause([TopicPartition(topic, partition)])

    def fetch(self, most: int, timeout: float) -> Iterable[Fetched]:
        """What there is, waiting at most `timeout` s for the first."""
        self._refuse_given_up()
        try:
            first = self._consumer.poll(timeout)
            if first is None:
                return []
            messages = [first]
            if most > 1:
                messages += self._consumer.consume(most - 1, 0)
        except KafkaException as error:
            raise self.trouble(error) from error
        found: list[Fetched] = []
        for message in messages:
            wrong = message.error()
            partition, offset = message.partition(), message.offset()
            if wrong is None:
                found.append((partition or 0, offset or 0, message))
            elif wrong.code() == KafkaError._PARTITION_EOF:
                found.append((partition or 0, offset or 0, None))
            elif wrong.code() in _DENIED or wrong.fatal():
                raise self.trouble(wrong)
            else:
                self.note(wrong)  # librdkafka goes on by itself
        return found

    def commit(self, topic: str, positions: Mapping[int, int]) -> None:
        """Make `positions` the group's. Durable when it returns. Where no answer comes, it gives up."""
        self._refuse_given_up()
        offsets = [TopicPartition(topic, p, offset) for p, offset in positions.items()]
        try:
            # The library itself would wait for a dead broker for minutes.
            answers = self._helper.do(
                lambda: self._consumer.commit(offsets=offsets, asynchronous=False), ANSWER_SECONDS, self._given_up
            )
        except TimeoutError as error:
            self._given_up.set()
            raise BackendUnavailable(f"Kafka at {self.where}: no answer to a commit") from error
        except KafkaException as error:
            raise self.trouble(error) from error
        for answer in answers:
            if answer.error is not None:
                raise self.trouble(answer.error)

    def committed(
        self, topic: str, partitions: Iterable[int], timeout: float = ANSWER_SECONDS
    ) -> dict[int, tuple[int, str]]:
        """The group's positions in those of `partitions` where it has one, each with the note beside it."""
        self._refuse_given_up()
        try:
            answers = self._consumer.committed([TopicPartition(topic, p) for p in partitions], timeout)
        except KafkaException as error:
            raise self.trouble(error) from error
        for answer in answers:
            if answer.error is not None:
                raise self.trouble(answer.error)
        return {a.partition: (a.offset, a.metadata or "") for a in answers if a.offset >= 0}

    def partitions(self, topic: str, timeout: float = ANSWER_SECONDS) -> list[int]:
        """The partitions of `topic`."""
        try:
            known = self._consumer.list_topics(topic, timeout).topics[topic]
        except KafkaException as error:
            raise self.trouble(error) from error
        if known.error is not None:
            raise self.trouble(known.error)
        return sorted(known.partitions)

    def offsets_since(self, topic: str, partitions: Iterable[int], since: float) -> dict[int, tuple[int, int]]:
        """For each partition the first offset with a time at or after `since` (s since 1970), and its end."""
        try:
            asked = [TopicPartition(topic, p, int(since * 1000)) for p in partitions]
            found: dict[int, tuple[int, int]] = {}
            for answer in self._consumer.offsets_for_times(asked, ANSWER_SECONDS):
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, answer.partition), ANSWER_SECONDS)
                found[answer.partition] = (answer.offset if 0 <= answer.offset < end else end, end)
            return found
        except KafkaException as error:
            raise self.trouble(error) from error

    def give_up(self) -> None:
        """Wait for the backend no more: from now on it can only be closed. From any thread."""
        self._given_up.set()

    def close(self) -> None:
        """Leave the group and give up the connections; in the background where it gave up."""
        if self._given_up.is_set():
            threading.Thread(target=self._close, name="kafka-close", daemon=True).start()
        else:
            self._close()

    def _refuse_given_up(self) -> None:
        """The library may hang in a consumer that is still in the middle of a commit."""
        if self._given_up.is_set():
            raise BackendUnavailable(f"Kafka at {self.where} is not waited for any more")

    def _close(self) -> None:
        self._helper.end()
        self._consumer.close()


def login_refused(address: KafkaAddress) -> EventBusError | None:
    """Why Kafka refuses this user's login; None where it does not, or does not answer."""
    consumer = KafkaConsumer(address, "crossover-login", "crossover-login")
    try:
        consumer.partitions("crossover-login", _LOGIN_SECONDS)
    except AccessDenied as error:
        return error
    except EventBusError:
        return None
    finally:
        consumer.close()
    return None


def stored(topic: str, message: Message, handle: object = None) -> Stored:
    """A message as callers see it. Never raises."""
    headers: dict[str, bytes] = {}
    try:
        for name, value in cast(list[tuple[str, bytes | None]], message.headers() or ()):
            headers[name] = value or b""
    except UnicodeDecodeError:
        headers = {}  # a header whose name is no text: none of ours, and unreadable
    return decode(
        topic, message.partition() or 0, str(message.offset()), headers, message.value() or b"", handle=handle
    )

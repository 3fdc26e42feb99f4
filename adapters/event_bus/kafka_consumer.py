"""Fetching from Kafka: as a member of a group, or from given offsets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from adapters.event_bus.base import ORIGIN_HEADER, Stored
from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError
from adapters.event_bus.kafka_client import (
    ANSWER_SECONDS,
    DENIED,
    OFFSET_BEGINNING,
    SILENT,
    Consumer,
    Handle,
    KafkaAddress,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from adapters.event_bus.wire import decode
from contracts.envelope import OWN_HEADERS, parse_ordered

_LOGIN_SECONDS = 2.0
_LOOK_SECONDS = 0.0002, 0.1
"""How soon it is looked again for an answer: the first time, and at most, growing by half. Each look may bring a
message, which must be kept: so they are few, however long it takes."""
MOST_READY = 500
"""How many messages may be kept so: beyond it no more are fetched until they are handed out."""
_ASK_SECONDS = 2.0
"""How long one request may take, of several that are made within ANSWER_SECONDS."""
CLOSE_SECONDS = 5.0
"""How long leaving a group is waited for: a dead broker may never let go."""
QUEUED_KBYTES = 16 << 10
"""What a consumer holds ready at most."""
BACKOFF_MS = 5
"""How soon a partition is asked for again where as much as is held ready was not taken yet."""
FETCH_BYTES = 4 << 20
"""Of a partition at once: more than a few events, where they are large."""

Fetched = tuple[list[Message], Mapping[int, int]]
"""Messages, and for partitions whose end was reached behind them the offset before which all has been fetched."""


@dataclass(slots=True, eq=False)
class Commit:
    """A commit of `positions` that is under way until it is `answered`."""

    positions: Mapping[int, int]
    answered: bool = False
    error: KafkaError | None = None


class KafkaConsumer(Handle):
    """A consumer that commits only what it is told to. Owned by one thread, but for give_up.

    The library lets one thread at a time into a consumer, and does not bound its own synchronous commit: with a
    dead broker whoever polls beside one would wait as long as it. So commits are asynchronous, and their answers
    come by polling; what is polled meanwhile is kept for the next fetch.
    """

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
        self._given_up = threading.Event()
        self._ready: list[Message] = []
        self._paused: set[int] = set()
        self._held_back = False
        self._under_way: list[Commit] = []
        self._consumer = Consumer(
            address.config(client_id, self.note)
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "on_commit": self._on_commit,
                "auto.offset.reset": "earliest",  # only where retention took what was asked for
                "isolation.level": "read_committed" if committed_only else "read_uncommitted",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": int(session * 1000),
                "heartbeat.interval.ms": int(session * 1000 / 4),
                "queued.max.messages.kbytes": QUEUED_KBYTES,
                "fetch.message.max.bytes": FETCH_BYTES,
                "fetch.wait.max.ms": int(told_of_ends * 1000),
                # A partition whose last messages were not taken yet is not asked for again for a moment: at
                # 1,000 events/s that halves what a group costs the broker, and adds at most as much to a delivery.
                "queued.min.messages": 1,
                "fetch.queue.backoff.ms": BACKOFF_MS,
            }
        )

    def _serve(self) -> None:
        with suppress(KafkaException):
            self._poll(1, 0)

    @property
    def group(self) -> Any:
        """What a transaction needs to know of the group."""
        return self._consumer.consumer_group_metadata()

    def subscribe(
        self,
        topic: str,
        assigned: Callable[[list[int]], Mapping[int, int]],
        revoked: Callable[[list[int]], None],
        lost: Callable[[list[int]], None],
    ) -> None:
        """Join the group. `assigned(partitions)` says where each begins; `revoked(partitions)` may still begin a
        commit, which comes before whatever their next owner asks; after `lost(partitions)` they may have one
        already. All are called by whatever polls: fetch, and waiting for a commit."""

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            starts = assigned([p.partition for p in partitions])
            consumer.incremental_assign(
                [TopicPartition(topic, p.partition, starts.get(p.partition, OFFSET_BEGINNING)) for p in partitions]
            )

        def leaving(tell: Callable[[list[int]], None]) -> Callable[[Consumer, list[TopicPartition]], None]:
            def on_leaving(consumer: Consumer, partitions: list[TopicPartition]) -> None:
                tell(self._drop(partitions))
                consumer.incremental_unassign(partitions)

            return on_leaving

        self._consumer.subscribe([topic], on_assign=on_assign, on_revoke=leaving(revoked), on_lost=leaving(lost))

    def _drop(self, partitions: Sequence[TopicPartition]) -> list[int]:
        """What was fetched of these and not handed out is not theirs any more whom it would be handed to."""
        gone = [p.partition for p in partitions]
        self._ready = [message for message in self._ready if message.partition() not in gone]
        self._paused.difference_update(gone)
        return gone

    def assign(self, topic: str, starts: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, outside any group."""
        self._consumer.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])

    def pause(self, topic: str, partition: int) -> None:
        """Fetch no more of `partition`."""
        self._paused.add(partition)
        self._consumer.pause([TopicPartition(topic, partition)])

    def fetch(self, most: int, timeout: float) -> Fetched:
        """What there is, waiting at most `timeout` s for the first."""
        self._refuse_given_up()
        if len(self._ready) < most:
            try:
                if self._held_back and not self._ready:
                    self._held_back = False
                    self._consumer.resume([p for p in self._consumer.assignment() if p.partition not in self._paused])
                self._poll(most - len(self._ready), 0 if self._ready else timeout)
            except KafkaException as error:
                raise self.trouble(error) from error
        messages, self._ready = self._ready[:most], self._ready[most:]
        found: list[Message] = []
        read_to: dict[int, int] = {}
        for message in messages:
            wrong = message.error()
            if wrong is None:
                found.append(message)
            elif wrong.code() == KafkaError._PARTITION_EOF:
                read_to[message.partition() or 0] = message.offset() or 0
            elif wrong.code() in DENIED or wrong.fatal():
                raise self.trouble(wrong)
            else:
                self.note(wrong)  # librdkafka goes on by itself
        return found, read_to

    def _poll(self, most: int, timeout: float) -> None:
        """Let the library call back, and keep what else it has: up to `most`, waiting at most `timeout` s for one."""
        first = self._consumer.poll(timeout)
        if first is None:
            return
        self._ready.append(first)
        if most > 1:
            more = self._consumer.consume(most - 1, 0)  # may call back too, which drops some of what is ready
            self._ready.extend(more)

    # -- commits

    def commit(self, topic: str, positions: Mapping[int, int]) -> None:
        """Make `positions` the group's. Durable when it returns. Where no answer comes, it gives up."""
        self.committed_by(self.begin_commit(topic, positions))

    def begin_commit(self, topic: str, positions: Mapping[int, int]) -> Commit:
        """Begin to make `positions` the group's, beside whatever else the consumer does."""
        self._refuse_given_up()
        begun = Commit(dict(positions))
        self._under_way.append(begun)
        try:
            self._consumer.commit(offsets=[TopicPartition(topic, p, at) for p, at in positions.items()])
        except KafkaException as error:
            self._under_way.remove(begun)
            raise self.trouble(error) from error
        return begun

    def committed_by(self, begun: Commit) -> None:
        """Wait until what begin_commit began is durable. Where no answer comes, it gives up."""
        deadline, (pause, longest) = time.monotonic() + ANSWER_SECONDS, _LOOK_SECONDS
        while True:
            self._refuse_given_up()
            try:
                self._poll(1, 0)
                if len(self._ready) > MOST_READY and not self._held_back:
                    self._held_back = True
                    self._consumer.pause(self._consumer.assignment())
            except KafkaException as error:
                raise self.trouble(error) from error
            if begun.answered:
                break
            if time.monotonic() > deadline:
                self._given_up.set()
                raise BackendUnavailable(f"Kafka at {self.where}: no answer to a commit")
            # Not within the library: there an answer wakes nobody, only a message does.
            self._given_up.wait(pause)
            pause = min(1.5 * pause, longest)
        if begun.error is not None:
            raise self.trouble(begun.error)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        at = {p.partition: p.offset for p in partitions}
        begun = next((commit for commit in self._under_way if commit.positions == at), None)
        if begun is not None:
            self._under_way.remove(begun)
            begun.error = error or next((p.error for p in partitions if p.error is not None), None)
            begun.answered = True

    def committed(
        self, topic: str, partitions: Iterable[int], timeout: float = ANSWER_SECONDS
    ) -> dict[int, tuple[int, str]]:
        """The group's positions in those of `partitions` where it has one, each with the note beside it."""
        asked = [TopicPartition(topic, p) for p in partitions]
        deadline = time.monotonic() + timeout
        while True:
            self._refuse_given_up()
            left = deadline - time.monotonic()
            try:
                answers = self._consumer.committed(asked, max(0.1, min(left, _ASK_SECONDS)))
                break
            except KafkaException as error:
                if error.args[0].code() not in SILENT or left <= _ASK_SECONDS:
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

    @property
    def given_up(self) -> bool:
        """Whether it can only be closed."""
        return self._given_up.is_set()

    def give_up(self) -> None:
        """Wait for the backend no more: from now on it can only be closed. From any thread."""
        self._given_up.set()

    def close(self) -> None:
        """Leave the group and give up the connections; where that takes long, or it gave up, in the background."""
        threading.Thread(target=self._close, name="kafka-close", daemon=True).start()
        self._given_up.wait(CLOSE_SECONDS)

    def _close(self) -> None:
        try:
            self._consumer.close()
        finally:
            self._given_up.set()  # what is closed is waited for no more than what was given up

    def _refuse_given_up(self) -> None:
        if self._given_up.is_set():
            raise BackendUnavailable(f"Kafka at {self.where} is not waited for any more")


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
    headers: Any
    try:
        headers = message.headers() or ()
    except UnicodeDecodeError:
        headers = ()  # a header whose name is no text: none of ours, and unreadable
    payload, partition, offset = message.value() or b"", message.partition() or 0, str(message.offset())
    origin = None
    own = headers
    if len(headers) > OWN_HEADERS and headers[OWN_HEADERS][0] == ORIGIN_HEADER:  # a copy, as encode_copy writes it
        origin, own = (headers[OWN_HEADERS][1] or b"").decode(errors="replace"), headers[:OWN_HEADERS]
    event = parse_ordered(topic, own, payload)
    if event is not None:
        return tuple.__new__(Stored, (event, partition, offset, origin, payload, "", 1, handle))
    fields = {name: value or b"" for name, value in headers}
    return decode(topic, partition, offset, fields, payload, handle=handle)

"""The event log on Kafka: one topic of a fixed number of partitions, acks=all, idempotent.

A seal is a DENY of writes to the services' user, which the broker checks with every write; the
mirror's user goes on. An event is stored when all in-sync replicas have it: with one broker that is
the page cache of one machine, and `facts` say so.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from adapters.event_bus import kafka_facts
from adapters.event_bus.base import EventLog, GroupState, LogCopier, LogReader, LogSettings, LogTail, Stored
from adapters.event_bus.errors import BackendUnavailable
from adapters.event_bus.facts import LogFacts
from adapters.event_bus.kafka_admin import CLUSTER, KafkaAdmin, Right
from adapters.event_bus.kafka_client import GroupActive, KafkaAddress
from adapters.event_bus.kafka_consumer import KafkaConsumer
from adapters.event_bus.kafka_reader import KafkaReader, KafkaTail, group_id, scan
from adapters.event_bus.kafka_writer import KafkaCopier, KafkaWriter, copier_name
from adapters.event_bus.wire import reached
from contracts.names import KAFKA_APP_USER, KAFKA_MIRROR_USER, all_topics
from contracts.routes import Cursor, Segment

SESSION_SECONDS = 10.0
"""How long a member may be silent before its partitions go to others."""
_ACTIVE_SECONDS = 5.0
_TAIL_SECONDS = 0.04
"""A comparison inside a pause waits so long for the end of the last copy."""
_STILL_SECONDS = 0.03
"""How long a sealed topic must stand still to be believed, with one broker: a write that was allowed just
before the seal may be on its way to the disk. The broker's threads take well under this."""
_STILL_SECONDS_MANY = 0.5
"""The same with more brokers, of which only one answers for the seal: the others follow within that time."""


class KafkaLog(EventLog):
    """One Kafka. Thread-safe. The administration needs a user that may set ACLs."""

    def __init__(
        self,
        name: str,
        settings: LogSettings,
        address: KafkaAddress,
        *,
        session_seconds: float = SESSION_SECONDS,
        writers: tuple[str, ...] = (KAFKA_APP_USER,),
        mirrors: tuple[str, ...] = (KAFKA_MIRROR_USER,),
    ) -> None:
        self.name = name
        self.settings = settings
        self._address = address
        self._session = session_seconds
        self._writers = writers
        self._mirrors = mirrors
        self._lock = threading.Lock()
        self._client: KafkaAdmin | None = None
        self._brokers = 0

    @property
    def _admin(self) -> KafkaAdmin:
        with self._lock:
            if self._client is None:
                self._client = KafkaAdmin(self._address, f"crossover-{self.name}")
            return self._client

    # -- data plane

    def writer(self, client_id: str) -> KafkaWriter:
        return KafkaWriter(self._address, self.settings, client_id)

    def reader(self, topic: str, group: str, member: str, segment: Segment) -> LogReader:
        def make() -> KafkaConsumer:
            return KafkaConsumer(self._address, member, group_id(topic, group), session=self._session)

        return KafkaReader(make, topic, segment)

    def tail(self, topic: str, start: Cursor) -> LogTail:
        return self._tail(topic, start)

    def _tail(self, topic: str, start: Cursor) -> KafkaTail:
        oldest = self._admin.offsets(topic, "earliest")
        starts = {p: max(first, int(start.get(str(p), "0"))) for p, first in oldest.items()}
        # It never joins: the name only has to be one that this user may use.
        consumer = KafkaConsumer(self._address, "crossover-tail", group_id(topic, "~tail"), told_of_ends=_TAIL_SECONDS)
        return KafkaTail(consumer, topic, starts)

    def scan(self, topic: str, start: Cursor, end: Cursor) -> Iterator[Stored]:
        tail = self._tail(topic, start)
        try:
            ends = {int(p): int(offset) for p, offset in end.items()}
            yield from scan(tail, ends, self.settings.publish_timeout)
        finally:
            tail.close()

    # -- positions

    def beginning(self, topic: str) -> Cursor:
        return _cursor(self._admin.offsets(topic, "earliest"))

    def end(self, topic: str) -> Cursor:
        return _cursor(self._admin.offsets(topic, "latest"))

    def reached(self, position: Cursor, goal: Cursor) -> bool:
        return reached(position, goal)

    def after(self, entry: Stored) -> Cursor:
        return {str(entry.partition): str(int(entry.position) + 1)}

    def groups(self, topic: str) -> Sequence[GroupState]:
        prefix = group_id(topic, "")
        names = sorted(name for name in self._admin.groups() if name.startswith(prefix))
        if not names:
            return []
        ends = self._admin.offsets(topic, "latest")
        starts = self._admin.offsets(topic, "earliest")
        found = []
        for name in names:
            position = {p: offset for p, (offset, _) in self._admin.positions(name, topic).items()}
            lag = sum(end - max(position.get(p, 0), starts[p]) for p, end in ends.items())
            found.append(GroupState(name.removeprefix(prefix), _cursor(position), 0, max(0, lag)))
        return found

    def group_finished(self, topic: str, group: str, segment: Segment) -> bool:
        if segment.end is None:
            return False
        at = self._position(topic, group)
        return bool(at) and reached(_cursor(at), segment.end)

    def place_group(self, topic: str, group: str, cursor: Cursor) -> None:
        deadline = time.monotonic() + _ACTIVE_SECONDS
        while True:
            at = self._position(topic, group)
            goal = {int(p): int(offset) for p, offset in cursor.items()}
            moves = {p: goal.get(p, 0) for p in self._admin.partitions(topic) if at.get(p, -1) < goal.get(p, 0)}
            if not moves:
                return
            try:
                self._admin.move(group_id(topic, group), topic, moves)
                return
            except GroupActive as error:
                # Its members move it themselves, to where their segment starts.
                if time.monotonic() > deadline:
                    raise BackendUnavailable(
                        f"group {group} of {topic} has live members and stands at {at}: it could not be moved to "
                        f"{goal}. Let it come that far, or stop its members"
                    ) from error
                time.sleep(0.1)  # a commit by somebody else announces nothing

    def _position(self, topic: str, group: str) -> dict[int, int]:
        return {p: offset for p, (offset, _) in self._admin.positions(group_id(topic, group), topic).items()}

    # -- administration

    def ensure(self) -> None:
        """Makes the topics with as many replicas as there are brokers, at most three, and gives services and
        mirror their rights."""
        replicas = kafka_facts.replication(len(self._admin.layout().brokers))
        self._admin.make_topics(
            all_topics(self.settings.topics),
            self.settings.partitions,
            replicas,
            kafka_facts.topic_config(self.settings, replicas),
        )
        self._admin.grant(self._rights())
        for topic in self.settings.topics:
            # Asked for so that Kafka makes its own topic for positions now, not when the first group joins.
            self._admin.await_positions(group_id(topic, "~look"), topic)

    def _rights(self) -> Iterator[Right]:
        for topic in all_topics(self.settings.topics):
            for user in (*self._writers, *self._mirrors):
                for operation in ("READ", "WRITE", "DESCRIBE"):
                    yield Right(user, operation, "TOPIC", topic)
                yield Right(user, "READ", "GROUP", group_id(topic, ""), prefix=True)
        for user in self._writers:
            # A publisher remembers what it sent until it sees how far copies of that have come.
            yield Right(user, "DESCRIBE", "GROUP", copier_name("", ""), prefix=True)
        for user in (*self._writers, *self._mirrors):
            # Else a session could be had only by who may write some topic: by none while all are sealed.
            yield Right(user, "IDEMPOTENT_WRITE", "BROKER", CLUSTER)
        for user in self._mirrors:
            prefix = copier_name("", "")
            yield Right(user, "READ", "GROUP", prefix, prefix=True)
            yield Right(user, "WRITE", "TRANSACTIONAL_ID", prefix, prefix=True)

    def seal(self, topic: str, epoch: int) -> None:
        self._admin.deny_writes(topic, self._writers)
        self._brokers = self._brokers or len(self._admin.layout().brokers)
        pause = _STILL_SECONDS if self._brokers == 1 else _STILL_SECONDS_MANY
        deadline = time.monotonic() + self.settings.publish_timeout
        before, now = None, self._admin.offsets(topic, "latest")
        while before != now:
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"{topic} still grows at kafka though writes are denied")
            time.sleep(pause)  # standing still is only seen by waiting
            before, now = now, self._admin.offsets(topic, "latest")

    def unseal(self, topic: str) -> None:
        self._admin.allow_writes(topic, self._writers)

    def facts(self) -> LogFacts:
        return kafka_facts.gather(self._admin, self.settings, tuple(self._rights()), self._writers)

    # -- mirror target

    def copier(self, topic: str, source: str, segment: int = 0) -> LogCopier:
        return KafkaCopier(self._address, self.settings, topic, source)

    def copied(self, topic: str, source: str) -> Cursor | None:
        position = self._admin.positions(copier_name(source, topic), topic).get(0)
        if position is None:
            return None
        cursor: Cursor = json.loads(position[1])
        return cursor

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _cursor(offsets: Mapping[int, int]) -> Cursor:
    return {str(partition): str(offset) for partition, offset in sorted(offsets.items())}

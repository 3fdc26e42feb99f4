"""The event log on Redis Streams: one stream a topic, and keys `crossover:<topic>:...` beside it.

An append checks producer, sequence and seal in the same atomic step as it writes (functions.lua),
so that a retry never stores twice and a sealed topic never takes another event. An event is
durable when its append is fsynced: with `appendfsync always` that is before Redis answers;
with `everysec` the writer asks for it (WAITAOF, Redis 7.2); an older server with `everysec`
can lose the last second of acknowledged events with its machine, and `facts` say so.

Not supported: Redis Cluster (the keys of a topic may lie on different nodes).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from adapters.event_bus import redis_facts
from adapters.event_bus.base import EventLog, GroupState, LogCopier, LogReader, LogSettings, LogTail, Refuge, Stored
from adapters.event_bus.errors import BackendUnavailable, Fenced, PublishTimeout
from adapters.event_bus.facts import Gap, LogFacts
from adapters.event_bus.lanes import LaneWriter, Name, Part
from adapters.event_bus.parcels import Outcome
from adapters.event_bus.redis_client import (
    Argument,
    RedisAddress,
    RedisConnection,
    retrying,
)
from adapters.event_bus.redis_keys import (
    NOTHING,
    PARTITION,
    before,
    copied_key,
    copier_key,
    copy_arguments,
    event_arguments,
    parse_entry,
    producers_key,
    seal_key,
    taken_key,
)
from adapters.event_bus.redis_reader import RedisReader, RedisTail, group_done, group_rows, place_group
from adapters.event_bus.wire import reached
from contracts.envelope import new_event_id
from contracts.names import all_topics
from contracts.routes import Cursor, Segment

LEASE_SECONDS = 10.0
"""How long the active member of a group may be silent before a standby takes over."""
_PAGE = 500
_LAG_LIMIT = 100_000
"""Beyond so many entries a lag that Redis does not know is not counted further."""


class RedisWriter(LaneWriter):
    """Appends batches by FCALL; a batch keeps its number until its answer is known."""

    def __init__(self, address: RedisAddress, settings: LogSettings, client_id: str, keep: int) -> None:
        super().__init__(settings, client_id)
        self._address = address
        self._producer = f"{client_id}/{new_event_id()}"
        self._keep = keep
        self._connections: dict[str, RedisConnection] = {}
        self._sequences: dict[str, int] = {}

    def _append(self, lane: Name, parts: Sequence[Part], deadline: float) -> Sequence[Outcome]:
        topic = lane[0]
        count = sum(len(events) for events, _ in parts)
        connection = self._connections.setdefault(topic, RedisConnection(self._address, self._client_id))
        sequence = self._sequences[topic] = self._sequences.get(topic, 0) + 1
        keys = (topic, producers_key(topic), seal_key(topic))
        arguments: list[Argument] = [self._producer, sequence, self._keep]
        for events, epoch in parts:
            for event in events:
                arguments += event_arguments(event, epoch)
        try:
            state, detail = retrying(
                lambda: connection.durable_fcall("crossover_append", keys, *arguments),
                deadline,
                give_up=lambda: self.closing,
            )
        except BackendUnavailable as error:
            limit = self._settings.publish_timeout
            timeout = PublishTimeout(f"not durable within {limit:g} s, may or may not be stored: {error}")
            return [timeout] * count
        text = detail.decode() if isinstance(detail, bytes) else str(detail)
        if state == b"stored":
            return text.split(" ")
        if state == b"sealed":
            return [Fenced(f"{topic} is sealed at redis since epoch {text}: the event was not stored")] * count
        return [PublishTimeout(f"batch {sequence} of {topic} came after batch {text}: it may be stored")] * count

    def _leave(self, lane: Name) -> None:
        connection = self._connections.pop(lane[0], None)
        if connection is not None:
            connection.close()


class RedisCopier(LogCopier):
    """Appends copies and the source position in one FCALL."""

    def __init__(
        self,
        connection: RedisConnection,
        settings: LogSettings,
        topic: str,
        source: str,
        keep: int,
        segment: int,
    ) -> None:
        self._connection = connection
        self._patience = settings.publish_timeout
        self._topic = topic
        self._source = source
        self._segment = segment
        self._keep = keep
        self._sequence = 0
        self._reached: Cursor | None = None
        self._unknown = False
        keys = (topic, copier_key(topic, source))
        self._session: int = retrying(
            lambda: connection.durable_fcall("crossover_open_copier", keys), time.monotonic() + settings.publish_timeout
        )
        if self._session < 0:
            connection.close()
            raise Fenced(f"redis takes no copies of {topic} from {source}: traffic fled from it")

    def copy(self, entries: Sequence[Stored], reached: Cursor) -> None:
        if self._unknown:
            raise BackendUnavailable("an earlier batch had no answer: open a new copier and see how far it came")
        self._refuse_backwards(reached)
        self._sequence += 1
        keys = (self._topic, copier_key(self._topic, self._source), copied_key(self._topic))
        arguments: list[Argument] = [self._source, self._session, self._sequence, json.dumps(dict(reached)), self._keep]
        for entry in entries:
            arguments += copy_arguments(entry, self._segment)
        self._unknown = True
        answer = retrying(
            lambda: self._connection.durable_fcall("crossover_copy", keys, *arguments),
            time.monotonic() + self._patience,
        )
        self._unknown = False
        if answer[0] != b"copied":
            raise Fenced(f"a newer session copies {self._topic} from {self._source} into redis: nothing was copied")
        self._reached = dict(reached)

    def close(self) -> None:
        self._connection.close()

    def _refuse_backwards(self, now: Cursor) -> None:
        if self._reached is not None and not reached(now, self._reached):
            raise ValueError(f"copies reach {self._reached} already: {dict(now)} is behind it")


class RedisLog(EventLog, Refuge):
    """One Redis. `keep` bounds each stream to about so many entries (0: all are kept). Thread-safe."""

    def __init__(
        self,
        name: str,
        settings: LogSettings,
        address: RedisAddress,
        *,
        keep: int = 0,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.name = name
        self.settings = settings
        self._address = address
        self._keep = keep
        self._lease_seconds = lease_seconds
        self._lock = threading.Lock()
        self._control = RedisConnection(address, f"crossover-{name}")

    # -- data plane

    def writer(self, client_id: str) -> RedisWriter:
        return RedisWriter(self._address, self.settings, client_id, self._keep)

    def reader(self, topic: str, group: str, member: str, segment: Segment) -> LogReader:
        connection = RedisConnection(self._address, member)
        return RedisReader(connection, topic, group, member, segment, self._lease_seconds)

    def tail(self, topic: str, start: Cursor) -> LogTail:
        return RedisTail(RedisConnection(self._address, "crossover-tail"), topic, start)

    def scan(self, topic: str, start: Cursor, end: Cursor) -> Iterator[Stored]:
        after, last = start.get(PARTITION, NOTHING), end.get(PARTITION, NOTHING)
        while True:
            page = self._call("XRANGE", topic, f"({after}", last, "COUNT", _PAGE)
            for entry in page:
                yield parse_entry(topic, entry)
            if len(page) < _PAGE:
                return
            after = page[-1][0].decode()

    # -- positions

    def beginning(self, topic: str) -> Cursor:
        first = self._call("XRANGE", topic, "-", "+", "COUNT", 1)
        return {PARTITION: before(first[0][0].decode())} if first else self.end(topic)

    def end(self, topic: str) -> Cursor:
        if not self._call("EXISTS", topic):
            return {PARTITION: NOTHING}
        flat = self._call("XINFO", "STREAM", topic)
        return {PARTITION: flat[flat.index(b"last-generated-id") + 1].decode()}

    def reached(self, position: Cursor, goal: Cursor) -> bool:
        return reached(position, goal)

    def after(self, entry: Stored) -> Cursor:
        return {PARTITION: entry.position}

    def groups(self, topic: str) -> Sequence[GroupState]:
        rows = self._do(lambda control: group_rows(control, topic))
        return [
            GroupState(name, {PARTITION: position}, pending, self._unacknowledged(topic, position, pending, lag))
            for name, position, pending, lag in rows
        ]

    def _unacknowledged(self, topic: str, position: str, pending: int, lag: int) -> int:
        """All that comes after `position`; Redis does not know it for a group placed amid a stream."""
        if lag >= 0:
            return pending + lag
        count, after = 0, position
        while count < _LAG_LIMIT:
            page = self._call("XRANGE", topic, f"({after}", "+", "COUNT", _PAGE)
            count += len(page)
            if len(page) < _PAGE:
                break
            after = page[-1][0].decode()
        return count

    def group_finished(self, topic: str, group: str, segment: Segment) -> bool:
        if segment.end is None:
            return False
        end = segment.end.get(PARTITION, NOTHING)
        return self._do(lambda control: group_done(control, topic, group, end))

    def place_group(self, topic: str, group: str, cursor: Cursor) -> None:
        self._do(lambda control: place_group(control, topic, group, cursor.get(PARTITION, NOTHING)))

    # -- administration

    def ensure(self) -> None:
        """Loads the functions. Streams need no making: the first append or group makes them."""
        self._do(lambda control: control.load_functions())

    def seal(self, topic: str, epoch: int) -> None:
        self._do(lambda control: control.durable_fcall("crossover_seal", (topic, seal_key(topic)), epoch))

    def unseal(self, topic: str) -> None:
        self._call("DEL", seal_key(topic))

    def facts(self) -> LogFacts:
        return self._do(lambda control: redis_facts.gather(control, all_topics(self.settings.topics)))

    def gaps(self, topic: str, segments: Sequence[Segment], groups: Collection[str]) -> Sequence[Gap]:
        return self._do(lambda control: redis_facts.gaps(control, topic, segments, sorted(groups)))

    def largest(self, topic: str, after: Cursor) -> int:
        return self._do(lambda control: redis_facts.largest(control, topic, after.get(PARTITION, NOTHING)))

    # -- mirror target

    def copier(self, topic: str, source: str, segment: int = 0) -> LogCopier:
        connection = RedisConnection(self._address, f"crossover-mirror-{source}")
        return RedisCopier(connection, self.settings, topic, source, self._keep, segment)

    def copied(self, topic: str, source: str) -> Cursor | None:
        return _cursor(self._call("HGET", copied_key(topic), source))

    # -- Refuge

    @property
    def refuge(self) -> Refuge:
        return self

    def note_taken(self, topic: str, group: str, segment: int, cursor: Cursor) -> None:
        arguments = [part for place in sorted(cursor.items()) for part in place]
        keys = (topic, taken_key(topic, group))
        self._do(lambda control: control.durable_fcall("crossover_note_taken", keys, segment, *arguments))

    def taken(self, topic: str, group: str) -> bool:
        return bool(self._call("EXISTS", taken_key(topic, group)))

    def close_copies(self, topic: str, source: str) -> Cursor | None:
        keys = (topic, copier_key(topic, source), copied_key(topic))
        return _cursor(self._do(lambda control: control.durable_fcall("crossover_close_copies", keys, source)))

    def open_copies(self, topic: str, source: str, at: Cursor) -> None:
        keys = (topic, copier_key(topic, source), copied_key(topic))
        place = json.dumps(dict(at))
        self._do(lambda control: control.durable_fcall("crossover_open_copies", keys, source, place))

    def close(self) -> None:
        with self._lock:
            self._control.close()

    def _call(self, *command: Argument) -> Any:
        return self._do(lambda control: control.call(*command))

    def _do[T](self, act: Callable[[RedisConnection], T]) -> T:
        """`act`, which may be done twice: after a restart of Redis the old socket fails once."""
        with self._lock:
            try:
                return act(self._control)
            except BackendUnavailable:
                return act(self._control)


def _cursor(text: bytes | None) -> Cursor | None:
    """The cursor that is stored as `text`; None where nothing is."""
    if not text:
        return None
    cursor: Cursor = json.loads(text)
    return cursor

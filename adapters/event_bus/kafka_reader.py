"""Reading Kafka: as a member of a consumer group, or following along outside any.

A group of ours is one Kafka group a topic (`<topic>:<group>`), so that members of one topic never
make those of another rebalance. Positions are committed by hand and never pass what was acknowledged,
nor the end of the segment. What a rebalance takes away is committed as far as it was acknowledged;
an acknowledgement that comes later is passed over, for the partition is another member's then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from adapters.event_bus.base import LogReader, LogTail, Stored
from adapters.event_bus.errors import BackendUnavailable, BusClosed, EventBusError
from adapters.event_bus.kafka_client import Rejoining
from adapters.event_bus.kafka_consumer import Commit, KafkaConsumer, stored
from adapters.event_bus.pace import Pace
from contracts.routes import Cursor, Segment

_log = logging.getLogger(__name__)

GATHER_SECONDS = 0.010
"""The least time between two fetches when the first found little, in seconds: it bounds what is added to a
delivery, and how many commits a group makes (a commit costs the broker more than a fetch)."""
REJOIN_SECONDS = 5.0
"""How long a commit is tried again while the group makes a new generation. No partition is taken away
meanwhile, for that needs a callback, which only polling makes."""
COMMIT_SECONDS = 0.2
"""How long a position that moved without an acknowledgement (copies passed over) may stay uncommitted."""
_DONE_SECONDS = 0.02


def group_id(topic: str, group: str) -> str:
    """The id at Kafka of `group` on `topic`. A topic's name holds no colon."""
    return f"{topic}:{group}"


@dataclass(slots=True, eq=False)
class _Place:
    """One partition that this member owns. All before `next` was delivered or passed over; `unacked` of it
    is not acknowledged yet; `committed` is what Kafka knows (None: nothing)."""

    next: int
    committed: int | None
    unacked: dict[int, None] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """Everything before it has taken effect."""
        return next(iter(self.unacked), self.next)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A commit that is under way; `places` are of when it began."""

    consumer: KafkaConsumer
    places: Mapping[int, _Place]
    commit: Commit


class KafkaReader(LogReader):
    """One member of a group."""

    def __init__(self, make: Callable[[], KafkaConsumer], topic: str, segment: Segment) -> None:
        self._make = make
        self._topic = topic
        self._start = _offsets(segment.start)
        self._end = None if segment.end is None else _offsets(segment.end)
        self._copies = segment.copies
        self._consumer: KafkaConsumer | None = None
        self._leaving: KafkaConsumer | None = None
        self._places: dict[int, _Place] = {}
        self._trouble: EventBusError | None = None
        self._commit_due = 0.0
        self._begun: _Begun | None = None
        self._handed: Sequence[Stored] = ()
        self._pace = Pace(GATHER_SECONDS)
        self._closed = False

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        if self._closed:
            raise BusClosed("the reader is closed")
        deadline = time.monotonic() + timeout
        self._pace.wait()
        found: list[Stored] = []
        while True:
            left = max(0.0, deadline - time.monotonic())
            done = self._all_read()
            messages, read_to = self._joined().fetch(max_events, min(left, _DONE_SECONDS) if done else left)
            self._raise_trouble()
            self._take(messages, found)
            for partition, offset in read_to.items():
                place = self._places.get(partition)
                if place is not None and not self._beyond(place, partition, offset):
                    place.next = max(place.next, offset)
            self._commit_moved()
            if found or done or time.monotonic() >= deadline:
                self.settle()
                # What polled since may have taken partitions away: what is not ours any more goes to another member.
                found = [entry for entry in found if self._places.get(entry.partition) is entry.handle]
                self._pace.found(len(found), max_events, found)
                self._handed = found
                return found

    def ack(self, entries: Sequence[Stored]) -> None:
        self.begin_ack(entries)
        self.settle()

    def begin_ack(self, entries: Sequence[Stored]) -> None:
        self.settle()
        moved = self._acknowledged(entries)
        positions = {p: place.position for p, place in moved.items() if place.position != place.committed}
        if positions:
            consumer = self._joined()
            self._begun = _Begun(consumer, moved, consumer.begin_commit(self._topic, positions))

    def settle(self) -> None:
        begun, self._begun = self._begun, None
        if begun is None:
            return
        try:
            begun.consumer.committed_by(begun.commit)
        except Rejoining:
            self._commit()  # of those that are still ours
            return
        for partition, offset in begun.commit.positions.items():
            begun.places[partition].committed = offset

    def _acknowledged(self, entries: Sequence[Stored]) -> dict[int, _Place]:
        """The partitions, still ours, in which `entries` move the position."""
        moved = {p: place for p, place in self._places.items() if place.unacked}
        handed = {entry.partition: entry.handle for entry in entries}
        if (
            entries is self._handed
            and handed == moved
            and sum(len(place.unacked) for place in moved.values()) == len(entries)
        ):
            # All that was handed out, and nothing else is unacknowledged: no need to look at each.
            for place in moved.values():
                place.unacked.clear()
            return moved
        moved = {}
        for entry in entries:
            found = self._places.get(entry.partition)
            if found is not None and found is entry.handle:
                found.unacked.pop(int(entry.position), None)
                moved[entry.partition] = found
        return moved

    def seal_at(self, end: Cursor) -> None:
        self._end = _offsets(end)
        for partition, place in self._places.items():
            if place.next >= self._end.get(partition, 0):
                self._joined().pause(self._topic, partition)

    def finished(self) -> bool:
        if self._end is None:
            return False
        self._commit()
        committed = self._joined().committed(self._topic, self._end)
        return all(partition in committed and committed[partition][0] >= end for partition, end in self._end.items())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._leave()

    def give_up(self) -> None:
        for consumer in (self._consumer, self._leaving):
            if consumer is not None:
                consumer.give_up()

    # -- the group

    def _joined(self) -> KafkaConsumer:
        if self._consumer is None:
            consumer = self._consumer = self._make()
            consumer.subscribe(
                self._topic,
                partial(self._assigned, consumer),
                partial(self._revoked, consumer),
                partial(self._lost, consumer),
            )
        return self._consumer

    def _leave(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        try:
            self._commit()
        except EventBusError as error:
            _log.info("leaving the group of %s without a last commit: %s", self._topic, error)
        self._taken_away(consumer, list(self._places))
        self._leaving = consumer  # first, so that give_up finds it
        self._consumer = None
        consumer.close()
        self._leaving = None

    def _raise_trouble(self) -> None:
        """What failed in a callback of librdkafka, through which nothing can be raised. The member starts
        over: what it had been given is delivered again."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._leave()
            raise trouble

    # The library calls these back by whoever polls; one that was left may do so from its closing, too late to count.

    def _assigned(self, consumer: KafkaConsumer, partitions: list[int]) -> Mapping[int, int]:
        if consumer is not self._consumer:
            return {}
        try:
            committed = consumer.committed(self._topic, partitions)
        except EventBusError as error:
            self._trouble = error
            return {}
        for partition in partitions:
            at = committed[partition][0] if partition in committed else None
            self._places[partition] = _Place(max(at or 0, self._start.get(partition, 0)), at)
        return {partition: self._places[partition].next for partition in partitions}

    def _revoked(self, consumer: KafkaConsumer, partitions: list[int]) -> None:
        places = self._taken_away(consumer, partitions)
        positions = {p: place.position for p, place in places.items() if place.position != place.committed}
        try:
            if positions:
                # Its answer cannot be waited for in here. It goes ahead of this member's word that it let go, on the
                # same connection, so that the next owner finds it.
                consumer.begin_commit(self._topic, positions)
        except EventBusError as error:
            _log.warning("a rebalance of %s came before a commit, so some events are delivered again: %s",
                         self._topic, error)  # fmt: skip

    def _lost(self, consumer: KafkaConsumer, partitions: list[int]) -> None:
        self._taken_away(consumer, partitions)

    def _taken_away(self, consumer: KafkaConsumer, partitions: list[int]) -> dict[int, _Place]:
        if consumer is not self._consumer:
            return {}
        places = {p: self._places.pop(p) for p in partitions if p in self._places}
        # Where they come back to this member, and Kafka never heard how far it was, it starts behind what took effect.
        self._start |= {p: max(place.position, self._start.get(p, 0)) for p, place in places.items()}
        return places

    # -- one entry

    def _take(self, messages: Sequence[Any], found: list[Stored]) -> None:
        topic, places, copies, bounded = self._topic, self._places, self._copies, self._end is not None
        for message in messages:
            partition, offset = message.partition(), message.offset()
            place = places.get(partition)
            if place is None or offset < place.next:
                continue  # of an assignment that is over
            if bounded and self._beyond(place, partition, offset):
                continue
            entry = stored(topic, message, place)
            place.next = offset + 1
            if copies or entry.origin is None:
                place.unacked[offset] = None
                found.append(entry)

    def _beyond(self, place: _Place, partition: int, offset: int) -> bool:
        """Whether `offset` lies past the segment's end; then nothing more is fetched of the partition."""
        bound = None if self._end is None else self._end.get(partition, 0)
        if bound is None or offset < bound:
            return False
        place.next = max(place.next, bound)
        self._joined().pause(self._topic, partition)
        return True

    def _all_read(self) -> bool:
        end = self._end
        if end is None or not self._places:
            return False
        return all(place.next >= end.get(partition, 0) for partition, place in self._places.items())

    # -- commits

    def _commit_moved(self) -> None:
        """Commit now and then what moved without an acknowledgement."""
        now = time.monotonic()
        if now >= self._commit_due:
            self._commit_due = now + COMMIT_SECONDS
            self._commit()

    def _commit(self) -> None:
        """Commit all that moved. Waiting for the answer may take partitions away."""
        self.settle()
        deadline = time.monotonic() + REJOIN_SECONDS
        while positions := {
            p: place.position for p, place in self._places.items() if place.position != place.committed
        }:
            moved = {p: self._places[p] for p in positions}
            try:
                self._joined().commit(self._topic, positions)
            except Rejoining:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)  # the other members are being told; librdkafka does not say when
                continue
            for partition, offset in positions.items():
                moved[partition].committed = offset


class KafkaTail(LogTail):
    """Follows partitions from a cursor. Only what is committed is seen; where it stands passes over the
    records that end transactions, too."""

    def __init__(self, consumer: KafkaConsumer, topic: str, starts: Mapping[int, int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._next = dict(starts)
        self._pace = Pace(GATHER_SECONDS)
        consumer.assign(topic, starts)

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        self._pace.wait()
        deadline = time.monotonic() + timeout
        while True:
            found: list[Stored] = []
            messages, read_to = self._consumer.fetch(max_events, max(0.0, deadline - time.monotonic()))
            for message in messages:
                found.append(stored(self._topic, message))
                self._next[message.partition() or 0] = (message.offset() or 0) + 1
            for partition, offset in read_to.items():
                self._next[partition] = max(self._next[partition], offset)
            if found or read_to or time.monotonic() >= deadline:
                self._pace.found(len(found), max_events, found)
                return found

    def position(self) -> Cursor:
        return {str(partition): str(offset) for partition, offset in self._next.items()}

    def hold(self, partition: int) -> None:
        """Read no more of `partition`."""
        self._consumer.pause(self._topic, partition)

    def close(self) -> None:
        self._consumer.close()


def scan(tail: KafkaTail, ends: Mapping[int, int], patience: float) -> Iterator[Stored]:
    """All that `tail` finds before `ends`. Raises BackendUnavailable where nothing comes for `patience` s."""
    last = time.monotonic()
    held: set[int] = set()
    while True:
        at = _offsets(tail.position())
        reached = {p for p, end in ends.items() if at.get(p, 0) >= end}
        if len(reached) == len(ends):
            return
        for partition in reached - held:
            tail.hold(partition)
            held.add(partition)
        entries = tail.poll(2000, 0.2)
        if _offsets(tail.position()) != at:
            last = time.monotonic()
        elif time.monotonic() - last > patience:
            raise BackendUnavailable(f"nothing more could be read for {patience:g} s, at {at} of {dict(ends)}")
        yield from (e for e in entries if int(e.position) < ends.get(e.partition, 0))


def _offsets(cursor: Cursor) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in cursor.items()}

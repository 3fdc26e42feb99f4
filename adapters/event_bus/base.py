"""The interface that every event bus backend has: a log with writers, readers and a seal.

A backend knows nothing of routes or stages. `RoutedEventBus` (routed.py) puts the logs
together. The contract that each backend keeps is tests/contract/test_event_log.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from adapters.event_bus.errors import EventBusError
from adapters.event_bus.facts import Gap, LogFacts
from adapters.event_bus.parcels import Outcome, Parcel, gathered
from contracts.envelope import Event
from contracts.names import DEFAULT_MAX_EVENT_BYTES, DEFAULT_PARTITIONS
from contracts.routes import Cursor, Segment

ORIGIN_HEADER = "ce_crossoverorigin"
"""On entries that a mirror copied: the name of the backend they were copied from."""
PLACE_HEADER = "ce_crossoverplace"
"""On copies in a Refuge: `epoch:partition:position`, the segment that they were copied from and their place in it."""
SWEPT = "swept:"
"""Begins the origin of entries that were stranded in another backend and brought here later: they are content."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What all backends need to know. `publish_timeout` in seconds; sizes in bytes.

    `topics` may be empty for a client of a bus that follows a route: then the route alone says which there are.
    """

    topics: tuple[str, ...]
    partitions: int = DEFAULT_PARTITIONS
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES
    publish_timeout: float = 30.0


class Stored(NamedTuple):
    """An event with its place in a backend; a tuple as Event is. `origin` is None for what was published there.

    `event` is None where the stored entry cannot be parsed: `raw` and `error` say what it is.
    `delivery_count` is how often it was handed out to its group where the backend knows.
    """

    event: Event | None
    partition: int
    position: str
    origin: str | None = None
    raw: bytes = b""
    error: str = ""
    delivery_count: int = 1
    handle: object = None

    @property
    def content(self) -> bool:
        """Whether it is what groups come for wherever copies do not count."""
        return self.origin is None or self.origin.startswith(SWEPT)


def entry_size(entry: Stored) -> int:
    """Bytes of `entry` as it was published."""
    return len(entry.raw) if entry.event is None else entry.event.size()


@dataclass(frozen=True, slots=True)
class GroupState:
    """Where a consumer group stands in a backend's topic."""

    group: str
    position: Cursor
    pending: int
    lag: int


def gaps_between(topic: str, group: str, position: Cursor, segment: Segment, beginning: Cursor) -> Iterator[Gap]:
    """Where, in `segment`, `group` at `position` stands before the `beginning` of what is retained."""
    for partition, first in beginning.items():
        after = max(position.get(partition, "0"), segment.start.get(partition, "0"), key=order)
        until = first if segment.end is None else min(first, segment.end.get(partition, "0"), key=order)
        if order(after) < order(until):
            yield Gap(topic=topic, group=group, partition=partition, after=after, until=until)


def order(position: str) -> tuple[int, int]:
    """A position as something that compares: offsets (`42`) and stream ids (`1690000000000-3`) alike."""
    major, _, minor = position.partition("-")
    return int(major), int(minor or 0)


class LogWriter(ABC):
    """One writing session of one process. Thread-safe; ordered by submission within a key.

    A future resolves with the stored position once the event is durable. It fails with
    Fenced where the event is definitely not stored because the log is sealed, with
    PublishTimeout or BackendUnavailable where that is not known. Writers retry by themselves,
    without storing an event twice, until `publish_timeout` is over.
    """

    @abstractmethod
    def warm(self, topics: Collection[str]) -> None:
        """Make ready to write to `topics`, before the first submit: connections, sessions. A log may be
        sealed meanwhile. Raises nothing that a later submit would not; a failure here costs only time."""

    @abstractmethod
    def submit(self, event: Event) -> Future[str]:
        """Queue `event`. Raises EventTooLarge, BufferFull, UnknownTopic at once."""

    def submit_all(self, parcel: Parcel, epoch: int) -> Future[Sequence[Outcome]]:
        """Queue the events of `parcel`, in order, as written under `epoch`. Does not raise, and its future does not
        fail: it resolves with what became of each, what `submit` would raise included."""
        return gathered([self._submitted(event.under(epoch)) for event in parcel.events])

    def _submitted(self, event: Event) -> Future[str]:
        try:
            return self.submit(event)
        except EventBusError as error:
            refused: Future[str] = Future()
            refused.set_exception(error)
            return refused

    @abstractmethod
    def drain(self, timeout: float) -> bool:
        """Wait until every submitted event is resolved; whether that came true within `timeout` s."""

    @abstractmethod
    def close(self) -> None:
        """Give up connections; unresolved futures fail with BusClosed."""


class LogReader(ABC):
    """One member of a consumer group reading one segment of one topic. Owned by one thread.

    Delivery is in order within a key, at least once. What was delivered to a member that died
    unacknowledged is delivered again, before anything newer of its keys. Mirrored copies are
    passed over (and acknowledged) unless the segment says copies=True. Nothing beyond
    `segment.end` is delivered. A group with no position at this backend starts at
    `segment.start`, and one that stands before it is moved there.
    """

    @abstractmethod
    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        """Up to `max_events` entries, waiting at most `timeout` s for the first."""

    @abstractmethod
    def ack(self, entries: Sequence[Stored]) -> None:
        """Everything in `entries` has taken effect. Durable when this returns."""

    def begin_ack(self, entries: Sequence[Stored]) -> None:
        """As `ack`, but durable only once `settle` returned: a reader may do it while the next batch is fetched."""
        self.ack(entries)

    def settle(self) -> None:
        """Wait until what `begin_ack` began is durable. Raises as `ack` does."""
        return

    @abstractmethod
    def seal_at(self, end: Cursor) -> None:
        """The segment has been sealed at `end` while being read."""

    @abstractmethod
    def finished(self) -> bool:
        """Whether the segment is sealed and the whole group has acknowledged all of it."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group, so that another member takes over at once."""

    def give_up(self) -> None:
        """The backend is not waited for any more: what waits for it fails, and `close` does not wait. From any
        thread."""
        return


class LogTail(ABC):
    """Follows one topic from a cursor, outside any group, in order within each partition.
    Never delivers what is not durable (or not committed). Owned by one thread."""

    @abstractmethod
    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        """Up to `max_events` entries, waiting at most `timeout` s for the first."""

    @abstractmethod
    def position(self) -> Cursor:
        """The cursor after all that poll returned; also passes over control records at the end."""

    @abstractmethod
    def close(self) -> None:
        """Give up the connection."""


class EventLog(ABC):
    """One backend. Instances are cheap; connections are made at first use."""

    name: str
    settings: LogSettings

    # -- data plane
    @abstractmethod
    def writer(self, client_id: str) -> LogWriter:
        """A new writing session."""

    @abstractmethod
    def reader(self, topic: str, group: str, member: str, segment: Segment) -> LogReader:
        """A new reading session of `member` of `group`."""

    @abstractmethod
    def tail(self, topic: str, start: Cursor) -> LogTail:
        """A reader of all entries after `start`, copies included, outside any group, that keeps
        its connection: for the mirror and for comparisons."""

    @abstractmethod
    def scan(self, topic: str, start: Cursor, end: Cursor) -> Iterator[Stored]:
        """All entries after `start` up to `end`, copies included, in order within each partition;
        outside any group."""

    # -- positions
    @abstractmethod
    def beginning(self, topic: str) -> Cursor:
        """The place before the oldest entry that is retained."""

    @abstractmethod
    def end(self, topic: str) -> Cursor:
        """The place after the newest entry."""

    @abstractmethod
    def reached(self, position: Cursor, goal: Cursor) -> bool:
        """Whether `position` is at or beyond `goal` in every partition of `goal`."""

    @abstractmethod
    def after(self, entry: Stored) -> Cursor:
        """The cursor right after `entry` in its partition, for `reached`."""

    @abstractmethod
    def groups(self, topic: str) -> Sequence[GroupState]:
        """The consumer groups known at this backend for `topic`."""

    @abstractmethod
    def group_finished(self, topic: str, group: str, segment: Segment) -> bool:
        """Whether `group` has acknowledged all of the sealed `segment`. A group without any
        position here has not."""

    @abstractmethod
    def place_group(self, topic: str, group: str, cursor: Cursor) -> None:
        """Create `group` at `cursor`, or move it there where it stands before it. Never back."""

    # -- administration, by a cutover
    @abstractmethod
    def ensure(self) -> None:
        """Make topics (with their dead-letter topics), functions and rights; idempotent."""

    @abstractmethod
    def seal(self, topic: str, epoch: int) -> None:
        """Shut writers out, but for mirrors: from when this returns, no submit of any writer
        with an epoch below `epoch` is stored. Idempotent."""

    @abstractmethod
    def unseal(self, topic: str) -> None:
        """Let writers in again. Idempotent."""

    @abstractmethod
    def facts(self) -> LogFacts:
        """What the backend tells of itself and of the configured topics, for preflight and reports.

        A part that could not be had is Unknown. Raises BackendUnavailable where it does not answer,
        AccessDenied where it refuses these credentials.
        """

    def gaps(self, topic: str, segments: Sequence[Segment], groups: Collection[str]) -> Sequence[Gap]:
        """What retention took from `segments` before one of `groups` had acknowledged it. A group without a
        position here begins where a segment does."""
        beginning = self.beginning(topic)
        positions = {state.group: state.position for state in self.groups(topic)}
        return [
            gap
            for segment in segments
            for group in sorted(groups)
            for gap in gaps_between(topic, group, positions.get(group, {}), segment, beginning)
        ]

    def largest(self, topic: str, after: Cursor) -> int:
        """Bytes of the largest entry after `after`: headers, key and payload; 0 where there is none."""
        return max((entry_size(entry) for entry in self.scan(topic, after, self.end(topic))), default=0)

    @property
    def refuge(self) -> Refuge | None:
        """What this log can do where traffic flees to it; None where it can stand in for no other."""
        return None

    # -- mirror target
    @abstractmethod
    def copier(self, topic: str, source: str, segment: int = 0) -> LogCopier:
        """The one copying session into this log from `source`; fences an older one. `segment`: the epoch of the
        source's segment that is copied, for PLACE_HEADER. Raises Fenced where a Refuge takes no copies."""

    @abstractmethod
    def copied(self, topic: str, source: str) -> Cursor | None:
        """How far in `source`'s log copies have come, durably; None where there are none."""

    @abstractmethod
    def close(self) -> None:
        """Give up connections."""


class LogCopier(ABC):
    """Copies entries of another log into this one, exactly once: the entries and the source
    position they reach become durable in one atomic step."""

    most_events = 1000
    """The most that one step should have."""

    def send(self, entries: Sequence[Stored]) -> Sequence[Stored]:
        """Send `entries` ahead as part of the next `copy`, while more of it is read, where that saves time; those
        that it has to be given still. Nobody sees them before. Raises as `copy` does."""
        return entries

    @abstractmethod
    def copy(self, entries: Sequence[Stored], reached: Cursor) -> None:
        """Append `entries` as copies and record that the source is copied up to `reached`.

        Raises Fenced where a newer session of the same copier exists, BackendUnavailable otherwise.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up connections."""


class Refuge(ABC):
    """What a log adds to which traffic may flee when the one that it follows is dead.

    It then stands in for that log with the copies that it has. So copies carry their place, groups leave a word
    here of how much of the other log they took, and are not given that again.
    """

    @abstractmethod
    def note_taken(self, topic: str, group: str, segment: int, cursor: Cursor) -> None:
        """All before `cursor` in the other log's segment of epoch `segment` took effect in `group`. Never back."""

    @abstractmethod
    def taken(self, topic: str, group: str) -> bool:
        """Whether `group` ever left such a word."""

    @abstractmethod
    def close_copies(self, topic: str, source: str) -> Cursor | None:
        """How far copies from `source` come: from when this returns none is added until `open_copies`. Idempotent."""

    @abstractmethod
    def open_copies(self, topic: str, source: str, at: Cursor) -> None:
        """Where copies from `source` are not taken, take them again, of what comes after `at`: a mirror that missed all
        since cannot bring what lies before it. Idempotent."""

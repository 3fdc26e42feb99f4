"""What several `MemoryLog` instances share: the stored entries, groups, seals, and faults to inject.

It plays the server: each MemoryLog stands for one process with its connection. Entries are kept
as headers and bytes, and parsed again on the way out, as a real backend's are.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from adapters.event_bus.base import ORIGIN_HEADER, PLACE_HEADER, SWEPT, Stored
from adapters.event_bus.errors import BackendUnavailable, EventBusError
from adapters.event_bus.facts import LogFacts
from adapters.event_bus.wire import decode
from contracts.routes import Cursor

LEASE_SECONDS = 10.0
"""How long the active member of a group may be silent before another takes over."""


@dataclass(slots=True)
class _Entry:
    headers: dict[str, bytes]
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes of headers and payload."""
        return len(self.payload) + sum(len(name) + len(value) for name, value in self.headers.items())


@dataclass(slots=True)
class Partition:
    """Entries from offset `first` on; what was before it has been trimmed by retention."""

    first: int = 0
    entries: list[_Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The next offset to be written."""
        return self.first + len(self.entries)

    def at(self, offset: int) -> _Entry:
        """The entry at `offset`, which must be retained."""
        return self.entries[offset - self.first]


@dataclass(slots=True)
class GroupPlace:
    """Where a group stands in one partition. Offsets below `committed` are acknowledged, and so are
    those in `acked`; those up to `delivered` were handed to the active member."""

    committed: int = 0
    delivered: int = 0
    acked: set[int] = field(default_factory=set)
    counts: dict[int, int] = field(default_factory=dict)

    def ack(self, offset: int) -> None:
        """Acknowledge `offset`, and go on through what had been acknowledged after it."""
        if offset < self.committed:
            return
        self.acked.add(offset)
        while self.committed in self.acked:
            self.acked.discard(self.committed)
            self.counts.pop(self.committed, None)
            self.committed += 1

    def forward(self, offset: int) -> None:
        """Move to `offset` where it stands before it."""
        if offset <= self.committed:
            return
        self.acked = {later for later in self.acked if later >= offset}
        self.counts = {later: count for later, count in self.counts.items() if later >= offset}
        self.committed = offset
        self.delivered = max(self.delivered, offset)
        self.ack_through()

    def ack_through(self) -> None:
        """Go on through what is acknowledged right after the committed offset."""
        while self.committed in self.acked:
            self.acked.discard(self.committed)
            self.committed += 1


@dataclass(slots=True)
class Group:
    """A consumer group on one topic: its places, and which member is active until when."""

    places: list[GroupPlace]
    owner: str | None = None
    lease_until: float = 0.0


class Faults:
    """What goes wrong, on demand. Every hook is safe to call from any thread.

    Operations are named as the methods of the interface: poll, ack, seal, unseal, copy, end, groups ...
    """

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._errors: dict[str, list[EventBusError]] = defaultdict(list)
        self._held: set[str] = set()
        self._down = False
        self._alterations: list[Callable[[LogFacts], LogFacts]] = []

    def fail_next(self, operation: str, error: EventBusError, times: int = 1) -> None:
        """The next `times` calls of `operation` raise `error` and change nothing."""
        with self._changed:
            self._errors[operation].extend([error] * times)

    def hold(self, topic: str) -> None:
        """Events submitted to `topic` stay in flight: neither stored nor refused, until `release`."""
        with self._changed:
            self._held.add(topic)

    def release(self, topic: str) -> None:
        """What is in flight arrives now; writers notice at their next submit, drain or `flush`."""
        with self._changed:
            self._held.discard(topic)
            self._changed.notify_all()

    def take_down(self) -> None:
        """The backend stops answering: submits stay in flight, everything else raises BackendUnavailable."""
        with self._changed:
            self._down = True
            self._changed.notify_all()

    def bring_up(self) -> None:
        """The backend answers again."""
        with self._changed:
            self._down = False
            self._changed.notify_all()

    def tell(self, alter: Callable[[LogFacts], LogFacts]) -> None:
        """From now on the backend tells `alter(facts)` of itself."""
        with self._changed:
            self._alterations.append(alter)

    def told(self, facts: LogFacts) -> LogFacts:
        """`facts` with what was asked for. The lock is held."""
        for alter in self._alterations:
            facts = alter(facts)
        return facts

    def check(self, operation: str) -> None:
        """Raise what was asked for. The lock is held."""
        if self._down:
            raise BackendUnavailable(f"the in-memory backend was taken down: {operation} was not done")
        errors = self._errors[operation]
        if errors:
            raise errors.pop(0)

    def in_the_way(self, topic: str) -> bool:
        """Whether what is submitted to `topic` cannot arrive now. The lock is held."""
        return self._down or topic in self._held


class MemoryServer:
    """The state behind one in-memory backend. Guard every access with `changed`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, lease_seconds: float = LEASE_SECONDS) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.clock = clock
        self.lease_seconds = lease_seconds
        self.faults = Faults(self.changed)
        self.topics: dict[str, list[Partition]] = {}
        self.groups: dict[tuple[str, str], Group] = {}
        self.seals: dict[str, int] = {}
        self.sessions: dict[tuple[str, str], int] = {}
        self.copied: dict[tuple[str, str], Cursor] = {}
        self.closed: set[tuple[str, str]] = set()
        self.taken: dict[tuple[str, str], dict[str, int]] = {}

    def partitions(self, topic: str, count: int) -> list[Partition]:
        """The partitions of `topic`, made at first use."""
        return self.topics.setdefault(topic, [Partition() for _ in range(count)])

    def append(self, topic: str, count: int, key: str | None, headers: Mapping[str, bytes], payload: bytes) -> str:
        """Store one entry; its position as `partition:offset`."""
        partitions = self.partitions(topic, count)
        number = zlib.crc32((key or "").encode()) % len(partitions)
        offset = partitions[number].end
        partitions[number].entries.append(_Entry(dict(headers), payload))
        self.changed.notify_all()
        return f"{number}:{offset}"

    def read(self, topic: str, count: int, partition: int, offset: int, deliveries: int = 1) -> Stored:
        """The entry at `offset`, parsed."""
        entry = self.partitions(topic, count)[partition].at(offset)
        return decode(topic, partition, str(offset), entry.headers, entry.payload, delivery_count=deliveries)

    def is_copy(self, topic: str, count: int, partition: int, offset: int) -> bool:
        """Whether the entry at `offset` was written by a mirror."""
        origin = self.partitions(topic, count)[partition].at(offset).headers.get(ORIGIN_HEADER)
        return origin is not None and not origin.startswith(SWEPT.encode())

    def has_taken(self, topic: str, group: str, count: int, partition: int, offset: int) -> bool:
        """Whether `group` took what the entry at `offset` is a copy of, in the log that it was copied from."""
        headers = self.partitions(topic, count)[partition].at(offset).headers
        segment, _, place = headers.get(PLACE_HEADER, b"").decode().partition(":")
        number, _, position = place.partition(":")
        return bool(position) and int(position) < self.taken.get((topic, group), {}).get(f"{segment}:{number}", 0)

    def trim(self, topic: str, cursor: Cursor) -> None:
        """What retention does: forget all entries before `cursor`."""
        with self.changed:
            for name, place in cursor.items():
                partition = self.topics[topic][int(name)]
                gone = max(0, min(int(place), partition.end) - partition.first)
                del partition.entries[:gone]
                partition.first += gone

    def append_raw(self, topic: str, partition: int, headers: Mapping[str, bytes], payload: bytes) -> None:
        """Store what no writer of ours would: a poison entry."""
        with self.changed:
            self.topics[topic][partition].entries.append(_Entry(dict(headers), payload))
            self.changed.notify_all()

    def group(self, topic: str, name: str, count: int, start: Cursor | None = None) -> Group:
        """The group, made at first use, moved forward to `start`."""
        group = self.groups.setdefault((topic, name), Group([GroupPlace() for _ in range(count)]))
        for partition, place in (start or {}).items():
            group.places[int(partition)].forward(int(place))
        return group

    def own(self, group: Group, member: str, fresh: bool) -> bool:
        """Whether `member` is, or now becomes, the active one. A new or `fresh` one starts over at
        what is not acknowledged."""
        now = self.clock()
        if group.owner not in (None, member) and now < group.lease_until:
            return False
        if fresh or group.owner != member:
            group.owner = member
            for place in group.places:
                place.delivered = place.committed
        group.lease_until = now + self.lease_seconds
        return True

    def expire(self, topic: str, group: str) -> None:
        """The lease of the active member runs out now, as if it had been silent for long."""
        with self.changed:
            self.groups[topic, group].lease_until = 0.0
            self.changed.notify_all()


_servers: dict[str, MemoryServer] = {}
_servers_lock = threading.Lock()


def shared_server(name: str) -> MemoryServer:
    """The server of this process by that name, made at first use: for EVENT_BUS_TYPE=memory."""
    with _servers_lock:
        return _servers.setdefault(name, MemoryServer())

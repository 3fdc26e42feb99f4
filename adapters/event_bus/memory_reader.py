"""Reading from the in-memory backend: as a member of a group, or following along outside any."""

from __future__ import annotations

import time
from collections.abc import Sequence

from adapters.event_bus.base import LogReader, LogSettings, LogTail, Stored
from adapters.event_bus.errors import BusClosed
from adapters.event_bus.memory_server import Group, MemoryServer
from contracts.routes import Cursor, Segment

_STANDBY_SECONDS = 0.05
"""How often a standby looks whether the active member's lease ran out, in seconds."""


class MemoryReader(LogReader):
    """One member of a group. The first to poll is active; others stand by until it leaves or is
    silent for longer than the server's lease. A new reader of the same member takes over at once."""

    def __init__(
        self, server: MemoryServer, settings: LogSettings, topic: str, group: str, member: str, segment: Segment
    ) -> None:
        self._server = server
        self._count = settings.partitions
        self._topic = topic
        self._group = group
        self._member = member
        self._fresh = True
        self._start = segment.start
        self._end: Cursor | None = segment.end
        self._copies = segment.copies
        self._turn = 0
        self._closed = False

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        deadline = time.monotonic() + timeout
        with self._server.changed:
            while True:
                if self._closed:
                    raise BusClosed("the reader is closed")
                self._server.faults.check("poll")
                active = self._server.own(self._state(), self._member, self._fresh)
                self._fresh = self._fresh and not active
                entries = self._collect(max_events) if active else []
                left = deadline - time.monotonic()
                if entries or left <= 0 or (self._end is not None and self._complete()):
                    return entries
                self._server.changed.wait(left if active else min(left, _STANDBY_SECONDS))

    def ack(self, entries: Sequence[Stored]) -> None:
        with self._server.changed:
            self._server.faults.check("ack")
            places = self._state().places
            for entry in entries:
                places[entry.partition].ack(int(entry.position))
            self._server.changed.notify_all()

    def seal_at(self, end: Cursor) -> None:
        with self._server.changed:
            self._end = dict(end)

    def finished(self) -> bool:
        with self._server.changed:
            self._server.faults.check("finished")
            return self._complete()

    def close(self) -> None:
        with self._server.changed:
            if not self._closed and self._state().owner == self._member:
                self._state().owner = None
                self._server.changed.notify_all()
            self._closed = True

    def abandon(self) -> None:
        """Die: the lease is neither renewed nor given up."""
        with self._server.changed:
            self._closed = True

    def _state(self) -> Group:
        return self._server.group(self._topic, self._group, self._count, self._start)

    def _complete(self) -> bool:
        if self._end is None:
            return False
        places = self._state().places
        return all(places[int(name)].committed >= int(end) for name, end in self._end.items())

    def _collect(self, max_events: int) -> list[Stored]:
        """The next entries, partition by partition; the partition to begin with goes round."""
        found: list[Stored] = []
        for step in range(self._count):
            self._take((self._turn + step) % self._count, max_events, found)
        self._turn = (self._turn + 1) % self._count
        return found

    def _take(self, number: int, max_events: int, found: list[Stored]) -> None:
        partition = self._server.partitions(self._topic, self._count)[number]
        place = self._state().places[number]
        place.forward(partition.first)
        bound = partition.end if self._end is None else min(partition.end, int(self._end.get(str(number), "0")))
        while place.delivered < bound and len(found) < max_events:
            offset = place.delivered
            place.delivered += 1
            if offset in place.acked:
                continue
            if self._passes_over(number, offset):
                place.ack(offset)
                continue
            place.counts[offset] = place.counts.get(offset, 0) + 1
            found.append(self._server.read(self._topic, self._count, number, offset, place.counts[offset]))

    def _passes_over(self, number: int, offset: int) -> bool:
        at = self._topic, self._count, number, offset
        copy = not self._copies and self._server.is_copy(*at)
        return copy or self._server.has_taken(self._topic, self._group, *at[1:])


class MemoryTail(LogTail):
    """Follows all partitions from a cursor."""

    def __init__(self, server: MemoryServer, settings: LogSettings, topic: str, start: Cursor) -> None:
        self._server = server
        self._count = settings.partitions
        self._topic = topic
        self._next = [int(start.get(str(number), "0")) for number in range(settings.partitions)]
        self._first = 0

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        deadline = time.monotonic() + timeout
        with self._server.changed:
            while True:
                self._server.faults.check("tail")
                found = self._take(max_events)
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._server.changed.wait(left)

    def _take(self, max_events: int) -> list[Stored]:
        found: list[Stored] = []
        partitions = self._server.partitions(self._topic, self._count)
        # A different partition comes first each time, so that a busy one cannot starve the others.
        self._first = (self._first + 1) % self._count
        for number in (*range(self._first, self._count), *range(self._first)):
            self._next[number] = max(self._next[number], partitions[number].first)
            while self._next[number] < partitions[number].end and len(found) < max_events:
                found.append(self._server.read(self._topic, self._count, number, self._next[number]))
                self._next[number] += 1
        return found

    def position(self) -> Cursor:
        with self._server.changed:
            return {str(number): str(offset) for number, offset in enumerate(self._next)}

    def close(self) -> None:
        """Nothing to give up."""

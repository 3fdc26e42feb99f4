"""Reading Redis Streams: as the active member of a group, or following along outside any.

Of all members of a group one is active at a time, by a lease in Redis that polling and
acknowledging renew: only so does order within a key hold. What must be atomic is a function
(functions.lua); waiting is a plain blocking XREAD of one entry, whose content is not used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from adapters.event_bus.base import LogReader, LogTail, Stored, order
from adapters.event_bus.errors import AccessDenied, BackendUnavailable, BusClosed
from adapters.event_bus.pace import Pace
from adapters.event_bus.redis_client import Argument, RedisConnection, retrying
from adapters.event_bus.redis_keys import NOTHING, PARTITION, before, owner_key, parse_entry, taken_key
from contracts.routes import Cursor, Segment

GATHER_SECONDS = 0.005
"""The least time between two fetches when the first found little, in seconds: at 1,000 events/s a group
then costs 200 requests a second, not 1,000. It bounds what is added to a delivery."""
STANDBY_SECONDS = 0.1
"""How often a standby asks whether the active member has gone, in seconds."""
RECONNECT_SECONDS = 5.0
_MAX_BLOCK_SECONDS = 2.0
_CONSUMER = "crossover"
"""The name of a group's one consumer, as in functions.lua."""
_FUNCTION_EVENTS = 100
"""The most that a function is asked for at once: what it hands out is copied by it, and everybody waits meanwhile."""
_NO_MORE_PENDING = ">"
"""In place of an id after which to look at what is pending: all that was has been looked at."""
_UNSIFTED = b"unsifted"
"""The state of a reply that is crossover_read's but for copies, which are in it still."""


class RedisReader(LogReader):
    """One member of a group. A member is known by its name: a new reader of the same member takes
    over from the old one at once, and everything unacknowledged is delivered to it again."""

    def __init__(
        self,
        connection: RedisConnection,
        topic: str,
        group: str,
        member: str,
        segment: Segment,
        lease_seconds: float,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._group = group
        self._member = member
        self._start = segment.start.get(PARTITION, NOTHING)
        self._end = None if segment.end is None else segment.end.get(PARTITION, NOTHING)
        self._copies = segment.copies
        self._lease = int(lease_seconds * 1000)
        self._keys = (topic, owner_key(topic, group))
        self._pending_after = ""
        self._acknowledged: list[str] = []
        self._placed = False
        self._last = ""
        self._by_function = False
        self._pace = Pace(GATHER_SECONDS)
        self._closed = False

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        if self._closed:
            raise BusClosed("the reader is closed")
        deadline = time.monotonic() + timeout
        while True:
            try:
                entries, wait_after = self._fetch(max_events)
                left = deadline - time.monotonic()
                if entries or left <= 0 or wait_after == "":
                    return entries
                if wait_after is not None:
                    self._wait(wait_after, left)
            except BackendUnavailable:
                self.settle()
                # The answer may have been lost with entries in it: they are pending, so look there again.
                # And a server that came back without its data needs the group made again.
                self._pending_after, self._placed = "", False
                if time.monotonic() >= deadline:
                    raise
                time.sleep(min(STANDBY_SECONDS, max(0.0, deadline - time.monotonic())))  # nothing announces its return

    def ack(self, entries: Sequence[Stored]) -> None:
        self.begin_ack(entries)
        self.settle()

    def begin_ack(self, entries: Sequence[Stored]) -> None:
        """It goes with the next fetch, ahead of it in the same round trip."""
        self.settle()
        self._acknowledged = [entry.position for entry in entries]

    def settle(self) -> None:
        if self._acknowledged:
            function, keys, arguments = self._ack_call()
            retrying(
                lambda: self._connection.durable_fcall(function, keys, *arguments),
                time.monotonic() + RECONNECT_SECONDS,
            )
            self._acknowledged = []

    def _ack_call(self) -> tuple[str, Sequence[str], Sequence[Argument]]:
        return "crossover_ack", self._keys, [self._group, self._member, self._lease, *self._acknowledged]

    def seal_at(self, end: Cursor) -> None:
        self._end = end.get(PARTITION, NOTHING)

    def finished(self) -> bool:
        if self._end is None:
            return False
        self._place()
        return group_done(self._connection, self._topic, self._group, self._end)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(BackendUnavailable):  # then the lease runs out by itself
                self.settle()
                self._connection.fcall("crossover_leave", self._keys, self._member)
            self._connection.close()

    # -- one fetch

    def _place(self) -> None:
        if not self._placed:
            place_group(self._connection, self._topic, self._group, self._start)
            self._placed = True

    def _fetch(self, max_events: int) -> tuple[list[Stored], str | None]:
        """Entries; and where there are none the position after which to wait for more, "" where the segment
        holds no more, or None where to ask again (having waited, if need be)."""
        self._place()
        self._pace.wait()
        asked = self._pace.most(max_events)
        reply = self._read_on(asked) or self._ask(min(asked, _FUNCTION_EVENTS))
        if reply[0] == b"standby":
            return [], self._stand_by(reply[1])
        state, raw, deliveries, pending_after, looked_at, place = reply
        self._pending_after = pending_after.decode()
        self._last = place.decode() or self._last
        counts = deliveries or repeat(1)
        entries = [parse_entry(self._topic, entry, count) for entry, count in zip(raw, counts, strict=False)]
        self._pace.found(looked_at, min(asked, _FUNCTION_EVENTS), entries)
        if looked_at:
            return (self._sifted(entries) if state == _UNSIFTED else entries), None
        if self._end is not None and order(self._last) >= order(self._end):
            return [], ""
        return [], self._last

    def _read_on(self, max_events: int) -> Any:
        """As `_ask`, where this member is active, nothing is pending and the segment is open: by Redis's own commands,
        which hand out content at a fraction of what a function costs. They are done only if the owner's key has not
        changed since it was seen to name this member; None where they were not."""
        if self._pending_after != _NO_MORE_PENDING or self._end is not None:
            return None
        commands: list[Sequence[Argument]] = [
            ("PEXPIRE", self._keys[1], self._lease),
            ("XREADGROUP", "GROUP", self._group, _CONSUMER, "COUNT", max_events, "STREAMS", self._topic, ">"),
        ]
        if self._acknowledged:
            commands.insert(0, ("XACK", self._topic, self._group, *self._acknowledged))
        done = self._connection.guarded(*commands)
        if done is None:
            return None
        self._acknowledged = []
        raw = done[-1][0][1] if done[-1] else []
        return _UNSIFTED, raw, [], _NO_MORE_PENDING.encode(), len(raw), raw[-1][0] if raw else b""

    def _sifted(self, entries: list[Stored]) -> list[Stored]:
        """`entries` without what this group is not to be given, where that can be known here."""
        if all(entry.origin is None for entry in entries):
            return entries
        if self._copies or any(entry.content and entry.origin is not None for entry in entries):
            # Whether the group took it elsewhere only the function knows: it is asked, for all of them as pending, and
            # from now on, for where one such entry lies there are more.
            self._pending_after, self._by_function = "", True
            return []
        self._acknowledged = [entry.position for entry in entries if not entry.content]
        return [entry for entry in entries if entry.content]

    def _ask(self, max_events: int) -> Any:
        """The answer of crossover_read; what is acknowledged and not told yet goes ahead of it."""
        keys = (*self._keys, taken_key(self._topic, self._group))
        arguments: list[Argument] = [
            self._group, self._member, self._lease, max_events, self._pending_after, self._end or "",
            "1" if self._copies else "0",
        ]  # fmt: skip
        if self._acknowledged:
            reply = self._connection.durable_fcalls(self._ack_call(), ("crossover_read", keys, arguments))[1]
            self._acknowledged = []
        else:
            reply = self._connection.fcall("crossover_read", keys, *arguments)
        if reply[0] == b"read" and self._end is None and not self._by_function:
            _, _, _, pending_after, _, place = reply
            if pending_after.decode() == _NO_MORE_PENDING and place:
                self._watch_owner()
        return reply

    def _watch_owner(self) -> None:
        """So that the next read is done by `_read_on`, where the owner's key names this member."""
        try:
            self._connection.watch(self._keys[1], self._member)
        except AccessDenied:
            self._by_function = True  # a user whose ACL has no transactions reads by the function, as before

    def _stand_by(self, lease_left_ms: int) -> str | None:
        if self._end is not None and group_done(self._connection, self._topic, self._group, self._end):
            return ""
        time.sleep(min(STANDBY_SECONDS, max(lease_left_ms, 1) / 1000))  # a lease that ends announces nothing
        return None

    def _wait(self, after: str, seconds: float) -> None:
        """Until there is an entry after `after`, or for `seconds`; never longer than the lease allows."""
        block = min(seconds, _MAX_BLOCK_SECONDS, self._lease / 3000)
        milliseconds = max(1, int(block * 1000))
        self._connection.call("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._topic, after)


class RedisTail(LogTail):
    """Follows a stream by XREAD. With appendfsync always nothing is visible before it is on disk."""

    def __init__(self, connection: RedisConnection, topic: str, start: Cursor) -> None:
        self._connection = connection
        self._topic = topic
        self._after = start.get(PARTITION, NOTHING)
        self._pace = Pace(GATHER_SECONDS)

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        self._pace.wait()
        asked = self._pace.most(max_events)
        block = max(1, int(min(timeout, _MAX_BLOCK_SECONDS) * 1000))
        reply = self._connection.call("XREAD", "COUNT", asked, "BLOCK", block, "STREAMS", self._topic, self._after)
        raw = reply[0][1] if reply else []
        if raw:
            self._after = raw[-1][0].decode()
        entries = [parse_entry(self._topic, entry) for entry in raw]
        self._pace.found(len(raw), asked, entries)
        return entries

    def position(self) -> Cursor:
        return {PARTITION: self._after}

    def close(self) -> None:
        self._connection.close()


def place_group(connection: RedisConnection, topic: str, group: str, position: str) -> None:
    """Create `group` at `position`, or move it forward to there."""
    connection.durable_fcall("crossover_place", (topic,), group, position)


def group_rows(connection: RedisConnection, topic: str) -> list[tuple[str, str, int, int]]:
    """For each group: its name, where it stands (all before is acknowledged), how many entries are pending,
    and how many it has not been given (-1: Redis does not know)."""
    rows: list[tuple[str, str, int, int]] = []
    reply: list[list[Any]] = connection.fcall("crossover_groups", (topic,))
    for name, last, pending, first_pending, lag in reply:
        position = before(first_pending.decode()) if first_pending else last.decode()
        rows.append((name.decode(), position, pending, lag))
    return rows


def group_done(connection: RedisConnection, topic: str, group: str, end: str) -> bool:
    """Whether `group` exists and has acknowledged everything up to `end`."""
    rows = group_rows(connection, topic)
    return any(name == group and order(position) >= order(end) for name, position, _, _ in rows)

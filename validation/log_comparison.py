"""Compares two logs that should hold the same events: ids, order within each key, and content.

The comparison goes forward only and keeps its two connections, so that the last one, inside the
pause of a switch, has only the tail to read.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.event_bus.base import EventLog, LogTail, Stored
from contracts.routes import Cursor

_BATCH = 2000
_MOST_NAMED = 5


class ComparisonStopped(Exception):
    """The comparison could not be made: which is not a difference, and not a pass."""


@dataclass(slots=True)
class Differences:
    """What was found different, with the first few ids of each kind."""

    missing: int = 0
    extra: int = 0
    reordered: int = 0
    changed: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.extra or self.reordered or self.changed)

    def note(self, kind: str, event_id: str) -> None:
        """Count one difference of `kind`."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.examples) < _MOST_NAMED:
            self.examples.append(f"{kind} {event_id}")

    def __str__(self) -> str:
        if self.none:
            return "no difference"
        text = f"{self.missing} missing, {self.extra} extra, {self.reordered} reordered, {self.changed} changed"
        return f"{text} (first: {'; '.join(self.examples)})"


class Mark(NamedTuple):
    """What is compared of one event: its identity, and what it says: the SHA-256 of the payload, and the attributes,
    of which a copy keeps every one."""

    id: str
    content: tuple[object, ...]


def mark(entry: Stored) -> tuple[str, Mark]:
    """The key and the mark of an entry; an unreadable one is compared by its raw bytes."""
    event = entry.event
    if event is None:
        raw = hashlib.sha256(entry.raw).digest()
        return "", Mark(raw.hex()[:16], (raw,))
    return event.key, Mark(event.id, (hashlib.sha256(event.payload).digest(), *event[3:]))


class PairedKeys:
    """Pairs two streams key by key, in order; keeps only what has no partner yet. Pure."""

    def __init__(self) -> None:
        self._source: dict[str, deque[Mark]] = defaultdict(deque)
        self._target: dict[str, deque[Mark]] = defaultdict(deque)
        self.paired = 0

    def add(self, source: Iterable[tuple[str, Mark]], target: Iterable[tuple[str, Mark]]) -> None:
        """Take more of both streams and pair what is equal at the front of each key."""
        touched = set()
        for key, found in source:
            self._source[key].append(found)
            touched.add(key)
        for key, found in target:
            self._target[key].append(found)
            touched.add(key)
        for key in touched:
            left, right = self._source[key], self._target[key]
            while left and right and left[0] == right[0]:
                left.popleft()
                right.popleft()
                self.paired += 1

    def differences(self) -> Differences:
        """What is left unpaired, by kind. Call it where both streams were read to their ends."""
        found = Differences()
        for key in {*self._source, *self._target}:
            left, right = list(self._source[key]), list(self._target[key])
            source, target = {m.id: m for m in left}, {m.id: m for m in right}
            for m in left:
                if m.id not in target:
                    found.note("missing", m.id)
                elif target[m.id].content != m.content:
                    found.note("changed", m.id)
            for m in right:
                if m.id not in source:
                    found.note("extra", m.id)
            both_left = [m.id for m in left if m.id in target]
            both_right = [m.id for m in right if m.id in source]
            for a, b in zip(both_left, both_right, strict=False):
                if a != b:
                    found.note("reordered", a)
            for _ in range(len(right) - len(target)):
                found.note("extra", "a second copy")
        return found


class _Side:
    """One log being followed; what lies beyond the asked end is kept for the next time."""

    def __init__(self, log: EventLog, topic: str, start: Cursor) -> None:
        self.log = log
        self._tail: LogTail = log.tail(topic, start)
        self._beyond: list[Stored] = []

    def take(self, end: Cursor) -> list[Stored] | None:
        """More entries up to `end`; None where all of them were taken."""
        waiting, self._beyond = self._beyond, []
        done = self.log.reached(self._tail.position(), end)
        if not done:
            waiting.extend(self._tail.poll(_BATCH, 0.05))
            if self.log.reached(end, self._tail.position()):
                return waiting  # the usual case, without a look at each entry
        within: list[Stored] = []
        for entry in waiting:
            (within if self.log.reached(end, self.log.after(entry)) else self._beyond).append(entry)
        return None if done and not within else within

    def close(self) -> None:
        self._tail.close()


class LogComparison:
    """Follows one topic in two logs from a pair of cursors that stand for the same place."""

    def __init__(
        self,
        topic: str,
        source: EventLog,
        target: EventLog,
        source_start: Cursor,
        target_start: Cursor,
        *,
        copies_count: bool = False,
    ) -> None:
        self.topic = topic
        self._copies_count = copies_count
        self._source = _Side(source, topic, source_start)
        self._target = _Side(target, topic, target_start)
        self._pairs = PairedKeys()

    @property
    def compared(self) -> int:
        """Events found equal so far."""
        return self._pairs.paired

    def advance(self, source_end: Cursor, target_end: Cursor, stop: Callable[[], bool] = lambda: False) -> Differences:
        """Read both logs up to the given ends, which must stand for the same place, and say what
        differs. Raises ComparisonStopped where `stop()` came true before the ends were reached."""
        origin = self._source.log.name
        while not stop():
            source, target = self._source.take(source_end), self._target.take(target_end)
            if source is None and target is None:
                return self._pairs.differences()
            self._pairs.add(
                (mark(e) for e in source or () if e.origin is None or self._copies_count),
                (mark(e) for e in target or () if e.origin == origin),
            )
        raise ComparisonStopped(f"the comparison of {self.topic} was stopped before its end")

    def close(self) -> None:
        """Give up both connections."""
        self._source.close()
        self._target.close()

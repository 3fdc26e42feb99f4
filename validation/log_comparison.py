"""Compares two logs that should hold the same events: ids, order within each key, and content.

The comparison goes forward only and keeps its two connections, so that the last one, inside the
pause of a switch, has only the tail to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from adapters.event_bus.base import ORIGIN_HEADER, EventLog, LogTail, Record
from contracts.routes import Cursor
from validation.event_marks import Mark, mark

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


class PairedKeys:
    """Pairs two streams key by key, in order; keeps only what has no partner yet. Pure."""

    def __init__(self) -> None:
        self._source: dict[bytes, deque[Mark]] = {}
        self._target: dict[bytes, deque[Mark]] = {}
        self.paired = 0

    def add(self, source: Iterable[tuple[bytes, Mark]], target: Iterable[tuple[bytes, Mark]]) -> None:
        """Take more of both streams and pair what is equal at the front of each key."""
        touched = {*_sorted_in(self._source, source), *_sorted_in(self._target, target)}
        for key in touched:
            left, right = self._source.get(key), self._target.get(key)
            if left is None or right is None:
                continue
            while left and right and left[0] == right[0]:
                left.popleft()
                right.popleft()
                self.paired += 1
            if not left:  # keys may be without number
                del self._source[key]
            if not right:
                del self._target[key]

    @property
    def settled(self) -> bool:
        """Whether everything has its partner."""
        return not self._source and not self._target

    def differences(self) -> Differences:
        """What is left unpaired, by kind. Call it where both streams were read to their ends."""
        found = Differences()
        for key in {*self._source, *self._target}:
            left, right = self._source.get(key, ()), self._target.get(key, ())
            source, target = {m.id: m for m in left}, {m.id: m for m in right}
            for m in left:
                if m.id not in target:
                    found.note("missing", _shown(m))
                elif target[m.id].digest != m.digest:
                    found.note("changed", _shown(m))
            for m in right:
                if m.id not in source:
                    found.note("extra", _shown(m))
            both_left = [m.id for m in left if m.id in target]
            both_right = [m.id for m in right if m.id in source]
            for a, b in zip(both_left, both_right, strict=False):
                if a != b:
                    found.note("reordered", a.decode(errors="replace"))
            for _ in range(len(right) - len(target)):
                found.note("extra", "a second copy")
        return found


def _sorted_in(queues: dict[bytes, deque[Mark]], found: Iterable[tuple[bytes, Mark]]) -> set[bytes]:
    """Put `found` into the queues of its keys; the keys."""
    touched = set()
    for key, one in found:
        queue = queues.get(key)
        if queue is None:
            queue = queues[key] = deque()
        queue.append(one)
        touched.add(key)
    return touched


def _shown(found: Mark) -> str:
    return found.id.decode(errors="replace")


class _Side:
    """One log being followed; what lies beyond the asked end is kept for the next time."""

    def __init__(self, log: EventLog, topic: str, start: Cursor) -> None:
        self.log = log
        self._tail: LogTail = log.tail(topic, start)
        self._beyond: list[Record] = []

    def take(self, end: Cursor) -> list[Record] | None:
        """More entries up to `end`; None where all of them were taken."""
        waiting, self._beyond = self._beyond, []
        done = self.log.reached(self._tail.position(), end)
        if not done:
            waiting.extend(self._tail.poll_records(_BATCH, 0.05))
            if self.log.reached(end, self._tail.position()):
                return waiting  # the usual case, without a look at each entry
        within: list[Record] = []
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
        self._equal_to = (source_start, target_start)
        self._source = _Side(source, topic, source_start)
        self._target = _Side(target, topic, target_start)
        self._pairs = PairedKeys()

    @property
    def compared(self) -> int:
        """Events found equal so far."""
        return self._pairs.paired

    @property
    def equal_to(self) -> tuple[Cursor, Cursor]:
        """The newest pair of places, in the source and in the target, up to which nothing differed."""
        return self._equal_to

    def step(self, source_end: Cursor, target_end: Cursor) -> Differences | None:
        """Read one batch of each log; once both have reached the given ends, which must stand for the same
        place, what differs. None before."""
        source, target = self._source.take(source_end), self._target.take(target_end)
        if source is None and target is None:
            if self._pairs.settled:
                self._equal_to = (source_end, target_end)
            return self._pairs.differences()
        origin = self._source.log.name.encode()
        self._pairs.add(
            map(mark, source or () if self._copies_count else (r for r in source or () if _native(r))),
            (mark(r) for r in target or () if r.headers.get(ORIGIN_HEADER) == origin),
        )
        return None

    def advance(self, source_end: Cursor, target_end: Cursor, stop: Callable[[], bool] = lambda: False) -> Differences:
        """Read both logs up to the given ends, and say what differs. Raises ComparisonStopped where `stop()`
        came true before the ends were reached."""
        while not stop():
            found = self.step(source_end, target_end)
            if found is not None:
                return found
        raise ComparisonStopped(f"the comparison of {self.topic} was stopped before its end")

    def trimmed(self) -> str:
        """Which of the logs, by name, may have lost entries of what was not found equal yet; "" where none has.
        Then a difference says nothing."""
        sides = zip((self._source.log, self._target.log), self._equal_to, strict=True)
        return " and ".join(log.name for log, at in sides if log.trimmed(self.topic, at))

    def close(self) -> None:
        """Give up both connections."""
        self._source.close()
        self._target.close()


def _native(record: Record) -> bool:
    return ORIGIN_HEADER not in record.headers

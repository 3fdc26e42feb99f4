"""The audit log: the interface, how it is kept in segments, and a fake.

Segments are numbered from 1. The last one grows by compare-and-set, so that two who append at once lose nothing; one
that is full is sealed, and the next begun. None is ever deleted: who appends finds the last one by asking for them by
name.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from adapters.routes.base import RouteConflict, RouteError
from contracts.audit import Broken, Entry, Kind, first_broken, moment

SEGMENT_BYTES = 700 << 10
"""Beyond it a segment is sealed. A ConfigMap holds 1 MiB, the log that a person has to page through should be less."""
_PATIENCE_SECONDS = 10.0
"""How long an append is tried anew where others append at the same time."""


class AuditUnreadable(RouteError):
    """An entry that this version cannot read: it was changed by hand, or is a newer version's."""


class AuditLog(ABC):
    """Entries that are appended, and never changed."""

    @abstractmethod
    def append(self, kind: Kind | str, component: str, actor: str, data: Mapping[str, Any]) -> Entry:
        """Append what happened. Raises RouteError: then it may have been appended all the same."""

    @abstractmethod
    def latest(self) -> Iterator[Entry]:
        """The entries, newest first, fetched as they are asked for. Raises RouteError."""

    @abstractmethod
    def lines(self) -> Sequence[tuple[str, str]]:
        """All entries as they lie there, oldest first, each with where. Raises RouteError."""

    def entries(self) -> Sequence[Entry]:
        """All entries, oldest first. Raises RouteError; AuditUnreadable where one cannot be read."""
        return [_read(where, line) for where, line in self.lines()]

    def verify(self) -> Broken | None:
        """Where the chain is broken first. Raises RouteError."""
        return first_broken(self.lines())


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the log as it was read, with the token that a compare-and-set needs."""

    number: int
    text: str
    sealed: bool
    version: str

    @property
    def name(self) -> str:
        """For people; the ConfigMap's, where it is one."""
        return segment_name(self.number)

    @property
    def lines(self) -> list[str]:
        """One an entry."""
        return self.text.splitlines()


def segment_name(number: int) -> str:
    """The name of a segment."""
    return f"crossover-audit-{number:06}"


class Segments(ABC):
    """Where segments lie."""

    @abstractmethod
    def read(self, number: int) -> Segment | None:
        """The segment; None where there is none. Raises RouteError."""

    @abstractmethod
    def create(self, number: int, text: str) -> None:
        """Make it. Raises RouteConflict where it is there, RouteError."""

    @abstractmethod
    def replace(self, segment: Segment, text: str, *, sealed: bool = False) -> None:
        """Put `text` in place of what was read. Raises RouteConflict where it was changed since, RouteError."""

    @abstractmethod
    def all(self) -> Sequence[Segment]:
        """Every one, in order. Raises RouteError."""


class SegmentedLog(AuditLog):
    """An audit log in segments. `clock` is the time of day."""

    def __init__(
        self,
        segments: Segments,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limit: int = SEGMENT_BYTES,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._segments = segments
        self._clock = clock
        self._limit = limit
        self._patience = patience
        self._known = 1
        """A segment that was there: none is deleted."""

    def append(self, kind: Kind | str, component: str, actor: str, data: Mapping[str, Any]) -> Entry:
        # Only a conflict is tried anew: it is known that nothing was written then.
        for attempt in Retrying(
            retry=retry_if_exception_type(RouteConflict), stop=stop_after_delay(self._patience),
            wait=wait_random_exponential(multiplier=0.02, max=0.5), reraise=True,
        ):  # fmt: skip
            with attempt:
                return self._append(str(kind), component, actor, data)
        raise AssertionError("unreachable: Retrying returns or raises")

    def _append(self, kind: str, component: str, actor: str, data: Mapping[str, Any]) -> Entry:
        tail = self._tail()
        last = _last(tail) if tail is not None else None
        at = moment(self._clock())
        made = Entry.after(last, at=at, kind=kind, component=component, actor=actor, data=data)
        line = f"{made.line}\n"
        if tail is None:
            self._segments.create(1, line)
        elif tail.sealed or len(tail.text) + len(line) > self._limit:
            # Sealed first: once the next one is there, nobody may append to this one.
            if not tail.sealed:
                self._segments.replace(tail, tail.text, sealed=True)
            self._segments.create(tail.number + 1, line)
        else:
            self._segments.replace(tail, tail.text + line)
        return made

    def latest(self) -> Iterator[Entry]:
        segment = self._tail()
        while segment is not None:
            for line in reversed(segment.lines):
                yield _read(segment.name, line)
            segment = self._segments.read(segment.number - 1) if segment.number > 1 else None

    def lines(self) -> Sequence[tuple[str, str]]:
        return [(segment.name, line) for segment in self._segments.all() for line in segment.lines]

    def _tail(self) -> Segment | None:
        """The last segment, by asking for few of them, each by its name: who appends need not be able to list them."""
        found = self._segments.read(self._known) or self._segments.read(1)
        if found is None:
            return None
        step, beyond = 1, None
        while beyond is None:
            further = self._segments.read(found.number + step)
            if further is None:
                beyond = found.number + step
            else:
                found, step = further, step * 2
        while beyond - found.number > 1:
            between = self._segments.read((found.number + beyond) // 2)
            if between is None:
                beyond = (found.number + beyond) // 2
            else:
                found = between
        self._known = found.number
        return found


def _last(segment: Segment) -> Entry:
    """The last entry of a segment. Raises AuditUnreadable."""
    lines = segment.lines
    return _read(segment.name, lines[-1] if lines else "")


def _read(where: str, line: str) -> Entry:
    try:
        return Entry.read(line)
    except ValueError as error:
        raise AuditUnreadable(
            f"{where} holds an entry that cannot be read ({error}): nothing is appended to it. "
            "crossover audit verify names the first one; docs/audit.md says what to do"
        ) from None


class MemorySegments(Segments):
    """Segments in this process; many logs may share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, Segment] = {}
        self._version = 0

    def read(self, number: int) -> Segment | None:
        with self._lock:
            return self._kept.get(number)

    def create(self, number: int, text: str) -> None:
        with self._lock:
            if number in self._kept:
                raise RouteConflict(f"{segment_name(number)} is there already")
            self._put(number, text, sealed=False)

    def replace(self, segment: Segment, text: str, *, sealed: bool = False) -> None:
        with self._lock:
            if self._kept.get(segment.number) != segment:
                raise RouteConflict(f"{segment.name}: changed by somebody else")
            if segment.sealed:
                raise RouteError(f"{segment.name} is sealed")
            self._put(segment.number, text, sealed=sealed)

    def _put(self, number: int, text: str, *, sealed: bool) -> None:
        self._version += 1
        self._kept[number] = Segment(number, text, sealed, str(self._version))

    def all(self) -> Sequence[Segment]:
        with self._lock:
            return [self._kept[number] for number in sorted(self._kept)]


class MemoryAudit(SegmentedLog):
    """An audit log in this process: the shipped fake."""

    def __init__(self) -> None:
        super().__init__(MemorySegments())

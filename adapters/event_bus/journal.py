"""What a publisher remembers of its acknowledged events until they have been copied: the tail that would be
stranded, were the backend to die now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from adapters.event_bus.base import order
from adapters.event_bus.parcels import Outcome, Parcel, all_stored
from contracts.registry import Tail
from contracts.routes import Cursor

MOST_REMEMBERED = 100_000
"""Acknowledged events of a topic that are remembered, about 20 MB of them; beyond it the oldest are only counted
as `at_least`. At 5,000 events/s that is a mirror which is 20 s behind."""


def place_of(position: str) -> tuple[str, str]:
    """Partition and position of what a writer's future resolved to: `3:42`, or an entry's id alone."""
    partition, _, place = position.rpartition(":")
    return partition or "0", place


@dataclass(slots=True, eq=False)
class _Chunk:
    """Events acknowledged together; those before `first` are forgotten."""

    ids: Sequence[str]
    positions: Sequence[str]
    first: int = 0

    @property
    def count(self) -> int:
        """How many are remembered."""
        return len(self.ids) - self.first


class Journal:
    """Ids by topic, in the order in which they were acknowledged. Thread-safe.

    Positions are read only when they are looked at: chunks are kept as they came.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._backend = ""
        self._kept: dict[str, deque[_Chunk]] = {}
        self._counts: dict[str, int] = {}
        self._overflown: dict[str, str] = {}

    def add(self, backend: str, parcel: Parcel, outcomes: Sequence[Outcome]) -> None:
        """`backend` stored those events of `parcel` whose outcome is a position. What another one stored before is
        forgotten."""
        # Not the events: their payloads would be kept with them.
        topic, ids, positions = parcel.topic, [event.id for event in parcel.events], outcomes
        if not all_stored(outcomes):
            at = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, str)]
            ids, positions = [ids[n] for n in at], [outcomes[n] for n in at]
        if not ids:
            return
        with self._lock:
            if backend != self._backend:
                self._backend, self._kept, self._counts, self._overflown = backend, {}, {}, {}
            kept = self._kept.setdefault(topic, deque())
            kept.append(_Chunk(ids, cast(Sequence[str], positions)))
            self._counts[topic] = self._counts.get(topic, 0) + len(ids)
            while (excess := self._counts[topic] - MOST_REMEMBERED) > 0:
                self._overflown[topic] = self._drop(topic, min(excess, kept[0].count))

    def _drop(self, topic: str, count: int) -> str:
        """Forget the oldest `count` of the oldest chunk; the position of the last of them. The lock is held."""
        kept = self._kept[topic]
        chunk = kept[0]
        chunk.first += count
        self._counts[topic] -= count
        if not chunk.count:
            kept.popleft()
        return chunk.positions[chunk.first - 1]

    def trim(self, topic: str, copied: Cursor) -> None:
        """Forget what was copied; the oldest only, as far as all of it was."""
        with self._lock:
            kept = self._kept.get(topic)
            while kept:
                chunk = kept[0]
                covered = 0
                for n in range(chunk.first, len(chunk.ids)):
                    if not _before(chunk.positions[n], copied):
                        break
                    covered += 1
                whole = covered == chunk.count
                if covered:
                    self._drop(topic, covered)
                if not whole:
                    return

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of which anything is remembered."""
        with self._lock:
            return tuple(topic for topic, kept in self._kept.items() if kept)

    def beyond(self, copied: Mapping[str, Cursor]) -> dict[str, Tail]:
        """By topic, what lies after `copied`; a topic without such is left out."""
        found: dict[str, Tail] = {}
        with self._lock:
            for topic, cursor in copied.items():
                ids = [
                    chunk.ids[n]
                    for chunk in self._kept.get(topic, ())
                    for n in range(chunk.first, len(chunk.ids))
                    if not _before(chunk.positions[n], cursor)
                ]
                lost = self._overflown.get(topic)
                at_least = lost is not None and not _before(lost, cursor)
                if ids:
                    found[topic] = Tail(len(ids), min(ids), max(ids), at_least)
        return found


def _before(position: str, copied: Cursor) -> bool:
    """Whether what lies at `position` is in what `copied` reaches: a cursor of Kafka's kind names the next offset."""
    partition, place = place_of(position)
    return order(place) < order(copied.get(partition, "0"))

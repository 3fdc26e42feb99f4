"""What a publisher remembers of its acknowledged events until they have been copied: the tail that would be
stranded, were the backend to die now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

from adapters.event_bus.base import order
from contracts.registry import Tail
from contracts.routes import Cursor

MOST_REMEMBERED = 100_000
"""Acknowledged events of a topic that are remembered, about 20 MB of them; beyond it the oldest are only counted
as `at_least`. At 5,000 events/s that is a mirror which is 20 s behind."""


def place_of(position: str) -> tuple[str, str]:
    """Partition and position of what a writer's future resolved to: `3:42`, or an entry's id alone."""
    partition, _, place = position.rpartition(":")
    return partition or "0", place


class Journal:
    """Ids by topic, in the order in which they were acknowledged. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._backend = ""
        self._kept: dict[str, deque[tuple[str, str, str]]] = {}
        self._overflown: dict[str, tuple[str, str]] = {}

    def add(self, backend: str, topic: str, position: str, event_id: str) -> None:
        """`backend` stored an event at `position`. What another one stored before is forgotten."""
        with self._lock:
            if backend != self._backend:
                self._backend, self._kept, self._overflown = backend, {}, {}
            kept = self._kept.setdefault(topic, deque())
            kept.append((*place_of(position), event_id))
            if len(kept) > MOST_REMEMBERED:
                self._overflown[topic] = kept.popleft()[:2]

    def trim(self, topic: str, copied: Cursor) -> None:
        """Forget what was copied; the oldest only, as far as all of it was."""
        with self._lock:
            kept = self._kept.setdefault(topic, deque())
            while kept and _before(kept[0], copied):
                kept.popleft()

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
                ids = [entry[2] for entry in self._kept.get(topic, ()) if not _before(entry, cursor)]
                lost = self._overflown.get(topic)
                at_least = lost is not None and not _before((*lost, ""), cursor)
                if ids:
                    found[topic] = Tail(len(ids), min(ids), max(ids), at_least)
        return found


def _before(entry: tuple[str, str, str], copied: Cursor) -> bool:
    """Whether `entry` lies in what `copied` reaches: a cursor of Kafka's kind names the next offset."""
    partition, place, _ = entry
    return order(place) < order(copied.get(partition, "0"))

"""What groups took of the log that serves, left as word in the log that follows: should the first one die, the
second stands in for it and gives nobody an event again.

Kept beside the data: it is written now and then, and where that fails nothing waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.event_bus.base import EventLog, order
from adapters.event_bus.errors import EventBusError
from adapters.event_bus.journal import Journal
from contracts.routes import Cursor, Route

_log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
"""How long a word may be late, in seconds. At an emergency's fence all of it is written at once."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose place: of `group` in the segment of epoch `segment` of `topic`; `refuge` is where the word is left."""

    topic: str
    group: str
    segment: int
    refuge: str


class Bookmarks:
    """The newest places of all groups of this process. Thread-safe."""

    def __init__(self, open_log: Callable[[str], EventLog]) -> None:
        self._open_log = open_log
        self._lock = threading.Lock()
        self._pending: dict[Mark, dict[str, str]] = {}

    def note(self, mark: Mark, cursor: Cursor) -> None:
        """All before `cursor` took effect."""
        with self._lock:
            forward(self._pending.setdefault(mark, {}), cursor)

    def flush(self, wanted: Callable[[Mark], bool] = lambda _: True) -> None:
        """Write what is pending and `wanted`. Raises EventBusError; what was not written stays pending."""
        with self._lock:
            pending = {mark: self._pending.pop(mark) for mark in list(self._pending) if wanted(mark)}
        for mark in list(pending):
            refuge = self._open_log(mark.refuge).refuge
            try:
                if refuge is not None:
                    refuge.note_taken(mark.topic, mark.group, mark.segment, pending[mark])
            except EventBusError:
                self._keep(pending)
                raise
            del pending[mark]

    def _keep(self, unwritten: Mapping[Mark, Cursor]) -> None:
        with self._lock:
            for mark, cursor in unwritten.items():
                forward(self._pending.setdefault(mark, {}), cursor)


def forward(places: dict[str, str], cursor: Cursor) -> None:
    """Move `places` to `cursor` where they stand before it."""
    for partition, place in cursor.items():
        if order(place) > order(places.get(partition, "0")):
            places[partition] = place


class Keeper:
    """Flushes bookmarks and trims the journal, every FLUSH_SECONDS, on a thread of its own."""

    def __init__(
        self,
        open_log: Callable[[str], EventLog],
        bookmarks: Bookmarks,
        journal: Journal,
        route: Callable[[], Route | None],
    ) -> None:
        self._open_log = open_log
        self._bookmarks = bookmarks
        self._journal = journal
        self._route = route
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bus-bookmarks", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End, waiting at most `timeout` s for a write under way."""
        self._stopped.set()
        self._thread.join(timeout)

    def keep(self) -> None:
        """Do it once. Raises EventBusError."""
        self._bookmarks.flush()
        route = self._route()
        mirror = route.mirror if route else None
        if mirror is None:
            return
        for topic in self._journal.topics:
            copied = self._open_log(mirror.target).copied(topic, mirror.source)
            if copied is not None:
                self._journal.trim(topic, copied)

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_SECONDS):
            try:
                self.keep()
            except EventBusError as error:
                _log.info("what groups took is not known to the log that follows: %s", error)
            except Exception:
                # A word for bad days must not end a service, and must not vanish without one.
                _log.exception("keeping bookmarks failed")

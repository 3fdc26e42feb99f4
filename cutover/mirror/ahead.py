"""Reading ahead: what comes next is fetched while the batch in hand is copied."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from adapters.event_bus.base import LogTail, Stored
from contracts.routes import Cursor


class ReadAhead(LogTail):
    """`tail`, polled on a thread of its own until `enough` entries lie ready. It ends with the first error of the
    tail, which poll raises once all that came before was taken.

    What lies ready is taken as one batch: a copier that is slow gets larger ones, not more of them."""

    def __init__(self, tail: LogTail, enough: int) -> None:
        self._tail = tail
        self._enough = enough
        self._changed = threading.Condition()
        self._ready: list[Stored] = []
        self._read_to = self._after = dict(tail.position())
        self._error: Exception | None = None
        self._stopped = False
        self._thread: threading.Thread | None = None

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        """All that was read ahead, less than twice `enough`, whatever `max_events` says."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(timeout,), name="mirror-ahead", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._read_to != self._after or self._ready or self._error, timeout)
            entries, self._ready, self._after = self._ready, [], self._read_to
            self._changed.notify_all()
            if not entries and self._error is not None:
                raise self._error
        return entries

    def position(self) -> Cursor:
        return self._after

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._tail.close()

    def _run(self, timeout: float) -> None:
        while self._wanted():
            try:
                entries = self._tail.poll(self._enough, timeout)
            except Exception as error:
                # Whoever polls has it raised.
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready += entries
                self._read_to = dict(self._tail.position())
                self._changed.notify_all()

    def _wanted(self) -> bool:
        """Whether to read on, once there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._ready) < self._enough)
            return not self._stopped

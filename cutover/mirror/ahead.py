"""Reading ahead: the next batch is fetched while the one in hand is copied."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.event_bus.base import LogTail, Stored
from contracts.routes import Cursor

_BATCHES = 2
"""How many batches may lie ready: more would only take memory."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What one poll of the tail came to: entries and the place after them, or why there are none."""

    entries: Sequence[Stored]
    after: Cursor
    error: BaseException | None = None


class ReadAhead(LogTail):
    """`tail`, polled on a thread of its own for `max_events` at a time. It ends with the first error of the tail,
    which poll raises."""

    def __init__(self, tail: LogTail, max_events: int) -> None:
        self._tail = tail
        self._most = max_events
        self._ready: queue.Queue[_Read] = queue.Queue(_BATCHES)
        self._after = tail.position()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def poll(self, max_events: int, timeout: float) -> Sequence[Stored]:
        """What was read ahead: a batch as it came, whatever `max_events` says."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(timeout,), name="mirror-ahead", daemon=True)
            self._thread.start()
        try:
            read = self._ready.get(timeout=timeout)
        except queue.Empty:
            return ()
        if read.error is not None:
            raise read.error
        self._after = read.after
        return read.entries

    def position(self) -> Cursor:
        return self._after

    def close(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._tail.close()

    def _run(self, timeout: float) -> None:
        while not self._stopped.is_set():
            before = dict(self._tail.position())
            try:
                entries = self._tail.poll(self._most, timeout)
                read = _Read(entries, dict(self._tail.position()))
            except Exception as error:
                # Whoever polls has it raised.
                read = _Read((), before, error)
            if read.entries or read.error is not None or read.after != before:
                self._hand_over(read, timeout)
            if read.error is not None:
                return

    def _hand_over(self, read: _Read, timeout: float) -> None:
        while not self._stopped.is_set():
            try:
                self._ready.put(read, timeout=timeout)
            except queue.Full:
                continue  # the copier is slower: nothing more is read meanwhile
            return

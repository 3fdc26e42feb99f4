"""A writer to the backend that is next, opened ahead: a switch then opens no connection inside its pause."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from adapters.event_bus.base import EventLog, LogWriter
from adapters.event_bus.errors import EventBusError

_log = logging.getLogger(__name__)

Aside = Callable[[Callable[[], None]], None]
"""Runs what may take long, where nobody waits for it."""


def on_a_thread(work: Callable[[], None]) -> None:
    """Run `work` on a thread of its own."""
    threading.Thread(target=work, name="bus-aside", daemon=True).start()


class Standby:
    """Keeps at most one writer. Thread-safe; opening happens aside and may fail unheard, for it is only
    ever a head start."""

    def __init__(self, open_log: Callable[[str], EventLog], client_id: str, aside: Aside = on_a_thread) -> None:
        self._open_log = open_log
        self._client_id = client_id
        self._aside = aside
        self._lock = threading.Lock()
        self._backend: str | None = None
        self._topics: frozenset[str] = frozenset()
        self._writer: LogWriter | None = None

    def keep(self, backend: str | None, topics: frozenset[str]) -> None:
        """Have a writer to `backend` ready for `topics`; None: have none. Returns at once."""
        if not topics:
            backend = None
        with self._lock:
            if backend == self._backend and topics <= self._topics:
                return
            old = self._writer if backend != self._backend else None
            if old is not None:
                self._writer = None
            self._backend, self._topics = backend, topics
        if old is not None or backend is not None:
            self._aside(lambda: self._open(old, backend, topics))

    def take(self, backend: str) -> LogWriter | None:
        """The writer to `backend`, now the caller's; None where there is none."""
        with self._lock:
            if backend != self._backend:
                return None
            writer, self._writer = self._writer, None
            self._backend, self._topics = None, frozenset()
            return writer

    def _open(self, old: LogWriter | None, backend: str | None, topics: frozenset[str]) -> None:
        if old is not None:
            old.close()
        if backend is None:
            return
        with self._lock:
            writer = self._writer
        try:
            if writer is None:
                writer = self._open_log(backend).writer(self._client_id)
            writer.warm(topics)
        except EventBusError as error:
            _log.info("no writer to %s could be opened ahead: %s", backend, error)
            return
        with self._lock:
            mine = self._backend == backend and self._writer in (None, writer)
            if mine:
                self._writer = writer
        if not mine:
            writer.close()

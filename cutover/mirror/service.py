"""The mirror: copies what the serving backend gets into the other one, exactly once.

Runs as a Deployment of one. Which way it copies is the route's word; it holds no state of its own,
for the target keeps, in one atomic step with the copies, how far they come.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from adapters import metrics
from adapters.event_bus.base import EventLog, LogCopier, LogTail, Stored
from adapters.event_bus.errors import EventBusError, Fenced
from adapters.event_bus.view import RouteView
from contracts.routes import Cursor, Mirror, Route

_log = logging.getLogger(__name__)

BATCH = 1000
IDLE_SECONDS = 0.1
GATHER_SECONDS = 0.02
"""The least time between two copies of little: a copy is a transaction, which costs the same for one event as
for fifty. A switch waits at most this much longer for the last copy."""
_RETRY_SECONDS = 1.0


def counts(entry: Stored, include_copies: bool) -> bool:
    """Whether an entry is content of the source: copies are not, unless what they were copied
    from has been retired. This is what keeps an event from going round in circles."""
    return include_copies or entry.origin is None


def starting_point(source: EventLog, copied: Cursor | None, start: Cursor) -> Cursor:
    """Where copying goes on: at the last copy, but never before what the route says."""
    return copied if copied is not None and source.reached(copied, start) else start


class TopicMirror:
    """Copies one topic in one direction, on its own thread, until stopped."""

    def __init__(self, topic: str, source: EventLog, target: EventLog, start: Cursor, include_copies: bool) -> None:
        self._topic = topic
        self._source = source
        self._target = target
        self._start = start
        self._include_copies = include_copies
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mirror-{topic}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the batch in hand."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._copy()
            except Fenced:
                _log.error("another mirror copies %s: waiting for it to end", self._topic)
            except EventBusError as error:
                _log.warning("mirror of %s: %s; trying again", self._topic, error)
            except Exception:
                # A mirror that dies silently would stop the way back; it must go on and be seen.
                _log.exception("mirror of %s failed; trying again", self._topic)
            self._stopped.wait(_RETRY_SECONDS)

    def _copy(self) -> None:
        copier = self._target.copier(self._topic, self._source.name)
        try:
            start = starting_point(self._source, self._target.copied(self._topic, self._source.name), self._start)
            tail = self._source.tail(self._topic, start)
            try:
                copier.copy([], start)  # says that copying began, also where there is nothing yet
                self._follow(tail, copier, start)
            finally:
                tail.close()
        finally:
            copier.close()

    def _follow(self, tail: LogTail, copier: LogCopier, reached: Cursor) -> None:
        while not self._stopped.is_set():
            entries = tail.poll(BATCH, IDLE_SECONDS)
            now = tail.position()
            if not entries and dict(now) == dict(reached):
                continue
            content = [entry for entry in entries if counts(entry, self._include_copies)]
            copier.copy(content, now)
            reached = now
            metrics.MIRRORED.labels(self._topic, self._source.name).inc(len(content))
            if len(entries) < BATCH // 10:
                self._stopped.wait(GATHER_SECONDS)


class MirrorService:
    """Keeps one TopicMirror a topic running as the route says."""

    def __init__(self, view: RouteView, make_log: Callable[[str], EventLog]) -> None:
        self._view = view
        self._make_log = make_log
        self._current: Mirror | None = None
        self._running: list[TopicMirror] = []
        self._logs: list[EventLog] = []

    def run(self) -> None:
        """Follow the route until the view is stopped."""
        while not self._view.stopped:
            route = self._view.current
            wanted = route.mirror if route is not None else None
            if route is not None and wanted != self._current:
                self._stop()
                self._start(route, wanted)
            self._view.wait_for(lambda r: r is not None and r.mirror != self._current, 3600.0)
        self._stop()

    def _start(self, route: Route, mirror: Mirror | None) -> None:
        self._current = mirror
        if mirror is None:
            _log.info("nothing to mirror")
            return
        _log.info("mirroring %s to %s", mirror.source, mirror.target)
        for topic, start in mirror.starts.items():
            source, target = self._make_log(mirror.source), self._make_log(mirror.target)
            self._logs += [source, target]
            copies = route.chain(topic)[-1].copies
            self._running.append(TopicMirror(topic, source, target, start, copies))

    def _stop(self) -> None:
        for running in self._running:
            running.stop()
        for running in self._running:
            running.join()
        for log in self._logs:
            log.close()
        self._running, self._logs = [], []

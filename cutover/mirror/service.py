"""The mirror: copies what the serving backend gets into the other one, exactly once.

Runs as a Deployment of one. Which way it copies is the route's word; it holds no state of its own,
for the target keeps, in one atomic step with the copies, how far they come. Behind the copying it
compares what it copied (verifying.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from adapters import metrics
from adapters.event_bus.base import EventLog, Stored
from adapters.event_bus.chain_reader import newest_epoch
from adapters.event_bus.errors import EventBusError, Fenced
from adapters.event_bus.verified import Verified
from adapters.event_bus.view import RouteView
from contracts.routes import Cursor, Mirror, Route
from cutover.mirror.copying import Copying, copyings
from cutover.mirror.verifying import Cut, Pacing, Verifier, VerifyingThread

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


class CopySession:
    """One session of copying one topic in one direction. It fences older ones. Owned by one thread.

    `epoch` tells that of the route as it is known now. What was written under a newer one is not copied: that
    route may have turned the direction round, and this would copy the other mirror's copies back.
    """

    def __init__(self, copying: Copying, source: EventLog, target: EventLog, epoch: Callable[[], int]) -> None:
        self._copying = copying
        self._target = target
        self._epoch = epoch
        self._waiting: Sequence[Stored] = ()
        topic = copying.topic
        self._copier = target.copier(topic, source.name)
        try:
            self._reached = starting_point(source, target.copied(topic, source.name), copying.start)
            self._tail = source.tail(topic, self._reached)
        except BaseException:
            self._copier.close()
            raise
        self._begun = False

    def step(self, timeout: float) -> int | None:
        """Copy one batch, waiting at most `timeout` s for it; how many entries were looked at, None where
        the source stood still, 0 where a batch waits for a newer route."""
        if not self._begun:
            self._copier.copy([], self._reached)  # says that copying began, also where there is nothing yet
            self._begun = True
        entries = self._waiting or self._tail.poll(BATCH, timeout)
        if newest_epoch(entries) > self._epoch():
            self._waiting = entries
            return 0
        self._waiting = ()
        now = self._tail.position()
        if not entries and dict(now) == dict(self._reached):
            return None
        content = [entry for entry in entries if counts(entry, self._copying.include_copies)]
        self._copier.copy(content, now)
        self._reached = now
        metrics.MIRRORED.labels(self._copying.topic, self._copying.source).inc(len(content))
        return len(entries)

    def cut(self) -> Cut:
        """How far it has come, in both logs."""
        return Cut(self._reached, self._target.end(self._copying.topic), time.monotonic())

    def note(self, verified: Verified) -> None:
        """Note what was compared, unless a newer session copies: then its cuts say nothing."""
        self._copier.note_verified(verified)

    def close(self) -> None:
        """Give up both connections."""
        try:
            self._tail.close()
        finally:
            self._copier.close()


class TopicMirror:
    """Copies one topic in one direction, on its own thread, until stopped."""

    def __init__(
        self,
        copying: Copying,
        source: EventLog,
        target: EventLog,
        epoch: Callable[[], int],
        by: str,
        pacing: Pacing,
    ) -> None:
        self._copying = copying
        self._epoch = epoch
        self._by = by
        self._pacing = pacing
        self._source = source
        self._target = target
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mirror-{copying.topic}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the batch in hand."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _run(self) -> None:
        topic = self._copying.topic
        while not self._stopped.is_set():
            try:
                self._copy()
            except Fenced:
                _log.error("another mirror copies %s: waiting for it to end", topic)
            except EventBusError as error:
                _log.warning("mirror of %s: %s; trying again", topic, error)
            except Exception:
                # A mirror that dies silently would stop the way back; it must go on and be seen.
                _log.exception("mirror of %s failed; trying again", topic)
            self._stopped.wait(_RETRY_SECONDS)

    def _copy(self) -> None:
        session = CopySession(self._copying, self._source, self._target, self._epoch)
        verifying = VerifyingThread(self._verifier, self._copying.topic, self._pacing)
        try:
            while not self._stopped.is_set():
                looked_at = session.step(IDLE_SECONDS)
                verifying.copying_lags = looked_at is not None and looked_at >= BATCH
                self._hand_over(session, verifying)
                if looked_at is not None and looked_at < BATCH // 10:
                    self._stopped.wait(GATHER_SECONDS)
        finally:
            verifying.stop()
            session.close()

    def _verifier(self) -> Verifier:
        return Verifier(self._copying, self._source, self._target, self._by, settle=self._pacing.settle)

    def _hand_over(self, session: CopySession, verifying: VerifyingThread) -> None:
        """Give the verifier a cut now and then, and note what it found."""
        if verifying.wants_cut():
            verifying.cut(session.cut())
        due = verifying.take_due()
        if due is not None:
            session.note(due)


class MirrorService:
    """Keeps one TopicMirror a topic running as the route says."""

    def __init__(
        self, view: RouteView, make_log: Callable[[str], EventLog], by: str = "mirror", pacing: Pacing | None = None
    ) -> None:
        self._by = by
        self._pacing = pacing or Pacing()
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
        for copying in copyings(route):
            source, target = self._make_log(copying.source), self._make_log(copying.target)
            self._logs += [source, target]
            self._running.append(TopicMirror(copying, source, target, self._epoch, self._by, self._pacing))

    def _epoch(self) -> int:
        route = self._view.current
        return route.epoch if route is not None else 0

    def _stop(self) -> None:
        for running in self._running:
            running.stop()
        for running in self._running:
            running.join()
        for log in self._logs:
            log.close()
        self._running, self._logs = [], []

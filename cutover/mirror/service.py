"""The mirror: copies what the serving backend gets into the other one, exactly once.

Runs as a Deployment of one. Which way it copies is the route's word; it holds no state of its own,
for the target keeps, in one atomic step with the copies, how far they come.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapters import metrics
from adapters.event_bus.base import EventLog, Stored
from adapters.event_bus.chain_reader import newest_epoch
from adapters.event_bus.errors import EventBusError, Fenced
from adapters.event_bus.view import RouteView
from contracts.routes import Cursor, Mirror, Route

_log = logging.getLogger(__name__)

FULL_EVENTS = 100
"""A batch of so many entries is followed by the next one at once."""
FULL_BYTES = 8 << 20
"""A copy of so many bytes is large enough."""
IDLE_SECONDS = 0.1
GATHER_SECONDS = 0.012
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


@dataclass(frozen=True, slots=True)
class Copying:
    """What a route wants copied of one topic; `segment` is the epoch of what is written now."""

    topic: str
    source: str
    target: str
    start: Cursor
    include_copies: bool
    segment: int


def copyings(route: Route) -> tuple[Copying, ...]:
    """What `route` wants copied: nothing where it names no mirror."""
    mirror = route.mirror
    if mirror is None:
        return ()
    return tuple(
        Copying(topic, mirror.source, mirror.target, start, route.chain(topic)[-1].copies, route.chain(topic)[-1].epoch)
        for topic, start in mirror.starts.items()
    )


@dataclass(slots=True)
class _Batch:
    """What one copy has: how far the source is read with it, how many entries were looked at, how many of them are
    content, and what of that is not sent ahead."""

    reached: Cursor
    looked_at: int = 0
    content: int = 0
    rest: list[Stored] = field(default_factory=list)


class CopySession:
    """One session of copying one topic in one direction. It fences older ones. Owned by one thread.

    `epoch` tells that of the route as it is known now. What was written under a newer one is not copied: that
    route may have turned the direction round, and this would copy the other mirror's copies back.
    """

    def __init__(self, copying: Copying, source: EventLog, target: EventLog, epoch: Callable[[], int]) -> None:
        self._copying = copying
        self._epoch = epoch
        self._waiting: Sequence[Stored] = ()
        topic = copying.topic
        self._copier = target.copier(topic, source.name, copying.segment)
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
        batch = self._read(timeout)
        if dict(batch.reached) == dict(self._reached):
            return 0 if self._waiting else None
        self._copier.copy(batch.rest, batch.reached)
        self._reached = batch.reached
        metrics.MIRRORED.labels(self._copying.topic, self._copying.source).inc(batch.content)
        return batch.looked_at

    def _read(self, timeout: float) -> _Batch:
        """What one copy should have, sent ahead as far as the target takes it."""
        batch, most, size = _Batch(self._reached), self._copier.most_events, 0
        while True:
            wait = 0.0 if batch.looked_at else timeout
            entries = self._waiting or self._tail.poll(most - batch.looked_at, wait)
            if newest_epoch(entries) > self._epoch():
                self._waiting = entries
                return batch
            self._waiting, batch.reached = (), self._tail.position()
            content = [entry for entry in entries if counts(entry, self._copying.include_copies)]
            if content:
                batch.rest += self._copier.send(content)
            batch.content += len(content)
            batch.looked_at += len(entries)
            size += sum([len(entry.raw) for entry in entries])
            if len(entries) < FULL_EVENTS or batch.looked_at >= most or size >= FULL_BYTES:
                return batch

    def close(self) -> None:
        """Give up both connections."""
        try:
            self._copier.close()  # first: readers wait for what it has not ended
        finally:
            self._tail.close()


class TopicMirror:
    """Copies one topic in one direction, on its own thread, until stopped."""

    def __init__(self, copying: Copying, source: EventLog, target: EventLog, epoch: Callable[[], int]) -> None:
        self._copying = copying
        self._epoch = epoch
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
        try:
            while not self._stopped.is_set():
                looked_at = session.step(IDLE_SECONDS)
                if looked_at is not None and looked_at < FULL_EVENTS:
                    self._stopped.wait(GATHER_SECONDS)
        finally:
            session.close()


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
        for copying in copyings(route):
            source, target = self._make_log(copying.source), self._make_log(copying.target)
            self._logs += [source, target]
            self._running.append(TopicMirror(copying, source, target, self._epoch))

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

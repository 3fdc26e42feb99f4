"""The mirror compares what it has copied, behind the copying, so that a switch has only the rest to compare.

The copying thread cuts: between two copies, all of the source up to a place lies in the target up to another
one. The verifier compares up to a cut, and what it found goes back to the copying session, which alone may note
it: where a newer session copies, the note is refused. So at each cut that was noted exactly the copies of one
session lay before it, and any difference is one. A kill at any point repeats a comparison and loses no finding.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapters import metrics
from adapters.event_bus.base import EventLog
from adapters.event_bus.errors import EventBusError
from adapters.event_bus.verified import Verified
from contracts.routes import Cursor
from cutover.mirror.copying import Copying, resumed
from validation.log_comparison import LogComparison

_log = logging.getLogger(__name__)

SHARE = 0.2
"""The part of the time in which the verifier works: the rest is for copying, which runs in the same process."""
_MOST_CUTS = 512
_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Pacing:
    """Seconds. `cut`: the least time between two cuts; each asks the target for its end. `settle`: how old a cut
    must be to be noted. A machine that loses power may lose what Kafka had not yet flushed, for as long as Linux
    keeps it (30 s and a little); what it lost must be compared again, and so be found missing."""

    cut: float = 2.0
    settle: float = 45.0


@dataclass(frozen=True, slots=True)
class Cut:
    """All of the source up to `source` lies, as copies, in the target up to `target`. `taken`: seconds, monotonic."""

    source: Cursor
    target: Cursor
    taken: float


class Verifier:
    """Compares one copying up to cut after cut. Owned by one thread."""

    def __init__(
        self,
        copying: Copying,
        source: EventLog,
        target: EventLog,
        by: str,
        *,
        settle: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._by = by
        self._copying = copying
        self._settle = settle
        self._clock = clock
        topic = copying.topic
        begun = resumed(copying, source, target)
        self._noted = begun or Verified(copying.id, copying.start, copying.target_start, 0, "", by)
        self._before = self._noted.compared
        self._settling: deque[tuple[float, Verified]] = deque()
        self._comparison = LogComparison(
            topic, source, target, self._noted.source, self._noted.target, copies_count=copying.include_copies
        )
        self.ended = bool(self._noted.differences)
        metrics.DIVERGED.labels(topic).set(self.ended)

    def step(self, cut: Cut) -> bool:
        """Compare another batch; whether the cut was reached. Nothing more is to be had once `ended`."""
        found = self._comparison.step(cut.source, cut.target)
        if found is None:
            return False
        if found.none:
            self._settling.append((cut.taken, self._now_at(*self._comparison.equal_to)))
            return True
        self.ended = True
        trimmed = self._comparison.trimmed()
        if trimmed:
            _log.error("%s cannot be compared any further: %s lost entries before", self._copying.topic, trimmed)
            return True
        _log.error("the logs differ in %s: %s", self._copying.topic, found)
        metrics.DIVERGED.labels(self._copying.topic).set(1)
        last = self._settling[-1][1] if self._settling else self._noted
        self._settling.append((float("-inf"), replace(self._now_at(last.source, last.target), differences=str(found))))
        return True

    def _now_at(self, source: Cursor, target: Cursor) -> Verified:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        compared = self._before + self._comparison.compared
        return Verified(self._copying.id, dict(source), dict(target), compared, now, self._by)

    def due(self) -> Verified | None:
        """What is to be noted now: a difference at once, equality once it has settled."""
        newest: Verified | None = None
        if self._settling and self._settling[-1][1].differences:
            newest = self._settling[-1][1]
            self._settling.clear()
            return newest
        while self._settling and self._clock() - self._settling[0][0] >= self._settle:
            newest = self._settling.popleft()[1]
        if newest is None or (newest.source, newest.target) == (self._noted.source, self._noted.target):
            return None
        metrics.VERIFIED.labels(self._copying.topic).inc(newest.compared - self._noted.compared)
        self._noted = newest
        return newest

    def close(self) -> None:
        """Give up both connections."""
        self._comparison.close()


class VerifyingThread:
    """A Verifier on a thread of its own, for one copying session. Trouble here never reaches the copying."""

    def __init__(self, make: Callable[[], Verifier], topic: str, pacing: Pacing) -> None:
        self._make = make
        self._topic = topic
        self._pacing = pacing
        self._cuts: deque[Cut] = deque(maxlen=_MOST_CUTS)  # of too many the oldest go: a later one says more
        self._due: deque[Verified] = deque(maxlen=1)
        self._stopped = threading.Event()
        self._cut_at = 0.0
        self.copying_lags = False
        """Set by the copying thread: then the machine is left to it."""
        self._thread = threading.Thread(target=self._run, name=f"verifier-{topic}", daemon=True)
        self._thread.start()

    def wants_cut(self) -> bool:
        """Whether it is time for another cut."""
        return time.monotonic() - self._cut_at >= self._pacing.cut

    def cut(self, cut: Cut) -> None:
        """A cut that was just taken."""
        self._cut_at = cut.taken
        self._cuts.append(cut)

    def take_due(self) -> Verified | None:
        """What the copying session is to note."""
        with suppress(IndexError):
            return self._due.popleft()
        return None

    def stop(self) -> None:
        """End, and wait for that."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                verifier = self._make()
                try:
                    self._verify(verifier)
                finally:
                    verifier.close()
            except EventBusError as error:
                _log.warning("comparing %s: %s; trying again", self._topic, error)
            except Exception:
                _log.exception("comparing %s failed; trying again", self._topic)
            self._stopped.wait(_RETRY_SECONDS)

    def _verify(self, verifier: Verifier) -> None:
        cut: Cut | None = None
        while not self._stopped.is_set():
            due = verifier.due()
            if due is not None:
                self._due.append(due)
            if cut is None and self._cuts and not verifier.ended:
                cut = self._cuts.popleft()
            if cut is None or self.copying_lags:
                self._stopped.wait(_IDLE_SECONDS)
                continue
            began = time.thread_time()
            if verifier.step(cut):
                cut = None
            self._stopped.wait((time.thread_time() - began) * (1 / SHARE - 1))

"""How each side fares: what the orchestrator tells the cutover of itself, of the last 60 s and of this epoch alone."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from services.llm_orchestrator.choosing import NEW, OLD

WINDOW_SECONDS = 60.0
_MOST_TIMES = 2000
"""First-byte times kept of a side. Beyond that the oldest go: percentiles are of the newest calls."""
_COUNTED = ("calls", "answered", "errors", "fallbacks", "failed", "samples", "sample_errors")


def percentile(values: Sequence[float], percent: float) -> float:
    """Of `values`, not empty: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * percent // 100), 1).__int__() - 1]


class Figures:
    """By side:

    calls          attempts that were sent to it, those that fell back to it included
    answered       attempts that it began to answer, or refused
    errors         attempts that failed there by its fault, also in the middle of an answer
    fallbacks      calls that were meant for it and that the other side answered
    failed         calls that were meant for it and whose caller got an error
    samples        calls that it got as a sample; sample_errors, those that failed
    ttft_*_ms      from asking to the first byte, samples included; a call that waits still, and longer than half of
                   those took, counts with what it has waited: a side that hangs is seen before its calls time out.
                   Not there where nothing was answered and nothing waits
    in_flight      now

    Counted by the event loop and read by the thread that announces. What belongs to an earlier epoch counts no more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._epoch = 0
        self._seconds: deque[tuple[int, Counter[str]]] = deque()
        self._times: dict[str, deque[tuple[float, float]]] = {}
        self._in_flight: Counter[str] = Counter()
        self._waiting: dict[object, tuple[int, str, float]] = {}

    def begin(self, epoch: int) -> None:
        """Count anew, for `epoch`."""
        with self._lock:
            if epoch != self._epoch:
                self._epoch = epoch
                self._seconds.clear()
                self._times.clear()

    def count(self, epoch: int, side: str, what: str) -> None:
        """One more of `what`."""
        with self._lock:
            if epoch != self._epoch:
                return
            second = int(self._clock())
            if not self._seconds or self._seconds[-1][0] != second:
                self._seconds.append((second, Counter()))
                self._forget(second)
            self._seconds[-1][1][f"{side}.{what}"] += 1

    def waits(self, epoch: int, side: str) -> object:
        """A call to `side` waits for its first byte, until `heard` is told of it by what this returns."""
        call = object()
        with self._lock:
            self._waiting[call] = epoch, side, self._clock()
        return call

    def heard(self, call: object) -> None:
        """A call waits no longer: it is answered, or has failed."""
        with self._lock:
            del self._waiting[call]

    def first_byte(self, epoch: int, side: str, seconds: float) -> None:
        """`side` began to answer `seconds` after it was asked."""
        with self._lock:
            if epoch == self._epoch:
                times = self._times.setdefault(side, deque(maxlen=_MOST_TIMES))
                times.append((self._clock(), seconds * 1000))

    def in_flight(self, side: str, change: int) -> None:
        """A call to `side` began or ended."""
        with self._lock:
            self._in_flight[side] += change

    def status(self) -> dict[str, str]:
        """As AdapterRecord.status carries it: `<side>.<what>` -> number."""
        with self._lock:
            now = self._clock()
            self._forget(int(now))
            total: Counter[str] = Counter()
            for _, counted in self._seconds:
                total.update(counted)
            told = {"epoch": str(self._epoch)}
            for side in (OLD, NEW):
                told |= {f"{side}.{what}": str(total[f"{side}.{what}"]) for what in _COUNTED}
                told[f"{side}.in_flight"] = str(self._in_flight[side])
                recent = [ms for at, ms in self._times.get(side, ()) if at > now - WINDOW_SECONDS]
                half = percentile(recent, 50) if recent else 0.0
                recent += [ms for ms in self._waited(side, now) if ms > half]
                if recent:
                    told[f"{side}.ttft_p50_ms"] = f"{percentile(recent, 50):.1f}"
                    told[f"{side}.ttft_p95_ms"] = f"{percentile(recent, 95):.1f}"
            return told

    def _waited(self, side: str, now: float) -> list[float]:
        """For how long calls of this epoch wait for their first byte, in ms."""
        return [
            (now - at) * 1000
            for epoch, where, at in self._waiting.values()
            if epoch == self._epoch and where == side
        ]  # fmt: skip

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_SECONDS:
            self._seconds.popleft()

"""Asks on a fixed schedule, whatever becomes of what was asked: one that waited for its answers would ask least while
nobody answers, and see an outage as one slow request (coordinated omission)."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from validation.probes.account import Book, Probe
from validation.probes.asking import Target, ask

_REPORT_SECONDS = 5.0
_POLL_SECONDS = 0.25
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`rate`: probes a second of each service; `seconds` bounds the run; `timeout`: how long one probe waits, in s."""

    rate: float = 20.0
    seconds: float
    timeout: float = 10.0


class Prober:
    """One run. `say` takes a line for people."""

    def __init__(self, targets: Sequence[Target], schedule: Schedule, book: Book, say: Callable[[str], None]) -> None:
        self._targets = targets
        self._schedule = schedule
        self._book = book
        self._say = say
        # Of a clock that nobody sets: the wall clock's jumps would be latencies.
        self._offset = time.time_ns() - time.monotonic_ns()
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def run(self, stopped: Callable[[], bool]) -> Counter[str]:
        """Ask until the schedule ends or `stopped()`, and wait for what was asked; how many probes of each service
        failed."""
        schedule, count = self._schedule, len(self._targets)
        step = _NS / (schedule.rate * count)  # the services by turns, so that they are not all asked at once
        total = int(schedule.rate * schedule.seconds) * count
        # So many can be under way where nobody answers: no probe ever waits for another.
        workers = math.ceil(schedule.timeout * schedule.rate * count) + count
        start, told = self._now(), time.monotonic()
        with ThreadPoolExecutor(workers, thread_name_prefix="probe") as pool:
            for number in range(total):
                due = start + int(number * step)
                while (ahead := (due - self._now()) / _NS) > 0:
                    if stopped():
                        break
                    time.sleep(min(ahead, _POLL_SECONDS))  # the pace of the schedule
                if stopped():
                    break
                pool.submit(self._one, self._targets[number % count], due)
                if time.monotonic() - told > _REPORT_SECONDS:
                    told = time.monotonic()
                    self._tell()
        self._tell()
        return self._failed

    def _one(self, target: Target, due: int) -> None:
        sent = self._now()
        error = ask(target, self._schedule.timeout)
        self._book.note(Probe(target.service, due, sent, self._now(), error))
        with self._lock:
            self._asked[target.service] += 1
            if error:
                self._failed[target.service] += 1
                first = self._failed[target.service] == 1
        if error and first:
            self._say(f"{target.service} gave no good answer: {error}")

    def _tell(self) -> None:
        with self._lock:
            told = [f"{name} {count} asked, {self._failed[name]} failed" for name, count in sorted(self._asked.items())]
        self._say("; ".join(told) or "nothing asked yet")

    def _now(self) -> int:
        return time.monotonic_ns() + self._offset

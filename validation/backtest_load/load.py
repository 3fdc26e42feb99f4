"""The load: backtests that are asked for one after the other, whoever runs them, and followed to their end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from adapters.backtesting.jobs import Job, JobRefused, Jobs, JobsError, JobsUnavailable
from adapters.backtesting.strategies import STRATEGIES
from adapters.csv_bars import SHIPPED
from contracts.backtests import BacktestAsked
from validation.backtest_load.account import Asked, Book, Fate
from validation.backtesting import validate_backtest_results

_REPORT_SECONDS = 5.0
_POLL_SECONDS = 0.25
_START = date(2014, 1, 1)
"""Five years of daily bars: a run takes a part of a second by either engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Runs a second, for how long at most, and how long their ends are waited for."""

    rate: float
    seconds: float
    hear_out: float = 300.0

    def due(self, began: int) -> Iterator[int]:
        """When each run is to be asked for, in ns since 1970 UTC."""
        number = 0
        while number / self.rate <= self.seconds:
            yield began + int(number / self.rate * 1e9)
            number += 1


def wanted(run: str, number: int, legs: dict[str, int], symbols: tuple[str, ...]) -> BacktestAsked:
    """The run number `number`: shipped strategies and symbols in turn, of which it is known that they can be run, and a
    cash that nobody else asks with, so that it is a run of its own."""
    symbols = tuple(symbol for symbol in symbols if symbol in SHIPPED)
    strategies = sorted(name for name, count in legs.items() if name in STRATEGIES and count <= len(symbols))
    strategy = strategies[number % len(strategies)]
    first = number // len(strategies) % len(symbols)
    against = symbols[(first + 1) % len(symbols)] if legs[strategy] > 1 else None
    cash = 1_000_000 + int(run[-6:], 36) % 100_000 + number / 100
    return BacktestAsked(strategy=strategy, symbol=symbols[first], against=against, start=_START, initial_cash=cash)


class Load:
    """One run of it, named `run` in base 36. `say` takes a line for people."""

    def __init__(self, jobs: Jobs, run: str, schedule: Schedule, book: Book, say: Callable[[str], None]) -> None:
        self._jobs, self._run, self._schedule, self._book, self._say = jobs, run, schedule, book, say
        self._runs: dict[int, Asked] = {}
        self._slowest = 0

    def run(self, stopped: Callable[[], bool]) -> Counter[Fate]:
        """Ask until the schedule ends or `stopped()`, and follow what was asked for; how many had which fate."""
        offer = self._jobs.offer()
        told = time.monotonic()
        for number, due in enumerate(self._schedule.due(time.time_ns())):
            while (left := (due - time.time_ns()) / 1e9) > 0 and not stopped():
                time.sleep(min(left, _POLL_SECONDS))  # paces the load
            if stopped():
                break
            self._note(self._ask(number, due, wanted(self._run, number, offer.legs, offer.symbols)))
            if time.monotonic() - told > _REPORT_SECONDS:
                told = time.monotonic()
                self._tell()
        self._hear_out()
        self._tell()
        return self._fates()

    def _ask(self, number: int, due: int, asked: BacktestAsked) -> Asked:
        """Ask twice, as a caller does that did not see the first answer: it must be the same run."""
        begun = Asked(number, due, time.time_ns())
        self._note(begun)
        try:
            job = self._jobs.submit(asked)
            answered = time.time_ns()
            again = self._jobs.submit(asked.model_copy(update={"engine": job.engine}))
        except JobsError as error:
            return replace(begun, answered=time.time_ns(), error=str(error))
        self._slowest = max(self._slowest, answered - begun.began)
        doubled = again.id if again.id != job.id else ""
        return replace(
            begun, answered=answered, id=job.id, engine=job.engine, doubled=doubled, fate=Fate.ACCEPTED
        )  # fmt: skip

    def _hear_out(self) -> None:
        """Follow all runs to their ends, and those that the other engine does, too, to what was found."""
        deadline, quiet = time.monotonic() + self._schedule.hear_out, 0
        while time.monotonic() < deadline:
            waiting = [one for one in self._runs.values() if one.fate is Fate.ACCEPTED]
            uncompared = [one for one in self._runs.values() if one.fate is Fate.DONE and not one.compared]
            # Twice: between the end of one run and the beginning of its twin the service seems idle.
            quiet = 0 if waiting or self._twins_under_way(uncompared) else quiet + 1
            if quiet > 1:
                return
            for one in waiting:
                self._follow(one)
            self._tell()
            time.sleep(_POLL_SECONDS)  # the service offers polling only

    def _twins_under_way(self, uncompared: list[Asked]) -> bool:
        """Note what the other engine made of runs; whether it is still at some."""
        try:
            for one in uncompared:
                found = self._jobs.divergence(one.id)
                if found is not None:
                    self._note(replace(one, compared=True, differs=found.named[0] if found.named else ""))
            return self._jobs.unended() > 0
        except JobsError:
            return True

    def _follow(self, one: Asked) -> None:
        try:
            job = self._jobs.job(one.id)
            if job.ended:
                self._note(self._ended(one, job))
        except JobsUnavailable:
            return
        except JobRefused as error:
            self._note(replace(one, fate=Fate.FAILED, error=str(error)))

    def _ended(self, one: Asked, job: Job) -> Asked:
        if job.state != "done":
            return replace(one, fate=Fate.FAILED, ended_by=job.engine, error=f"{job.state}: {job.error}")
        result = self._jobs.result(job.id)
        wrong = [f"{check.name}: {check.found}" for check in validate_backtest_results(result).failures()]
        return replace(
            one, fate=Fate.DONE, ended_by=result.engine, seconds=job.seconds, untrue="; ".join(wrong)
        )  # fmt: skip

    def _note(self, asked: Asked) -> None:
        self._runs[asked.number] = asked
        self._book.note(asked)

    def _fates(self) -> Counter[Fate]:
        return Counter(one.fate for one in self._runs.values())

    def _tell(self) -> None:
        counts = ", ".join(f"{count} {fate}" for fate, count in sorted(self._fates().items()))
        self._say(f"{counts or 'nothing yet'}; slowest answer {self._slowest / 1e6:.0f} ms")

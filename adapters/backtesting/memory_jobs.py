"""The shipped fake of the backtesting service: runs are done at once, in this process, by the reference engine under
the names of the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import override

from adapters.backtesting.jobs import Job, JobRefused, Jobs, JobsUnavailable, Offer
from contracts.backtests import BacktestAsked, Divergence, Result

Does = Callable[[BacktestAsked, str], Result]


class MemoryJobs(Jobs):
    """`does` makes a result of a request for an engine, and may raise what a run fails with. `engines` are deployed, of
    which `serving` takes what names none; both may be set anew. `away`: nothing is answered."""

    def __init__(
        self, does: Does, legs: Mapping[str, int], symbols: Sequence[str], engines: Collection[str], serving: str
    ) -> None:
        self._does = does
        self._legs, self._symbols = dict(legs), tuple(symbols)
        self.engines, self.serving, self.away = frozenset(engines), serving, False
        self._jobs: dict[str, Job] = {}
        self._results: dict[str, Result] = {}
        self._asked: dict[str, BacktestAsked] = {}
        self.divergences: dict[str, Divergence] = {}
        """By run, as somebody says that the other engine did it, too."""

    def _answers(self) -> None:
        if self.away:
            raise JobsUnavailable("memory: it is away")

    @override
    def offer(self) -> Offer:
        self._answers()
        return Offer(self._legs, self._symbols, self.engines, self.serving)

    @override
    def submit(self, asked: BacktestAsked) -> Job:
        self._answers()
        engine = asked.engine or self.serving
        if engine not in self.engines:
            raise JobRefused(f"memory answers 422: engine is {engine!r}, which is not deployed now")
        if asked.strategy not in self._legs or not set(asked.symbols) <= set(self._symbols):
            raise JobRefused(f"memory answers 422: {asked.strategy} on {asked.symbols} cannot be run")
        run_id = asked.identity(engine, asked.symbols)
        known = self._jobs.get(run_id)
        if known is None or known.state == "failed":
            self._jobs[run_id] = self._done(run_id, asked, engine)
        return self._jobs[run_id]

    def _done(self, run_id: str, asked: BacktestAsked, engine: str) -> Job:
        self._asked[run_id] = asked
        try:
            self._results[run_id] = self._does(asked, engine)
        except Exception as error:
            return Job(run_id, engine, "failed", f"{type(error).__name__}: {error}")
        return Job(run_id, engine, "done")

    @override
    def job(self, run_id: str) -> Job:
        self._answers()
        if run_id not in self._jobs:
            raise JobRefused(f"memory answers 404: there is no run {run_id}")
        return self._jobs[run_id]

    @override
    def result(self, run_id: str) -> Result:
        self._answers()
        if run_id not in self._results:
            raise JobRefused(f"memory answers 409: run {run_id} has no result")
        return self._results[run_id]

    @override
    def divergence(self, run_id: str) -> Divergence | None:
        self._answers()
        return self.divergences.get(run_id)

    @override
    def unended(self) -> int:
        self._answers()
        return sum(not job.ended for job in self._jobs.values())

    @override
    def finished(self, limit: int) -> Sequence[Job]:
        self._answers()
        return [job for job in reversed(self._jobs.values()) if job.state == "done"][:limit]

    @override
    def recorded(self, limit: int) -> Sequence[BacktestAsked]:
        self._answers()
        found: list[BacktestAsked] = []
        for run_id, asked in reversed(self._asked.items()):
            plain = asked.model_copy(update={"engine": None})
            if run_id in self._results and plain not in found:
                found.append(plain)
        return found[:limit]

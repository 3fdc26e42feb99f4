"""The life of runs: what is submitted is queued, run by a worker process, and kept.

A run is begun and ended by the engine that took it, whatever the route says meanwhile. Where a sample of the runs is
done by the other engine, too, that happens when nobody waits, and what came of both is compared and kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from adapters.backtesting.histories import HistoryError, Replaced
from adapters.backtesting.strategies import source_of
from adapters.backtesting.strategies.own import KNOWN
from contracts.backtests import BacktestAsked, Divergence
from services.backtesting_service import twins, work
from services.backtesting_service.histories import Histories, Source
from services.backtesting_service.models import BacktestRequest, Run, RunState
from services.backtesting_service.pools import JobLimits, Pools, why_failed
from services.backtesting_service.routing import Plan, Tally
from services.backtesting_service.store import RunStore
from services.common import metrics

MAX_WAITING = 1_000
"""Runs that may wait; beyond it a caller is told to come back."""
WORKER_LOSSES = 2
"""How many dead workers a run may see before it counts as their cause."""

_ROOM = "Make room under RESULTS_PATH, or raise crossover:backtesting.storage, and ask again"
_ENDED = frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED})
_log = logging.getLogger(__name__)


class TooManyRuns(Exception):
    """The queue is full."""


class CannotKeep(Exception):
    """The volume takes nothing: why."""


class UnknownSymbol(ValueError):
    """There is no history of that name."""


class AlreadyEnded(ValueError):
    """There is nothing to cancel."""


class InUse(Exception):
    """Runs wait or run on the bars that are to go."""


@dataclass(slots=True)
class _Ended:
    run: Run
    done: Future[Mapping[str, bytes]]


class Runs:
    """Thread-safe. One thread hands runs to the pools, one at a time a worker, so that `running` means it. `plan`: what
    the route means now."""

    def __init__(
        self,
        store: RunStore,
        plan: Callable[[], Plan],
        histories: Histories,
        workers: int,
        *,
        tally: Tally | None = None,
        limits: JobLimits | None = None,
        strategies: Path | None = None,
    ) -> None:
        self.store, self._plan, self.histories = store, plan, histories
        self._tally = tally or Tally()
        own = {}
        if strategies is not None:
            strategies = strategies.absolute()
            usable = (one for one in KNOWN.described.values() if not one.problem)
            own = {strategies / f"{one.name}.py": one.sha256 for one in usable}
        self._strategies = strategies
        places = tuple(place.absolute() for place in histories.places)
        self._pools = Pools(workers, limits or JobLimits(), work.Surroundings(places, own))
        self._workers = workers
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._aside: deque[str] = deque()
        """Runs for comparison: they go when nobody waits."""
        self._running: dict[str, Future[Mapping[str, bytes]] | None] = {}
        self._cancelled: set[str] = set()
        self._ended: list[_Ended] = []
        self._losses: dict[str, int] = {}
        self._stopped = self._abandoned = self._news = False
        self._thread = threading.Thread(target=self._dispatch, name="runs", daemon=True)

    def plan(self) -> Plan:
        """What the route means now."""
        return self._plan()

    @property
    def symbols(self) -> tuple[str, ...]:
        """What can be tested on."""
        return self.histories.symbols

    def start(self) -> None:
        """Queue again what an earlier process left, and begin."""
        left = [run for run in self.store.all() if run.state not in _ENDED]
        for run in reversed(left):
            self._keep(run.model_copy(update={"state": RunState.QUEUED, "started_at": None}))
            self._queue(run)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Start nothing more, and wait for what runs; seconds. What waits stays queued for the next start."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._running, timeout)
            self._abandoned = not done
            self._changed.notify_all()
        if not done:
            _log.warning(
                "%d backtests did not end in %g s: they run again at the next start", len(self._running), timeout
            )
        if self._thread.ident is not None:
            self._thread.join(max(0.1, deadline - time.monotonic()))
        self._pools.stop()

    def submit(self, request: BacktestRequest) -> tuple[Run, bool]:
        """The run of `request`, and whether it is new. A run that failed or was cancelled is tried again.

        Raises UnknownSymbol, NotServed, TooManyRuns, CannotKeep.
        """
        with self._changed:
            checksums = [source.sha256 for source in self._sources(request)]
            engine = self._plan().engine(request.engine)
            run_id = request.identity(engine, checksums, source_of(request.strategy))
            known = self.store.get(run_id)
            if known is not None and known.state not in (RunState.FAILED, RunState.CANCELLED):
                return known, False
            if len(self._waiting) >= MAX_WAITING:
                raise TooManyRuns(f"{MAX_WAITING} backtests wait already: nothing was queued. Come back later")
            run = Run(
                id=run_id, engine=engine, request=request, state=RunState.QUEUED, submitted_at=datetime.now(UTC)
            )  # fmt: skip
            try:
                self.store.put(run)
            except OSError as error:
                raise CannotKeep(f"the run cannot be kept: {error.strerror}. Nothing was queued. {_ROOM}") from error
            self._losses.pop(run_id, None)
            self._queue(run)
        return run, True

    def cancel(self, run_id: str) -> Run | None:
        """End a run that waits or runs; None where there is no such run. Raises AlreadyEnded."""
        with self._changed:
            run = self.store.get(run_id)
            if run is None or run.state is RunState.CANCELLED:
                return run
            if run.state in _ENDED:
                raise AlreadyEnded(f"the run is {run.state.value}: there is nothing to cancel")
            self._cancelled.add(run_id)
            for waiting in (self._waiting, self._aside):
                if run_id in waiting:
                    waiting.remove(run_id)
                    return self._end(run, RunState.CANCELLED, None)
            future = self._running.get(run_id)
        if future is not None:
            future.cancel()
        return run

    @contextmanager
    def unused(self, symbol: str) -> Iterator[None]:
        """Held while the bars of `symbol` go: nothing is submitted meanwhile. Raises InUse."""
        with self._changed:
            under_way = [self.store.get(run_id) for run_id in (*self._running, *self._waiting, *self._aside)]
            users = [run.id for run in under_way if run is not None and symbol in run.request.symbols]
            if users:
                raise InUse(
                    f"{len(users)} runs that wait or run use the bars of {symbol}, {users[0]} among them: they would "
                    "fail. Let them end, or cancel them"
                )
            yield

    def changed(self) -> None:
        """The plan is another one."""
        with self._changed:
            self._news = True
            self._changed.notify_all()

    def alive(self) -> str | None:
        """A probe: whether runs are handed out."""
        started = self._thread.ident is not None
        return "no backtests are started any more" if started and not self._thread.is_alive() else None

    def _queue(self, run: Run) -> None:
        with self._changed:
            (self._waiting if run.twin_of is None else self._aside).append(run.id)
            self._tally.under_way(run.engine, 1)
            self._changed.notify_all()

    def _sources(self, request: BacktestAsked) -> list[Source]:
        """Where its bars are now. Raises UnknownSymbol."""
        found = []
        for field, symbol in zip(("symbol", "against"), request.symbols, strict=False):
            source = self.histories.find(symbol)
            if source is None:
                raise UnknownSymbol(
                    f"{field} is {symbol!r}: there are no bars of it. Use one of {', '.join(self.symbols)}"
                )
            found.append(source)
        return found

    def _job(self, run: Run) -> work.Job:
        """What a worker is told. Raises UnknownSymbol, Replaced: its bars went, or others came, since it was
        submitted, or its strategy is another one."""
        sources, digest, asked = self._sources(run.request), source_of(run.request.strategy), run.request
        checksums = tuple(source.sha256 for source in sources)
        if asked.identity(run.engine, checksums, digest) != run.id:
            raise Replaced(
                f"the history of {' or '.join(asked.symbols)}, or the strategy, was replaced meanwhile: submit it again"
            )
        paths = tuple(source.path.absolute() for source in sources)
        own = None
        if self._strategies is not None and digest is not None:
            own = work.OwnSource(self._strategies / f"{asked.strategy}.py", digest)
        return work.Job(run.id, asked.model_dump_json(), run.engine, paths, checksums, own)

    # -- the dispatching thread

    def _dispatch(self) -> None:
        """Takes what ended and begins what waits. A future calls back from its pool's threads, so whatever touches the
        pools happens here, and never under this object's lock."""
        while True:
            with self._changed:
                self._changed.wait_for(self._something_to_do)
                if self._stopped and (self._abandoned or not (self._running or self._ended)):
                    return
                ended, self._ended, self._news = self._ended, [], False
                waiting = self._waiting or self._aside
                run_id = waiting.popleft() if not ended and self._can_begin() else None
                if run_id is not None:
                    self._running[run_id] = None
            for one in ended:
                self._take(one.run, one.done)
            next_run = self.store.get(run_id) if run_id is not None else None
            if next_run is not None:
                self._begin(next_run.model_copy(update={"state": RunState.RUNNING, "started_at": datetime.now(UTC)}))
            deployed = self._plan().deployed
            if self._pools.engines - deployed:
                self._pools.close_but(deployed | self._engines_in_use())

    def _engines_in_use(self) -> frozenset[str]:
        with self._changed:
            known = [self.store.get(run_id) for run_id in (*self._running, *self._waiting, *self._aside)]
        return frozenset(run.engine for run in known if run is not None)

    def _something_to_do(self) -> bool:
        if self._stopped:
            return bool(self._ended) or self._abandoned or not self._running
        return bool(self._ended) or self._news or self._can_begin()

    def _can_begin(self) -> bool:
        return not self._stopped and bool(self._waiting or self._aside) and len(self._running) < self._workers

    def _begin(self, run: Run) -> None:
        """Hand one run to a worker."""
        self._keep(run)
        try:
            future = self._pools.submit(self._job(run))
        except (UnknownSymbol, Replaced) as error:
            future = Future()
            future.set_exception(error)
        with self._changed:
            self._running[run.id] = future
            cancelled = run.id in self._cancelled
        if cancelled:
            future.cancel()
        future.add_done_callback(lambda done: self._on_done(run, done))

    def _on_done(self, run: Run, done: Future[Mapping[str, bytes]]) -> None:
        with self._changed:
            self._ended.append(_Ended(run, done))
            self._changed.notify_all()

    def _take(self, run: Run, done: Future[Mapping[str, bytes]]) -> None:
        try:
            self._finish(run, done)
        except OSError as error:
            _log.error("the result of backtest %s cannot be kept: %s", run.id, error)
            self._end(run, RunState.FAILED, f"its result cannot be kept: {error.strerror}. {_ROOM}")
        with self._changed:
            self._running.pop(run.id, None)
            self._changed.notify_all()

    def _finish(self, run: Run, done: Future[Mapping[str, bytes]]) -> None:
        try:
            files = done.result()
        except CancelledError:
            if run.id in self._cancelled:
                self._end(run, RunState.CANCELLED, None)
            else:
                _log.info("backtest %s was not ended: it runs at the next start", run.id)
        except Exception as error:
            self._failed(run, error)
        else:
            self.store.put_result(run.id, files)
            self._end(run, RunState.DONE, None)
            self._compare(run)

    def _failed(self, run: Run, error: Exception) -> None:
        why, worker_lost = why_failed(error, self._pools.limits)
        losses = self._losses[run.id] = self._losses.get(run.id, 0) + int(worker_lost)
        if worker_lost and losses < WORKER_LOSSES:
            # It may be innocent: the kernel may have ended it for want of memory elsewhere.
            _log.warning("a worker was lost under backtest %s: it is queued again", run.id)
            self._tally.under_way(run.engine, -1)
            self._keep(run.model_copy(update={"state": RunState.QUEUED, "started_at": None}))
            self._queue(run)
            return
        _log.warning("backtest %s failed: %s", run.id, why)
        self._end(run, RunState.FAILED, why)
        if run.twin_of is not None and not isinstance(error, UnknownSymbol | HistoryError):
            # What the bars are to blame for says nothing of the engine.
            self._diverged(run.twin_of, twins.failed(self.store.get(run.twin_of), run, why))

    def _keep(self, run: Run) -> None:
        try:
            self.store.put(run)
        except OSError as error:
            _log.error("the state of backtest %s cannot be kept, it runs again at the next start: %s", run.id, error)
            self.store.remember(run)

    def _end(self, run: Run, state: RunState, error: str | None) -> Run:
        ended = datetime.now(UTC)
        run = run.model_copy(update={"state": state, "ended_at": ended, "error": error})
        self._keep(run)
        self._cancelled.discard(run.id)
        self._tally.under_way(run.engine, -1)
        self._tally.count(state.value, run.engine)
        metrics.RUNS.labels(state.value).inc()
        if run.started_at is not None:
            metrics.RUN_SECONDS.labels(run.engine).observe((ended - run.started_at).total_seconds())
        return run

    # -- what both engines do

    def _compare(self, run: Run) -> None:
        """Compare a run with the one that it was made for; or have the other engine do it, too, where it is sampled."""
        if run.twin_of is not None:
            self._diverged(run.twin_of, twins.compared(self.store, run.twin_of, run.id))
            return
        second = self._plan().second(run.id, run.engine)
        if second is None or len(self._aside) >= MAX_WAITING:
            return
        try:
            checksums = self._job(run).sha256
        except (UnknownSymbol, Replaced):
            return  # the other engine would do it over other bars
        twin_id = run.request.identity(second, checksums, source_of(run.request.strategy))
        known = self.store.get(twin_id)
        if known is not None and known.state is RunState.DONE:
            self._diverged(run.id, twins.compared(self.store, run.id, twin_id))
        elif known is None or known.state in _ENDED:
            twin = twins.twin(run, twin_id, second)
            self._keep(twin)
            self._queue(twin)

    def _diverged(self, run_id: str, found: Divergence | None) -> None:
        if found is None:
            return
        try:
            self.store.put_divergence(run_id, found)
        except OSError as error:
            _log.error("what both engines made of backtest %s cannot be kept: %s", run_id, error)
        self._tally.count("compared")
        if not found.same:
            self._tally.count("differing")
            _log.warning("backtest %s differs between %s: %s", run_id, " and ".join(found.engines), found.named[0])

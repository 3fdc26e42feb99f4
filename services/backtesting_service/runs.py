"""The life of runs: what is submitted is queued, run by a worker process, and kept."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path

from services.backtesting_service import work
from services.backtesting_service.models import BacktestRequest, Run, RunState
from services.backtesting_service.store import RunStore
from services.common import metrics

MAX_WAITING = 1_000
"""Runs that may wait; beyond it a caller is told to come back."""
WORKER_LOSSES = 2
"""How many dead workers a run may see before it counts as their cause."""

_log = logging.getLogger(__name__)


class TooManyRuns(Exception):
    """The queue is full."""


class UnknownSymbol(ValueError):
    """There is no history of that name."""


class Runs:
    """Thread-safe. One thread hands runs to the pool, one at a time a worker, so that `running` means it."""

    def __init__(self, store: RunStore, engine: str, sources: Mapping[str, Path], workers: int) -> None:
        self._store = store
        self._engine = engine
        self._sources = dict(sources)
        self._digests = {symbol: work.file_sha256(path) for symbol, path in sources.items()}
        self._workers = workers
        self._changed = threading.Condition()
        self._waiting: list[str] = []
        self._running: set[str] = set()
        self._ended: list[tuple[Run, Future[str]]] = []
        self._losses: dict[str, int] = {}
        self._stopped = False
        self._abandoned = False
        """Whether stop() gave up on what runs."""
        self._pool: ProcessPoolExecutor | None = None
        self._thread = threading.Thread(target=self._dispatch, name="runs", daemon=True)

    @property
    def symbols(self) -> tuple[str, ...]:
        """What can be tested on."""
        return tuple(self._sources)

    def start(self) -> None:
        """Queue again what an earlier process left, and begin."""
        left = [run for run in self._store.all() if run.state in (RunState.QUEUED, RunState.RUNNING)]
        for run in reversed(left):
            self._store.put(run.model_copy(update={"state": RunState.QUEUED, "started_at": None}))
            self._waiting.append(run.id)
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
        self._drop_pool()

    def submit(self, request: BacktestRequest) -> tuple[Run, bool]:
        """The run of `request`, and whether it is new. A run that failed is tried again.

        Raises UnknownSymbol, TooManyRuns.
        """
        if request.symbol not in self._sources:
            raise UnknownSymbol(
                f"symbol is {request.symbol!r}: there are no bars of it. Use one of {', '.join(self._sources)}"
            )
        run_id = request.run_id(self._engine, self._digests[request.symbol])
        with self._changed:
            known = self._store.get(run_id)
            if known is not None and known.state is not RunState.FAILED:
                return known, False
            if len(self._waiting) >= MAX_WAITING:
                raise TooManyRuns(f"{MAX_WAITING} backtests wait already: nothing was queued. Come back later")
            run = Run(
                id=run_id,
                engine=self._engine,
                request=request,
                state=RunState.QUEUED,
                submitted_at=datetime.now(UTC),
            )
            self._store.put(run)
            self._waiting.append(run_id)
            self._losses.pop(run_id, None)
            self._changed.notify_all()
        return run, True

    def alive(self) -> str | None:
        """A probe: whether runs are handed out."""
        started = self._thread.ident is not None
        return "no backtests are started any more" if started and not self._thread.is_alive() else None

    # -- the dispatching thread

    def _dispatch(self) -> None:
        """Takes what ended and begins what waits. The pool calls back with its own locks held, so whatever
        touches the pool happens here, and never under this object's lock."""
        while True:
            with self._changed:
                self._changed.wait_for(self._something_to_do)
                if self._stopped and (self._abandoned or not (self._running or self._ended)):
                    return
                ended, self._ended = self._ended, []
                run_id = self._waiting.pop(0) if not ended and self._can_begin() else None
            for run, done in ended:
                self._take(run, done)
            next_run = self._store.get(run_id) if run_id is not None else None
            if next_run is not None:
                self._begin(next_run.model_copy(update={"state": RunState.RUNNING, "started_at": datetime.now(UTC)}))

    def _something_to_do(self) -> bool:
        if self._stopped:
            return bool(self._ended) or self._abandoned or not self._running
        return bool(self._ended) or self._can_begin()

    def _can_begin(self) -> bool:
        return not self._stopped and bool(self._waiting) and len(self._running) < self._workers

    def _begin(self, run: Run) -> None:
        """Hand one run to a worker."""
        job = work.Job(run.request.model_dump_json(), self._engine, self._sources[run.request.symbol])
        with self._changed:
            self._running.add(run.id)
        self._keep(run)
        try:
            future = self._usable_pool().submit(work.run, job)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._on_done(run, done))

    def _on_done(self, run: Run, done: Future[str]) -> None:
        with self._changed:
            self._ended.append((run, done))
            self._changed.notify_all()

    def _take(self, run: Run, done: Future[str]) -> None:
        try:
            self._finish(run, done.result)
        except CancelledError:
            _log.info("backtest %s was not begun: it runs at the next start", run.id)
        except BrokenProcessPool:
            self._on_lost_worker(run)
        except OSError as error:
            _log.error("how backtest %s ended cannot be kept, it runs again at the next start: %s", run.id, error)
        with self._changed:
            self._running.discard(run.id)
            self._changed.notify_all()

    def _keep(self, run: Run) -> None:
        try:
            self._store.put(run)
        except OSError as error:
            _log.error("the state of backtest %s cannot be kept: %s", run.id, error)

    def _usable_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = self._new_pool()
        return self._pool

    def _new_pool(self) -> ProcessPoolExecutor:
        # Spawned, not forked: this process has threads, whose locks a fork would copy as they are.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, context, initializer=work.prepare, initargs=(self._engine,))

    def _drop_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _on_lost_worker(self, run: Run) -> None:
        """A worker died, and took the pool with it. The run may be innocent: another worker's may have
        done it, or the kernel for want of memory."""
        self._drop_pool()
        losses = self._losses[run.id] = self._losses.get(run.id, 0) + 1
        if losses >= WORKER_LOSSES:
            self._fail(run, f"the worker died {WORKER_LOSSES} times under it: see the pod's memory limit")
            return
        _log.warning("a worker died under backtest %s: it is queued again", run.id)
        self._keep(run.model_copy(update={"state": RunState.QUEUED, "started_at": None}))
        with self._changed:
            self._waiting.append(run.id)

    def _finish(self, run: Run, result: Callable[[], str]) -> None:
        try:
            text = result()
        except (BrokenProcessPool, CancelledError):
            raise
        except Exception as error:
            self._fail(run, f"{type(error).__name__}: {error}")
            return
        self._store.put_result(run.id, text.encode())
        self._end(run, RunState.DONE, None)

    def _fail(self, run: Run, error: str) -> None:
        _log.warning("backtest %s failed: %s", run.id, error)
        self._end(run, RunState.FAILED, error)

    def _end(self, run: Run, state: RunState, error: str | None) -> None:
        ended = datetime.now(UTC)
        self._keep(run.model_copy(update={"state": state, "ended_at": ended, "error": error}))
        metrics.RUNS.labels(state.value).inc()
        if run.started_at is not None:
            metrics.RUN_SECONDS.labels(self._engine).observe((ended - run.started_at).total_seconds())

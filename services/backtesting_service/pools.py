"""Worker processes, a pool an engine: a run that never ends, or takes too much memory, ends alone."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from pebble import ProcessExpired, ProcessPool

from services.backtesting_service import work

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What one run may take: seconds, and MiB beyond what its engine has loaded; 0: any amount."""

    seconds: float = 3600.0
    memory_mib: int = 0


class Pools:
    """Of one thread's. Each holds its engine once a worker: they are made when they are needed. `surroundings`: what
    workers may see beside the program."""

    def __init__(self, workers: int, limits: JobLimits, surroundings: work.Surroundings) -> None:
        self._workers = workers
        self._surroundings = surroundings
        self._pools: dict[str, ProcessPool] = {}
        self.limits = limits

    def submit(self, job: work.Job) -> Future[Mapping[str, bytes]]:
        """Begin `job`; cancelling the future ends its process."""
        pool = self._pools.get(job.engine)
        if pool is None or not pool.active:
            pool = self._pools[job.engine] = ProcessPool(
                max_workers=self._workers,
                # Spawned, not forked: this process has threads, whose locks a fork would copy as they are.
                context=multiprocessing.get_context("spawn"),
                initializer=work.prepare,
                initargs=(job.engine, self._surroundings, self.limits.memory_mib),
            )
        future: Future[Mapping[str, bytes]] = pool.schedule(work.run, args=(job,), timeout=self.limits.seconds)
        return future

    @property
    def engines(self) -> frozenset[str]:
        """Those that have workers."""
        return frozenset(self._pools)

    def close_but(self, engines: Collection[str]) -> None:
        """End the workers of all engines but these."""
        for engine in self._pools.keys() - set(engines):
            _log.info("the workers of %s are ended: nothing is theirs any more", engine)
            self._end(engine)

    def stop(self) -> None:
        """End all, and what they do."""
        for engine in list(self._pools):
            self._end(engine)

    def _end(self, engine: str) -> None:
        pool = self._pools.pop(engine)
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def why_failed(error: Exception, limits: JobLimits) -> tuple[str, bool]:
    """Why a run failed, for its caller; and whether its worker died under it, which may be no fault of the run."""
    if isinstance(error, ProcessExpired | BrokenProcessPool):
        return "the worker died under it, more than once: see the pod's memory limit", True
    if isinstance(error, FutureTimeoutError):
        return f"it ran longer than {limits.seconds:g} s, which is the limit of one run, and was ended", False
    if isinstance(error, MemoryError):
        return f"it needed more than {limits.memory_mib} MiB, which is the limit of one run", False
    return f"{type(error).__name__}: {error}", False

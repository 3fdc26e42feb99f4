"""Worker processes, a pool an engine: a run that never ends, takes too much memory, or answers what is no answer, ends
alone."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

from adapters.backtesting import caches
from services.backtesting_service import work
from services.backtesting_service.exchange import Beginning, JobFailed, ask, begin
from services.backtesting_service.processes import Died, Garbled, Look, Process

START_SECONDS = 600.0
"""How long a worker may take until its engine is loaded. Compiled anew on a small machine, that is minutes."""
ANSWER_MIB = 1024
"""How large a result may be where runs may take any amount of memory; a million bars take about 170."""
WORKER = (sys.executable, "-m", "services.backtesting_service.worker")
_log = logging.getLogger(__name__)

type Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What one run may take: seconds, and MiB beyond what its engine has loaded; 0: any amount."""

    seconds: float = 3600.0
    memory_mib: int = 0

    @property
    def answer_bytes(self) -> int:
        """A result was in that memory before it is sent, several times over."""
        return min(self.memory_mib or ANSWER_MIB, ANSWER_MIB) << 20


class Doubtful(Garbled):
    """A worker sent it that had done other runs before: one of them may be to blame."""


class Pools:
    """Of one thread's. Each holds its engine once a worker: they are made when they are needed. `surroundings`: what
    workers may see beside the program."""

    def __init__(
        self, workers: int, limits: JobLimits, surroundings: work.Surroundings, command: Sequence[str] = WORKER
    ) -> None:
        self._workers = workers
        self._surroundings = surroundings
        self._command = command
        self._pools: dict[str, _Pool] = {}
        self.limits = limits

    def submit(self, job: work.Job) -> Future[Files]:
        """Begin `job`; cancelling the future ends its process."""
        pool = self._pools.get(job.engine)
        if pool is None:
            beginning = Beginning(job.engine, self._surroundings, self.limits.memory_mib)
            pool = self._pools[job.engine] = _Pool(self._workers, self.limits, beginning, self._command)
        return pool.submit(job)

    @property
    def engines(self) -> frozenset[str]:
        """Those that have workers."""
        return frozenset(self._pools)

    def close_but(self, engines: Collection[str]) -> None:
        """End the workers of all engines but these."""
        for engine in self._pools.keys() - set(engines):
            _log.info("the workers of %s are ended: nothing is theirs any more", engine)
            self._pools.pop(engine).stop()

    def stop(self) -> None:
        """End all, and what they do."""
        for engine in list(self._pools):
            self._pools.pop(engine).stop()


class _Pool:
    """The workers of one engine, each with a thread that waits for it."""

    def __init__(self, workers: int, limits: JobLimits, beginning: Beginning, command: Sequence[str]) -> None:
        self._workers, self._limits, self._beginning, self._command = workers, limits, beginning, command
        self._jobs: SimpleQueue[tuple[work.Job, Future[Files]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._under_way = 0
        self._stopped = threading.Event()

    def submit(self, job: work.Job) -> Future[Files]:
        """See Pools."""
        # It is pending until it is done: only such a future can be cancelled at any time.
        future: Future[Files] = Future()
        future.add_done_callback(self._settled)  # the first to hear of it: who hears next may ask again
        with self._lock:
            self._under_way += 1
            if len(self._threads) < min(self._under_way, self._workers):
                name = f"worker {len(self._threads)} of {self._beginning.engine}"
                self._threads.append(threading.Thread(target=self._serve, name=name, daemon=True))
                self._threads[-1].start()
        self._jobs.put((job, future))
        return future

    def stop(self) -> None:
        """End the workers; what they did, and what waits for them, is cancelled."""
        self._stopped.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _settled(self, _: Future[Files]) -> None:
        with self._lock:
            self._under_way -= 1

    def _serve(self) -> None:
        worker = _Worker(self._limits, self._beginning, self._command, self._stopped)
        while (taken := self._jobs.get()) is not None:
            worker.do(*taken)
            del taken  # and the result with it, before it waits for the next job
        worker.end()


class _Worker:
    """One thread's process: made when a job comes, and again when one comes after it ended."""

    def __init__(
        self, limits: JobLimits, beginning: Beginning, command: Sequence[str], stopped: threading.Event
    ) -> None:
        self._limits, self._beginning, self._command, self._stopped = limits, beginning, command, stopped
        self._process: Process | None = None
        self._used = False

    def do(self, job: work.Job, future: Future[Files]) -> None:
        """Settle `future` by what comes of `job`. Whoever hears that a run was ended finds its process gone, but for
        who cancels: that is heard at once, and done by the next look."""
        if self._stopped.is_set() or future.cancelled():
            future.cancel()
            return
        try:
            process = self._ready(future)
            files = ask(process, job, self._limits.answer_bytes, self._look(future, self._limits.seconds))
        except CancelledError:
            self.end()
            future.cancel()
        except JobFailed as failed:
            self._used = True
            _fail(future, failed.told)
        except Exception as error:
            _log.warning("a worker of %s is ended: %s: %s", self._beginning.engine, type(error).__name__, error)
            doubtful = isinstance(error, Garbled) and self._used
            self.end()
            _fail(future, Doubtful(str(error)) if doubtful else error)
        else:
            self._used = True
            with suppress(InvalidStateError):  # cancelled meanwhile
                future.set_result(files)

    def end(self) -> None:
        """Kill the process, if there is one."""
        process, self._process, self._used = self._process, None, False
        if process is not None:
            process.end()

    def _ready(self, future: Future[Files]) -> Process:
        """The process, with its engine loaded. Raises Died where none comes to that."""
        look = self._look(future, START_SECONDS)
        if self._process is not None and not self._process.quiet:
            _log.warning("a worker of %s died, or spoke unasked: another takes its place", self._beginning.engine)
            self.end()
        if self._process is None:
            try:
                self._process = Process(self._command, worker_environment())
                begin(self._process, self._beginning, look)
            except OSError as error:  # a TimeoutError is one
                raise Died(f"no worker came to be: {error}") from error
        return self._process

    def _look(self, future: Future[Files], seconds: float) -> Look:
        until = time.monotonic() + (seconds or math.inf)

        def look() -> None:
            if self._stopped.is_set() or future.cancelled():
                raise CancelledError
            if time.monotonic() > until:
                raise TimeoutError(f"not within {seconds:g} s")

        return look


def worker_environment() -> dict[str, str]:
    """This process's, with caches of compiled code that are the workers' own where none are named: what is compiled is
    unpickled when it is loaded, and a strategy of the user's may have written it. What runs unconfined beside them, as
    a sweep on a laptop, has others."""
    return caches.shared("workers") | os.environ


def _fail(future: Future[Files], error: Exception) -> None:
    with suppress(InvalidStateError):  # cancelled meanwhile
        future.set_exception(error)


def why_failed(error: Exception, limits: JobLimits) -> tuple[str, bool]:
    """Why a run failed, for its caller; and whether its worker was lost under it, which may be no fault of the run."""
    if isinstance(error, Died):
        return "the worker died under it, more than once: see the pod's memory limit", True
    if isinstance(error, Garbled):
        return f"what its worker sent is no answer, and the worker was ended: {error}", isinstance(error, Doubtful)
    if isinstance(error, TimeoutError):
        return f"it ran longer than {limits.seconds:g} s, which is the limit of one run, and was ended", False
    if isinstance(error, MemoryError):
        return f"it needed more than {limits.memory_mib} MiB, which is the limit of one run", False
    if isinstance(error, JobFailed):
        return str(error), False
    return f"{type(error).__name__}: {error}", False

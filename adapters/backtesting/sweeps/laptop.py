"""A sweep on this machine, in processes of its own, into a folder.

A piece is one task of a pool. What is not there is done; so the same call after any end, a kill among them, goes on.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from pebble import ProcessExpired, ProcessPool

from adapters.backtesting import open_engine
from adapters.backtesting.sweeps.cells import sweep_of
from adapters.backtesting.sweeps.confined import ConfinedDied, ConfinedPool
from adapters.backtesting.sweeps.confined import Order as ConfinedOrder
from adapters.backtesting.sweeps.folders import SweepFolder, own_source
from adapters.backtesting.sweeps.histories import csv_histories, legs_of
from adapters.backtesting.sweeps.progress import Progress
from adapters.backtesting.sweeps.running import Workshop, do_piece, workshop
from contracts.sweeps import Sweep, SweepAsked

ENGINE = "vectorbt"
"""Who runs what names no engine: the fast screen, for there is no route here."""
TRIES = 3
"""How many processes may die under a piece before it is given up."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A picklable order for a process: where the sweep lies, and its bars by symbol."""

    folder: Path
    sources: tuple[tuple[str, Path], ...]


@dataclass(slots=True)
class LocalRun:
    """What came of one call: pieces that are done now, those given up, and why."""

    sweep: Sweep
    before: int
    done: int = 0
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.done == self.sweep.indexes


def begin(asked: SweepAsked, folder: Path, sources: Mapping[str, Path], strategies: Path | None = None) -> Sweep:
    """Keep the sweep in `folder`, or find it there. `strategies`: the folder of the user's own, which this process
    knows (KNOWN). Raises ValueError where it cannot be run, or another is there."""
    legs = legs_of(asked, csv_histories(sources))
    sweep = sweep_of(asked, asked.engine or ENGINE, legs.sha256, len(legs.bars[0]))
    SweepFolder(folder).begin(sweep, own_source(sweep, strategies))
    return sweep


def run(
    sweep: Sweep,
    folder: Path,
    sources: Mapping[str, Path],
    processes: int,
    told: Callable[[Progress], None],
    strategies: Path | None = None,
) -> LocalRun:
    """Do what is left, by so many processes; `told` hears of it after each piece. Ctrl-C ends the processes, and is
    raised on: what is done stays. A strategy of the user's own, in the folder `strategies`, is run confined."""
    parts, began = SweepFolder(folder).parts, time.monotonic()
    done = parts.done()
    made = LocalRun(sweep, before=len(done), done=len(done))

    def tell() -> None:
        seconds = time.monotonic() - began
        told(Progress(made.done, sweep.indexes, made.before, len(made.failed), seconds))

    tell()
    pool = _pool(sweep, folder, sources, processes, strategies)
    try:
        _work(pool, [index for index in range(sweep.indexes) if index not in done], made, tell)
    finally:
        pool.stop()
    return made


def _pool(sweep: Sweep, folder: Path, sources: Mapping[str, Path], processes: int, strategies: Path | None) -> _Pool:
    if sweep.source_sha256 is None:
        return _Processes(Order(folder, tuple(sources.items())), processes)
    if strategies is None:
        raise ValueError(f"{sweep.asked.strategy} is a strategy of your own: name its folder, or nothing can be run")
    order = ConfinedOrder(sweep=sweep, strategies=strategies, sources=sources)
    return ConfinedPool(order, SweepFolder(folder).parts, processes)


class _Pool(Protocol):
    def begin(self, index: int) -> Future[bool]:
        """Do a piece."""

    def stop(self) -> None:
        """End all that is under way."""


class _Processes:
    """Of strategies that are shipped."""

    def __init__(self, order: Order, processes: int) -> None:
        self._order = order
        self._pool = ProcessPool(
            # Spawned, not forked: engines have threads, whose locks a fork would copy as they are.
            max_workers=processes, context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
        )  # fmt: skip

    def begin(self, index: int) -> Future[bool]:
        """See _Pool."""
        future: Future[bool] = self._pool.schedule(piece, args=(self._order, index))
        return future

    def stop(self) -> None:
        """See _Pool."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _work(pool: _Pool, left: list[int], made: LocalRun, tell: Callable[[], None]) -> None:
    tries = dict.fromkeys(left, 1)
    running = {pool.begin(index): index for index in left}
    while running:
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            index = running.pop(future)
            error = future.exception()
            if error is None:
                made.done += 1
            elif isinstance(error, ProcessExpired | ConfinedDied) and tries[index] < TRIES:
                # It may be innocent: the kernel may have ended it for want of memory elsewhere.
                tries[index] += 1
                running[pool.begin(index)] = index
                continue
            else:
                made.failed[index] = f"{type(error).__name__}: {error}"
                _log.error("piece %d is given up: %s", index, made.failed[index])
            tell()


def _ignore_interrupts() -> None:
    # The first process ends the others; a Ctrl-C to the whole group must not have each of them tell of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _workshop(order: Order) -> Workshop:
    sweep = SweepFolder(order.folder).sweep()
    if sweep is None:
        raise ValueError(f"{order.folder} holds no sweep any more")
    return workshop(sweep, csv_histories(dict(order.sources)), cache(lambda: open_engine(sweep.engine)))


def piece(order: Order, index: int) -> bool:
    """Do one piece, in a process of the pool; False where it was there."""
    return do_piece(_workshop(order), index, SweepFolder(order.folder).parts)

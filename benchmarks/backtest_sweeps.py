"""A sweep by one process and by two: what a second worker brings, loading and compiling included."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from adapters.backtesting.sweeps.laptop import begin, run
from adapters.csv_bars import SHIPPED
from benchmarks.frame import Figure, ratios, spread, take_turns
from contracts.sweeps import SweepAsked

ROUNDS = 3
ASKED = SweepAsked(
    strategy="sma_cross",
    symbol="SP500",
    engine="nautilus",
    max_drawdown=1.0,
    grid={"fast": [*range(5, 21)], "slow": [30, 40, 50, 60, 80, 100, 120, 150]},
    metric="sharpe",
    cells_per_index=4,
)
"""128 runs of NautilusTrader over twenty years of daily bars, in 32 pieces: a small sweep, with which the start of a
process weighs more than in one of thousands."""


def figures() -> list[Figure]:
    """The ratio of run times, and cells a second."""
    taken = take_turns(ROUNDS, {"one": lambda: _seconds(1), "two": lambda: _seconds(2)})
    gain, two = ratios(taken["one"], taken["two"]), spread(taken["two"])
    cores = len(os.sched_getaffinity(0))
    return [
        Figure(
            figure="a sweep: run time by one process : by two", value=gain.median, unit="x", limit=1.8, at_most=False,
            how=f"{ASKED.combinations} runs by {ASKED.engine} on {cores} cores, from start to results; {gain.text}",
        ),
        Figure(
            figure="a sweep by two processes", value=ASKED.combinations / two.median, unit="runs/s", at_most=False,
            how=f"{two.text} seconds",
        ),
    ]  # fmt: skip


def _seconds(processes: int) -> float:
    with tempfile.TemporaryDirectory(prefix="crossover-sweep-") as name:
        folder = Path(name)
        sweep = begin(ASKED, folder, SHIPPED)
        began = time.perf_counter()
        done = run(sweep, folder, SHIPPED, processes, lambda _: None)
        if not done.complete:
            raise RuntimeError(f"the sweep was not done: {done.failed}")
        return time.perf_counter() - began

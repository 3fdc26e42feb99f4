"""How fast backtests run, and in how much memory, as histories grow: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from adapters.backtesting import Rules, open_engine
from adapters.backtesting.strategies import BuyAndHold, SmaCross
from benchmarks.backtest_bars import minutes
from benchmarks.frame import Figure
from benchmarks.resident import MIB, peak
from contracts.backtests import SizeKind

SIZES = (5_000, 500_000, 5_000_000)
ENGINES = ("vectorbt", "nautilus")
_ROOT = Path(__file__).resolve().parents[1]


def figures() -> list[Figure]:
    """By engine and number of bars: bars a second, and how far memory rises above engine and history; and what a new
    process costs before its first bar."""
    found = []
    for engine in ENGINES:
        for bars in SIZES:
            seen = _measured(engine, bars)
            name = f"{engine}, {bars:,} bars"
            how = f"one run of sma 20/100 in a process that has run before; {seen['fills']} orders"
            found += [
                Figure(figure=f"{name}: speed", value=bars / seen["seconds"], unit="bars/s", at_most=False, how=how),
                Figure(
                    figure=f"{name}: memory above engine and history", value=seen["rise"] / MIB, unit="MiB",
                    at_most=True, how=f"{seen['rise'] / bars:.0f} bytes a bar",
                ),
            ]  # fmt: skip
            if bars == SIZES[0]:
                found += [
                    Figure(
                        figure=f"{engine}: a new process until its engine is there", value=seen["load"], unit="s",
                        at_most=True, how="imports; a worker that is warm has done it",
                    ),
                    Figure(
                        figure=f"{engine}: its first run beyond a later one", value=seen["first"] - seen["seconds"],
                        unit="s", at_most=True, how="what it compiles; 5,000 bars",
                    ),
                ]  # fmt: skip
    return found


def _measured(engine: str, bars: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.backtest_growth", engine, str(bars)],
        cwd=_ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(name: str, count: int) -> dict[str, float]:
    began = time.perf_counter()
    engine = open_engine(name)
    loaded = time.perf_counter() - began
    rules = Rules(size_kind=SizeKind.UNITS, size=100.0, max_position_size=1e12, max_drawdown=1.0)
    small, bars = minutes(SIZES[0]), minutes(count)
    began = time.perf_counter()
    engine.run(SmaCross(20, 100), [small], rules)
    first = time.perf_counter() - began
    engine.run(BuyAndHold(), [small], rules)
    began = time.perf_counter()
    outcome, memory = peak(lambda: engine.run(SmaCross(20, 100), [bars], rules))
    seconds = time.perf_counter() - began
    return {
        "load": loaded, "first": first, "seconds": seconds, "rise": memory.rise, "fills": len(outcome.fills),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))

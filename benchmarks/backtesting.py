"""What backtests cost by our adapters, beside the engines asked by hand, on one machine by turns.

`make bench NAME=backtesting` takes all parts in about ten minutes; `python -m benchmarks backtesting PART ...` some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import backtest_engines, backtest_growth, backtest_sweeps
from benchmarks.frame import Figure

PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "engines": backtest_engines.figures,
    "growth": backtest_growth.figures,
    "sweep": backtest_sweeps.figures,
}


def run(parts: Sequence[str] = ()) -> list[Figure]:
    """The figures of `parts`, of all where none is named. Raises KeyError for a part that is not there."""
    return [figure for part in parts or PARTS for figure in PARTS[part]()]

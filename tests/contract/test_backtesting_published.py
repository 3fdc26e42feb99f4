"""The engines against figures that others published, and against what another library made of the same bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapters.backtesting import Outcome, Rules, open_engine
from adapters.backtesting.measures import drawdowns, trades
from adapters.backtesting.strategies import BuyAndHold, DonchianBreakout, SmaCross, Strategy
from contracts.backtests import Execution, SizeKind
from tests.contract.backtest_worlds import shipped

pytestmark = pytest.mark.contract

engine_of = cache(open_engine)
ENGINES = ("memory", "vectorbt", "nautilus")
WITHOUT_LIMITS = Rules(
    initial_cash=1_000_000.0, lot=1e-6, size_kind=SizeKind.EQUITY, size=1.0, max_position_size=1e12, max_drawdown=1.0,
    execution=Execution.SAME_CLOSE,
)  # fmt: skip

YEARS = {
    "SP500": {2000: -0.1014, 2002: -0.2337, 2003: 0.2638, 2008: -0.3849, 2009: 0.2345, 2013: 0.2960, 2017: 0.1942},
    "NASDAQ": {2000: -0.3929, 2002: -0.3153, 2003: 0.5001, 2008: -0.4054, 2009: 0.4389, 2013: 0.3832, 2017: 0.2824},
}
"""Change of the index in a year without dividends, from last close to last close, as S&P Dow Jones Indices and Nasdaq
publish it."""
FALLS = {
    "SP500": (date(2007, 10, 9), date(2009, 3, 9), 0.5678),
    "NASDAQ": (date(2000, 3, 10), date(2002, 10, 9), 0.7793),
}
"""The deepest fall of the index between two closes: of 2007 to 2009, and of the dot-com years."""


@cache
def held(engine: str, symbol: str) -> Sequence[float]:
    """The equity of one who holds the index from the first close on, as a part of what was there."""
    outcome = engine_of(engine).run(BuyAndHold(), [shipped(symbol)], WITHOUT_LIMITS)
    assert len(outcome.fills) == 1 and outcome.halted is None
    return outcome.equity


@pytest.mark.parametrize("symbol", ["SP500", "NASDAQ"])
@pytest.mark.parametrize("engine", ENGINES)
def test_holding_an_index_comes_to_what_its_makers_publish(engine: str, symbol: str) -> None:
    bars, equity = shipped(symbol), held(engine, symbol)
    last = {bars.day(bar).year: worth for bar, worth in enumerate(equity)}
    changes = {year: last[year] / last[year - 1] - 1 for year in YEARS[symbol]}
    assert changes == pytest.approx(YEARS[symbol], abs=6e-5)  # they are published as percent with two decimals
    below = drawdowns(equity, 1.0)
    deepest = max(range(len(below)), key=below.__getitem__)
    highest = max(range(deepest), key=equity.__getitem__)
    peak, trough, fall = FALLS[symbol]
    assert (bars.day(highest), bars.day(deepest)) == (peak, trough)
    assert below[deepest] == pytest.approx(fall, abs=6e-5)


OTHER: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "backtesting_py.json").read_bytes())
"""What backtesting.py made of the shipped bars of the S&P 500: the script that asked it stands in the file."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at_close", [False, True], ids=["next open", "same close"])
@pytest.mark.parametrize(
    ("name", "strategy"), [("sma_cross", SmaCross(10, 30)), ("donchian", DonchianBreakout(20, 10))], ids=["sma", "don"]
)
def test_another_library_makes_the_same_trades(name: str, strategy: Strategy, at_close: bool, engine: str) -> None:
    theirs = OTHER[f"{name}_at_close" if at_close else name]
    rules = Rules(
        initial_cash=1_000_000.0, fees=0.001, size_kind=SizeKind.UNITS, size=100.0, max_position_size=1e12,
        max_drawdown=1.0, execution=Execution.SAME_CLOSE if at_close else Execution.NEXT_OPEN,
    )  # fmt: skip
    outcome = engine_of(engine).run(strategy, [shipped("SP500")], rules)
    assert _closed(outcome) == [pytest.approx(trade, rel=1e-9, abs=1e-6) for trade in theirs["trades"]]
    assert outcome.equity[-1] == pytest.approx(theirs["final_equity"], rel=1e-9)
    assert max(drawdowns(outcome.equity, 1_000_000.0)) == pytest.approx(theirs["max_drawdown"], rel=1e-6)


def _closed(outcome: Outcome) -> list[list[float]]:
    return [
        [trade.entry_bar, trade.exit_bar, trade.entry_price, trade.exit_price, trade.pnl]
        for trade in trades(outcome.fills)
        if trade.exit_bar is not None and trade.exit_price is not None and trade.pnl is not None
    ]

"""The contract of a backtesting engine (adapters/backtesting/base.py), on VectorBT and on the reference.

What the rules mean stands here as hand-worked cases; then VectorBT is held against the reference on
the shipped history, fill by fill and bar by bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import pytest

from adapters.backtesting import BacktestEngine, Outcome, Rules, open_engine
from adapters.backtesting.strategies import BuyAndHold, SmaCross, Strategy
from contracts.market import Bar, Side
from services.common.bars import SHIPPED, load_bars

pytestmark = pytest.mark.contract

engine_of = cache(open_engine)


@pytest.fixture(params=["memory", "vectorbt"])
def engine(request: pytest.FixtureRequest) -> BacktestEngine:
    return engine_of(request.param)


def history(*prices: tuple[float, float]) -> list[Bar]:
    """Bars of (open, close), a day apart."""
    first = date(2020, 1, 1)
    return [
        Bar(date=first + timedelta(days=n), open=o, high=max(o, c), low=min(o, c), close=c, volume=1.0)
        for n, (o, c) in enumerate(prices)
    ]


def test_a_buy_fills_at_the_next_open_in_whole_units_of_the_limit_at_the_deciding_close(engine: BacktestEngine) -> None:
    bars = history((99.0, 30.0), (40.0, 50.0), (50.0, 60.0))
    rules = Rules(initial_cash=10_000.0, max_position_size=100.0, fees=0.01, slippage=0.1)
    outcome = engine.run(BuyAndHold(), bars, rules)
    (fill,) = outcome.fills
    assert (fill.date, fill.side, fill.quantity) == (bars[1].date, Side.BUY, 3.0)
    assert fill.price == pytest.approx(44.0)
    assert fill.fee == pytest.approx(1.32)
    cash = 10_000.0 - 3 * 44.0 - 1.32
    assert outcome.equity == pytest.approx([10_000.0, cash + 3 * 50.0, cash + 3 * 60.0])
    assert outcome.halted is None


def test_cash_that_does_not_cover_the_size_buys_fewer_units_and_none_where_not_one(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (15.0, 15.0), (15.0, 16.0))
    few = engine.run(BuyAndHold(), bars, Rules(initial_cash=100.0, max_position_size=100.0, max_drawdown=0.9))
    assert [fill.quantity for fill in few.fills] == [6.0]
    none = engine.run(BuyAndHold(), bars, Rules(initial_cash=14.0, max_position_size=100.0))
    assert none.fills == ()
    assert none.equity == (14.0, 14.0, 14.0)


def test_a_position_limit_below_one_unit_buys_nothing(engine: BacktestEngine) -> None:
    outcome = engine.run(BuyAndHold(), history((10.0, 10.0), (10.0, 10.0)), Rules(max_position_size=9.0))
    assert outcome.fills == ()


def test_what_is_wanted_after_the_last_bar_is_not_done(engine: BacktestEngine) -> None:
    assert engine.run(BuyAndHold(), history((10.0, 10.0)), Rules()).fills == ()


def test_the_drawdown_limit_sells_at_the_next_open_and_ends_trading(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (10.0, 10.0), (10.0, 5.0), (4.0, 4.0), (4.0, 50.0), (50.0, 60.0))
    rules = Rules(initial_cash=100.0, max_position_size=100.0, max_drawdown=0.5)
    outcome = engine.run(BuyAndHold(), bars, rules)
    assert outcome.halted == bars[2].date
    assert [(fill.side, fill.date, fill.price) for fill in outcome.fills] == [
        (Side.BUY, bars[1].date, 10.0),
        (Side.SELL, bars[3].date, 4.0),
    ]
    assert outcome.equity == pytest.approx([100.0, 100.0, 50.0, 40.0, 40.0, 40.0])


def test_a_limit_met_at_the_last_close_stops_nothing_that_could_still_be_done(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (10.0, 10.0), (10.0, 1.0))
    outcome = engine.run(BuyAndHold(), bars, Rules(initial_cash=100.0, max_position_size=100.0))
    assert outcome.halted == bars[2].date
    assert [fill.side for fill in outcome.fills] == [Side.BUY]


RULES = [
    Rules(),
    Rules(fees=0.001, slippage=0.0005, max_drawdown=1.0),
    Rules(initial_cash=90_000.0, fees=0.002, slippage=0.001, max_drawdown=1.0),
    Rules(initial_cash=100_000.0, fees=0.001, max_position_size=500_000.0, max_drawdown=0.1),
    Rules(initial_cash=3_000.0, max_position_size=9_000.0, max_drawdown=1.0),
]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("strategy", [SmaCross(10, 30), SmaCross(3, 7), SmaCross(50, 200), BuyAndHold()])
@pytest.mark.parametrize("symbol", sorted(SHIPPED))
def test_vectorbt_does_what_the_reference_does(symbol: str, strategy: Strategy, rules: Rules) -> None:
    bars = shipped(symbol)
    expected, actual = (engine_of(name).run(strategy, bars, rules) for name in ("memory", "vectorbt"))
    assert_same(actual, expected)
    assert expected.fills


def test_the_comparison_sees_a_fill_that_is_one_unit_off() -> None:
    outcome = engine_of("memory").run(SmaCross(3, 7), shipped("SP500"), Rules())
    first, *rest = outcome.fills
    with pytest.raises(AssertionError):
        assert_same(replace(outcome, fills=(replace(first, quantity=first.quantity + 1), *rest)), outcome)


@cache
def shipped(symbol: str) -> Sequence[Bar]:
    return load_bars(SHIPPED[symbol])


def assert_same(actual: Outcome, expected: Outcome) -> None:
    assert [(f.date, f.side, f.quantity) for f in actual.fills] == [
        (f.date, f.side, f.quantity) for f in expected.fills
    ]
    assert [f.price for f in actual.fills] == pytest.approx([f.price for f in expected.fills], rel=1e-12)
    assert [f.fee for f in actual.fills] == pytest.approx([f.fee for f in expected.fills], rel=1e-9)
    assert actual.equity == pytest.approx(expected.equity, rel=1e-9)
    assert actual.halted == expected.halted

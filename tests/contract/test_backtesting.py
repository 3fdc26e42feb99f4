"""The contract of a backtesting engine (adapters/backtesting/base.py), on each engine and on the reference.

What the rules mean stands here as hand-worked cases; then the engines are held against the reference on the shipped
history, on intraday bars made from it and on bars at random, fill by fill and bar by bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import pytest

from adapters.backtesting import BacktestEngine, Fill, Outcome, Rules, open_engine
from adapters.backtesting.bars import Bars
from adapters.backtesting.strategies import (
    BollingerReversion,
    BuyAndHold,
    DonchianBreakout,
    EmaCross,
    PairReversion,
    RsiReversion,
    SmaCross,
    Strategy,
)
from contracts.backtests import Execution, LogEvent, OnDrawdown, OnPosition, SizeKind
from contracts.market import Bar, Side
from tests.contract.backtest_worlds import SpeaksOnCue, assert_same, intraday, shipped

pytestmark = pytest.mark.contract

engine_of = cache(open_engine)
REAL = ("vectorbt", "nautilus")


@pytest.fixture(params=["memory", *REAL])
def engine(request: pytest.FixtureRequest) -> BacktestEngine:
    return engine_of(request.param)


def history(*prices: tuple[float, float]) -> list[Bars]:
    """Bars of (open, close), a day apart."""
    first = date(2020, 1, 1)
    bars = [
        Bar(date=first + timedelta(days=n), open=o, high=max(o, c), low=min(o, c), close=c, volume=1.0)
        for n, (o, c) in enumerate(prices)
    ]
    return [Bars.daily("X", bars)]


def told(fills: Sequence[Fill]) -> list[tuple[int, Side, float, object]]:
    return [(fill.bar, fill.side, fill.quantity, pytest.approx(fill.price)) for fill in fills]


def test_a_buy_fills_at_the_next_open_in_whole_units_of_the_limit_at_the_deciding_close(engine: BacktestEngine) -> None:
    bars = history((99.0, 30.0), (40.0, 50.0), (50.0, 60.0))
    rules = Rules(initial_cash=10_000.0, max_position_size=100.0, fees=0.01, slippage=0.1)
    outcome = engine.run(BuyAndHold(), bars, rules)
    (fill,) = outcome.fills
    assert told(outcome.fills) == [(1, Side.BUY, 3.0, 44.0)]
    assert fill.fee == pytest.approx(1.32)
    cash = 10_000.0 - 3 * 44.0 - 1.32
    assert outcome.equity == pytest.approx([10_000.0, cash + 3 * 50.0, cash + 3 * 60.0])
    assert (outcome.halted, outcome.log) == (None, ())


def test_an_order_at_the_same_close_is_done_at_it(engine: BacktestEngine) -> None:
    bars = history((99.0, 30.0), (40.0, 50.0))
    rules = Rules(initial_cash=1_000.0, max_position_size=100.0, slippage=0.1, execution=Execution.SAME_CLOSE)
    outcome = engine.run(BuyAndHold(), bars, rules)
    assert told(outcome.fills) == [(0, Side.BUY, 3.0, 33.0)]
    assert outcome.equity == pytest.approx([1_000.0 - 9.0, 1_000.0 - 99.0 + 150.0])


def test_prices_are_rounded_to_a_tick_against_the_trader_and_each_order_pays_its_fee(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (10.01, 10.0), (10.01, 10.0))
    rules = Rules(initial_cash=100.0, max_position_size=20.0, slippage=0.01, tick=0.05, fee_per_order=1.5)
    outcome = engine.run(SpeaksOnCue({0: (1.0,), 1: (0.0,)}), bars, rules)
    assert told(outcome.fills) == [(1, Side.BUY, 2.0, 10.15), (2, Side.SELL, 2.0, 9.9)]
    assert [fill.fee for fill in outcome.fills] == pytest.approx([1.5, 1.5])
    assert outcome.equity[-1] == pytest.approx(100.0 - 0.5 - 3.0)


def test_lots_may_be_parts_of_a_unit(engine: BacktestEngine) -> None:
    rules = Rules(initial_cash=1_000.0, max_position_size=100.0, lot=0.1, max_drawdown=1.0)
    outcome = engine.run(BuyAndHold(), history((30.0, 30.0), (30.0, 30.0)), rules)
    assert [fill.quantity for fill in outcome.fills] == pytest.approx([3.3])


@pytest.mark.parametrize(
    ("kind", "size", "units"), [(SizeKind.VALUE, 250.0, 8.0), (SizeKind.UNITS, 7.5, 7.0), (SizeKind.EQUITY, 0.5, 16.0)]
)
def test_a_size_is_an_amount_or_units_or_a_part_of_the_equity(
    engine: BacktestEngine, kind: SizeKind, size: float, units: float
) -> None:
    rules = Rules(initial_cash=1_000.0, size_kind=kind, size=size)
    outcome = engine.run(BuyAndHold(), history((30.0, 30.0), (30.0, 30.0)), rules)
    assert [fill.quantity for fill in outcome.fills] == [units]


def test_cash_that_does_not_cover_the_size_buys_fewer_units_and_none_where_not_one(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (15.0, 15.0), (15.0, 16.0))
    few = engine.run(BuyAndHold(), bars, Rules(initial_cash=100.0, max_position_size=100.0, max_drawdown=0.9))
    assert [fill.quantity for fill in few.fills] == [6.0]
    none = engine.run(BuyAndHold(), bars, Rules(initial_cash=14.0, max_position_size=100.0))
    assert none.fills == ()
    assert none.equity == (14.0, 14.0, 14.0)
    assert [(one.bar, one.event, one.wanted, one.done) for one in (*few.log, *none.log)] == [
        (1, LogEvent.CASH_CLIPPED, 10.0, 6.0),
        (1, LogEvent.CASH_CLIPPED, 10.0, 0.0),
    ]


def test_a_position_limit_below_one_unit_buys_nothing(engine: BacktestEngine) -> None:
    outcome = engine.run(BuyAndHold(), history((10.0, 10.0), (10.0, 10.0)), Rules(max_position_size=9.0))
    assert outcome.fills == ()


@pytest.mark.parametrize("kind", [SizeKind.VALUE, SizeKind.EQUITY])
@pytest.mark.parametrize(
    ("on_position", "units", "event", "halted"),
    [
        (OnPosition.CLIP, [5.0, 5.0, 4.0], LogEvent.POSITION_CLIPPED, None),
        (OnPosition.REFUSE, [], LogEvent.POSITION_REFUSED, None),
        (OnPosition.HALT, [], LogEvent.POSITION_HALT, 0),
    ],
)
def test_a_position_above_its_limit_is_cut_refused_or_ends_trading(
    engine: BacktestEngine, kind: SizeKind, on_position: OnPosition, units: list[float], event: LogEvent, halted: int
) -> None:
    rules = Rules(
        initial_cash=100.0, size_kind=kind, size=80.0 if kind is SizeKind.VALUE else 0.8, max_position_size=50.0,
        on_position=on_position, max_drawdown=1.0,
    )  # fmt: skip
    bars = history((10.0, 10.0), (10.0, 10.0), (11.0, 11.0), (11.0, 11.0))
    outcome = engine.run(SpeaksOnCue({0: (1.0,), 1: (0.0,), 2: (1.0,)}), bars, rules)
    assert [fill.quantity for fill in outcome.fills] == units
    assert outcome.halted == halted
    assert [(one.bar, one.event) for one in outcome.log] == [(0, event), (2, event)][: 1 if halted == 0 else 2]
    assert outcome.log[0].wanted == 8.0


def test_what_is_wanted_after_the_last_bar_is_not_done(engine: BacktestEngine) -> None:
    assert engine.run(BuyAndHold(), history((10.0, 10.0)), Rules()).fills == ()


def test_the_drawdown_limit_sells_at_the_next_open_and_ends_trading(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (10.0, 10.0), (10.0, 5.0), (4.0, 4.0), (4.0, 50.0), (50.0, 60.0))
    rules = Rules(initial_cash=100.0, max_position_size=100.0, max_drawdown=0.5)
    outcome = engine.run(BuyAndHold(), bars, rules)
    assert outcome.halted == 2
    assert told(outcome.fills) == [(1, Side.BUY, 10.0, 10.0), (3, Side.SELL, 10.0, 4.0)]
    assert outcome.equity == pytest.approx([100.0, 100.0, 50.0, 40.0, 40.0, 40.0])
    assert [one.event for one in outcome.log] == [LogEvent.DRAWDOWN_HALT]


def test_a_drawdown_that_refuses_lets_sell_and_buy_again_when_it_is_over(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (10.0, 10.0), (10.0, 4.0), (4.0, 4.0), (4.0, 4.0), (4.0, 4.0))
    rules = Rules(initial_cash=100.0, max_position_size=100.0, max_drawdown=0.5, on_drawdown=OnDrawdown.REFUSE)
    cue = SpeaksOnCue({0: (1.0,), 2: (0.0,), 3: (1.0,)})
    outcome = engine.run(cue, bars, rules)
    assert [(fill.bar, fill.side) for fill in outcome.fills] == [(1, Side.BUY), (3, Side.SELL)]
    assert [(one.bar, one.event, one.wanted) for one in outcome.log] == [(3, LogEvent.DRAWDOWN_REFUSED, 25.0)]
    assert outcome.halted is None
    again = engine.run(cue, bars, replace(rules, max_drawdown=0.7))
    assert [(fill.bar, fill.side) for fill in again.fills] == [(1, Side.BUY), (3, Side.SELL), (4, Side.BUY)]


def test_a_limit_met_at_the_last_close_stops_nothing_that_could_still_be_done(engine: BacktestEngine) -> None:
    bars = history((10.0, 10.0), (10.0, 10.0), (10.0, 1.0))
    outcome = engine.run(BuyAndHold(), bars, Rules(initial_cash=100.0, max_position_size=100.0))
    assert outcome.halted == 2
    assert [fill.side for fill in outcome.fills] == [Side.BUY]


def test_what_is_sold_short_earns_when_it_falls_and_locks_its_proceeds_and_as_much_again(
    engine: BacktestEngine,
) -> None:
    legs = [*history((10.0, 10.0), (10.0, 10.0), (8.0, 8.0)), *history((10.0, 10.0), (10.0, 10.0), (10.0, 10.0))]
    rules = Rules(initial_cash=100.0, max_position_size=60.0, max_drawdown=1.0)
    outcome = engine.run(SpeaksOnCue({0: (-1.0, 1.0)}, legs=2), legs, rules)
    assert [(fill.leg, fill.side, fill.quantity) for fill in outcome.fills] == [(0, Side.SELL, 6.0), (1, Side.BUY, 4.0)]
    assert outcome.equity == pytest.approx([100.0, 100.0, 112.0])
    assert [(one.leg, one.event, one.wanted, one.done) for one in outcome.log] == [(1, LogEvent.CASH_CLIPPED, 6.0, 4.0)]


def test_an_order_may_go_from_held_to_sold_short_and_back(engine: BacktestEngine) -> None:
    bars = history(*[(10.0, 10.0)] * 5)
    rules = Rules(initial_cash=100.0, max_position_size=30.0, fees=0.01, fee_per_order=1.0, max_drawdown=1.0)
    outcome = engine.run(SpeaksOnCue({0: (1.0,), 1: (-1.0,), 2: (1.0,), 3: (0.0,)}), bars, rules)
    assert told(outcome.fills) == [
        (1, Side.BUY, 3.0, 10.0),
        (2, Side.SELL, 6.0, 10.0),
        (3, Side.BUY, 6.0, 10.0),
        (4, Side.SELL, 3.0, 10.0),
    ]
    assert [fill.fee for fill in outcome.fills] == pytest.approx([1.3, 1.6, 1.6, 1.3])


RULES = {
    "as they are by default": Rules(),
    "costs": Rules(fees=0.001, slippage=0.0005, max_drawdown=1.0),
    "little cash": Rules(initial_cash=90_000.0, fees=0.002, slippage=0.001, max_drawdown=1.0),
    "halted": Rules(initial_cash=100_000.0, fees=0.001, max_position_size=500_000.0, max_drawdown=0.1),
    "ticks": Rules(fees=0.001, slippage=0.0005, tick=0.25, fee_per_order=1.5, max_drawdown=0.05),
    "of the equity, cut": Rules(
        initial_cash=100_000.0, max_position_size=120_000.0, size_kind=SizeKind.EQUITY, size=1.0, fees=0.001,
        max_drawdown=0.9, execution=Execution.SAME_CLOSE, lot=0.01,
    ),
    "of the equity, refused": Rules(
        initial_cash=100_000.0, max_position_size=90_000.0, size_kind=SizeKind.EQUITY, size=0.9, fees=0.001,
        max_drawdown=0.2, on_drawdown=OnDrawdown.REFUSE, on_position=OnPosition.REFUSE,
    ),
    "units, ended": Rules(
        initial_cash=90_000.0, max_position_size=120_000.0, size_kind=SizeKind.UNITS, size=80.0, fees=0.002,
        slippage=0.01, on_position=OnPosition.HALT, max_drawdown=0.6,
    ),
}  # fmt: skip
STRATEGIES: list[Strategy] = [
    SmaCross(10, 30), SmaCross(3, 7), SmaCross(50, 200), EmaCross(), RsiReversion(), BollingerReversion(),
    DonchianBreakout(), BuyAndHold(), PairReversion(),
]  # fmt: skip


CASES = [
    pytest.param(symbol, strategy, rules, id=f"{symbol} {strategy.name} {name}")
    for number, (name, rules) in enumerate(RULES.items())
    for place, strategy in enumerate(STRATEGIES)
    for symbol in (("SP500", "NASDAQ")[(number + place) % 2],)
]
"""Each strategy under all rules, on both histories in turn."""


@pytest.mark.parametrize(("symbol", "strategy", "rules"), CASES)
def test_each_engine_does_on_twenty_years_what_the_reference_does(
    symbol: str, strategy: Strategy, rules: Rules
) -> None:
    legs = [shipped(symbol), shipped("NASDAQ" if symbol == "SP500" else "SP500")][: strategy.legs]
    expected = engine_of("memory").run(strategy, legs, rules)
    for name in REAL:
        assert_same(engine_of(name).run(strategy, legs, rules), expected)
    assert expected.fills or expected.halted is not None


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_each_engine_does_on_intraday_bars_what_the_reference_does(strategy: Strategy) -> None:
    legs = [intraday("SP500"), intraday("NASDAQ")][: strategy.legs]
    rules = Rules(fees=0.0005, slippage=0.0002, tick=0.01, max_drawdown=1.0)
    expected = engine_of("memory").run(strategy, legs, rules)
    for name in REAL:
        assert_same(engine_of(name).run(strategy, legs, rules), expected)
    assert expected.fills or expected.halted is not None


def test_the_comparison_sees_a_fill_that_is_one_unit_off() -> None:
    outcome = engine_of("memory").run(SmaCross(3, 7), [shipped("SP500")], Rules())
    first, *rest = outcome.fills
    wrong: Outcome = replace(outcome, fills=(replace(first, quantity=first.quantity + 1), *rest))
    with pytest.raises(AssertionError):
        assert_same(wrong, outcome)

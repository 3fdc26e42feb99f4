"""The engines against a third account of the rules, and against bars at random."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.backtesting import Rules, open_engine
from adapters.backtesting.bars import DAY_NS, Bars
from adapters.backtesting.strategies import BollingerReversion, DonchianBreakout, SmaCross, Strategy
from contracts.backtests import Execution, OnDrawdown, OnPosition, SizeKind
from tests.contract import plain_backtest
from tests.contract.backtest_worlds import SpeaksOnCue, assert_same, intraday, shipped

pytestmark = pytest.mark.contract

engine_of = cache(open_engine)
ENGINES = ("memory", "vectorbt", "nautilus")


def wanted(strategy: Strategy, bars: Bars) -> Any:
    if isinstance(strategy, SmaCross):
        return plain_backtest.sma(bars.close, strategy.fast, strategy.slow)
    if isinstance(strategy, BollingerReversion):
        return plain_backtest.bollinger(bars.close, strategy.period, strategy.width)
    assert isinstance(strategy, DonchianBreakout)
    return plain_backtest.donchian(bars.high, bars.low, bars.close, strategy.entry, strategy.leave)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("strategy", [SmaCross(10, 30), BollingerReversion(), DonchianBreakout()], ids=lambda s: s.name)
@pytest.mark.parametrize("bars", [shipped("NASDAQ"), intraday("SP500")], ids=["daily", "intraday"])
@pytest.mark.parametrize("at_close", [False, True])
def test_an_independent_account_of_the_rules_comes_to_the_same(
    name: str, strategy: Strategy, bars: Bars, at_close: bool
) -> None:
    rules = Rules(
        initial_cash=110_000.0, fees=0.001, fee_per_order=2.0, slippage=0.0005, tick=0.01, max_drawdown=0.25,
        execution=Execution.SAME_CLOSE if at_close else Execution.NEXT_OPEN,
    )  # fmt: skip
    outcome = engine_of(name).run(strategy, [bars], rules)
    expected = plain_backtest.plain(
        bars, wanted(strategy, bars), cash=110_000.0, fees=0.001, fixed=2.0, slippage=0.0005, drawdown=0.25, tick=0.01,
        at_close=at_close,
    )  # fmt: skip
    signed = [(fill.bar, fill.quantity if fill.side == "buy" else -fill.quantity) for fill in outcome.fills]
    assert signed == [(bar, units) for bar, units, _, _ in expected.orders]
    assert [fill.price for fill in outcome.fills] == pytest.approx([price for _, _, price, _ in expected.orders])
    assert [fill.fee for fill in outcome.fills] == pytest.approx([fee for *_, fee in expected.orders])
    assert outcome.equity == pytest.approx(expected.equity, rel=1e-9)
    assert outcome.halted == expected.halted
    assert len(signed) > 20 or outcome.halted


PRICES = st.floats(1.0, 500.0).map(lambda price: round(price, 2))


@st.composite
def cases(draw: st.DrawFn) -> tuple[SpeaksOnCue, list[Bars], Rules]:
    """Any prices, any wants, any rules."""
    legs, count = draw(st.integers(1, 2)), draw(st.integers(2, 12))
    opened = np.arange(count, dtype=np.int64) * DAY_NS
    history = []
    for leg in range(legs):
        columns = {name: np.array(draw(st.lists(PRICES, min_size=count, max_size=count))) for name in ("open", "close")}
        high, low = np.maximum(columns["open"], columns["close"]), np.minimum(columns["open"], columns["close"])
        history.append(
            Bars(
                symbol=f"S{leg}",
                high=high,
                low=low,
                volume=np.ones(count),
                opened=opened,
                closed=opened + (DAY_NS - 1),
                **columns,
            )
        )
    side = st.tuples(*[st.sampled_from([-1.0, 0.0, 1.0])] * legs)
    cues = draw(st.dictionaries(st.integers(0, count - 1), side, max_size=count))
    kind = draw(st.sampled_from(SizeKind))
    sizes = {SizeKind.VALUE: (1.0, 4_000.0), SizeKind.UNITS: (1.0, 50.0), SizeKind.EQUITY: (0.05, 1.0)}
    rules = Rules(
        initial_cash=draw(st.floats(50.0, 5_000.0)),
        fees=draw(st.sampled_from([0.0, 0.001, 0.02])),
        fee_per_order=draw(st.sampled_from([0.0, 1.0])),
        slippage=draw(st.sampled_from([0.0, 0.01])),
        tick=draw(st.sampled_from([0.0, 0.01, 0.25])),
        lot=draw(st.sampled_from([1.0, 0.5, 0.01])),
        size_kind=kind,
        size=draw(st.none() | st.floats(*sizes[kind])),
        execution=draw(st.sampled_from(Execution)),
        max_position_size=draw(st.floats(20.0, 3_000.0)),
        on_position=draw(st.sampled_from(OnPosition)),
        max_drawdown=draw(st.sampled_from([0.05, 0.3, 1.0])),
        on_drawdown=draw(st.sampled_from(OnDrawdown)),
    )
    return SpeaksOnCue(cues, legs), history, rules


@pytest.mark.parametrize("name", ["vectorbt", "nautilus"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(case=cases())
def test_on_any_bars_wants_and_rules_an_engine_does_what_the_reference_does(
    name: str, case: tuple[SpeaksOnCue, list[Bars], Rules]
) -> None:
    strategy, legs, rules = case
    assert_same(engine_of(name).run(strategy, legs, rules), engine_of("memory").run(strategy, legs, rules))

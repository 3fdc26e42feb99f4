"""A long history is put to NautilusTrader in parts: orders and positions live on over their edges, and what is over is
kept no longer, for each trade would cost a copy of all before it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.backtesting import Rules, nautilus_engine, open_engine
from adapters.backtesting.strategies import BollingerReversion, PairReversion, Strategy
from tests.contract.backtest_worlds import assert_same, intraday

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("strategy", [BollingerReversion(10, 1.0), PairReversion(20, 1.0, 0.2)], ids=lambda s: s.name)
def test_parts_come_to_what_the_whole_does_and_keep_what_is_open_alone(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs = [intraday("SP500", 200), intraday("NASDAQ", 200)][: strategy.legs]
    rules = Rules(fees=0.0005, slippage=0.0002, max_drawdown=1.0)
    kept: list[tuple[int, int]] = []
    forget = nautilus_engine._forget

    def seen(engine: Any) -> None:
        forget(engine)
        kept.append((engine.cache.orders_total_count(), engine.cache.positions_total_count()))

    monkeypatch.setattr(nautilus_engine, "_forget", seen)
    monkeypatch.setattr(nautilus_engine, "_CHUNK", 7)
    outcome = open_engine("nautilus").run(strategy, legs, rules)
    assert_same(outcome, open_engine("memory").run(strategy, legs, rules))
    assert len(outcome.fills) > 30
    assert len(kept) > 100
    assert max(positions for _, positions in kept) == strategy.legs
    assert max(orders for orders, _ in kept) == 0

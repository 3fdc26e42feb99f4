"""Trades and figures, by hand."""

from __future__ import annotations

import math

import pytest

from adapters.backtesting import Fill, Rules
from adapters.backtesting.measures import drawdowns, figures, returns, trades
from contracts.market import Side


def fill(bar: int, quantity: float, price: float, fee: float = 0.0, leg: int = 0) -> Fill:
    side = Side.BUY if quantity > 0 else Side.SELL
    return Fill(bar=bar, leg=leg, side=side, quantity=abs(quantity), price=price, fee=fee)


def test_a_position_is_a_trade_and_the_last_may_be_open() -> None:
    closed, held = trades([fill(1, 10, 5.0, 1.0), fill(3, -10, 7.0, 2.0), fill(4, 4, 6.0)])
    assert (closed.entry_bar, closed.exit_bar, closed.pnl, closed.fees) == (1, 3, 17.0, 3.0)
    assert (held.entry_bar, held.exit_bar, held.pnl, held.quantity) == (4, None, None, 4.0)


def test_what_is_sold_short_gains_when_it_falls() -> None:
    (trade,) = trades([fill(1, -10, 7.0, 1.0), fill(3, 10, 5.0, 1.0)])
    assert (trade.side, trade.pnl) == (Side.SELL, 18.0)


def test_an_order_through_nothing_ends_a_trade_and_begins_the_next_with_its_fee_in_parts() -> None:
    first, second = trades([fill(1, 3, 10.0), fill(2, -6, 11.0, 1.2)])
    assert [first.exit_price, first.pnl, first.fees] == pytest.approx([11.0, 2.4, 0.6])
    assert [second.quantity, second.entry_price, second.fees] == pytest.approx([3.0, 11.0, 0.6])
    assert second.side is Side.SELL


def test_a_position_that_grows_and_leaves_in_parts_has_mean_prices() -> None:
    (trade,) = trades([fill(1, 2, 10.0), fill(2, 2, 12.0), fill(3, -1, 13.0), fill(5, -3, 15.0)])
    assert (trade.entry_price, trade.exit_price, trade.exit_bar, trade.pnl) == (11.0, 14.5, 5, 14.0)


def test_legs_are_told_apart() -> None:
    made = trades([fill(1, 1, 10.0), fill(1, -1, 20.0, leg=1), fill(2, -1, 11.0), fill(2, 1, 19.0, leg=1)])
    assert [(trade.leg, trade.pnl) for trade in made] == [(0, 1.0), (1, 1.0)]


def test_drawdowns_and_returns_begin_at_the_initial_cash() -> None:
    assert drawdowns([90.0, 120.0, 60.0], 100.0) == pytest.approx([0.1, 0.0, 0.5])
    assert returns([90.0, 120.0, 60.0], 100.0) == pytest.approx([-0.1, 1 / 3, -0.5])


def test_figures_of_a_run_that_is_worked_by_hand() -> None:
    fills = [fill(1, 10, 10.0, 1.0), fill(3, -10, 11.0, 1.0)]
    equity = [100.0, 99.0, 104.0, 108.0]
    found = figures(fills, equity, Rules(initial_cash=100.0), 252.0)
    assert (found.final_equity, found.trades, found.win_rate) == (108.0, 1, 1.0)
    assert found.total_return == pytest.approx(0.08)
    assert (found.exposure, found.turnover, found.fees_paid, found.profit_factor) == (0.5, 2.1, 2.0, None)
    assert found.max_drawdown == pytest.approx(0.01)
    changes = [-0.01, 104 / 99 - 1, 108 / 104 - 1]
    mean = sum(changes) / 3
    spread = math.sqrt(sum((change - mean) ** 2 for change in changes) / 2)
    assert found.sharpe == pytest.approx(mean / spread * math.sqrt(252))
    assert found.annual_return == pytest.approx(1.08 ** (252 / 3) - 1)
    assert found.calmar == pytest.approx((1.08 ** (252 / 3) - 1) / 0.01)


def test_where_nothing_moved_there_is_no_ratio() -> None:
    found = figures([], [100.0, 100.0, 100.0], Rules(initial_cash=100.0), 252.0)
    assert (found.sharpe, found.sortino, found.calmar, found.win_rate) == (None, None, None, None)
    assert (found.exposure, found.turnover, found.max_drawdown) == (0.0, 0.0, 0.0)

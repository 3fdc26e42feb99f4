"""What a backtest amounts to: trades and figures, from fills and equity. The same for every engine, so that
engines can only differ in what they did, never in how it is counted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from adapters.backtesting.base import Fill, Rules
from contracts.market import Side

BARS_A_YEAR = 252
"""Trading days a year, for what is annualised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A buy and its sale; the last may be open (`exit_date` None). `pnl` is after fees, None while open."""

    entry_date: date
    entry_price: float
    quantity: float
    exit_date: date | None
    exit_price: float | None
    fees: float
    pnl: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Fractions of 1, but for `final_equity` (an amount), `sharpe` (annualised, no risk-free rate; None where
    nothing moved) and the counts. `win_rate` is None where no trade was closed."""

    final_equity: float
    total_return: float
    max_drawdown: float
    sharpe: float | None
    trades: int
    win_rate: float | None
    fees_paid: float


def trades(fills: Sequence[Fill]) -> list[Trade]:
    """Buys with their sales. Fills come in turns: whole positions only (rule 2)."""
    made: list[Trade] = []
    entry: Fill | None = None
    for fill in fills:
        if fill.side is Side.BUY:
            entry = fill
        elif entry is not None:
            fees = entry.fee + fill.fee
            made.append(_trade(entry, fill, fees, (fill.price - entry.price) * entry.quantity - fees))
            entry = None
    if entry is not None:
        made.append(_trade(entry, None, entry.fee, None))
    return made


def _trade(entry: Fill, leaving: Fill | None, fees: float, pnl: float | None) -> Trade:
    return Trade(
        entry_date=entry.date,
        entry_price=entry.price,
        quantity=entry.quantity,
        exit_date=leaving.date if leaving else None,
        exit_price=leaving.price if leaving else None,
        fees=fees,
        pnl=pnl,
    )


def figures(fills: Sequence[Fill], equity: Sequence[float], rules: Rules) -> Figures:
    """The figures of one run over at least one bar."""
    closed = [trade.pnl for trade in trades(fills) if trade.pnl is not None]
    highest = rules.initial_cash
    drawdown = 0.0
    for worth in equity:
        highest = max(highest, worth)
        drawdown = max(drawdown, 1 - worth / highest)
    return Figures(
        final_equity=equity[-1],
        total_return=equity[-1] / rules.initial_cash - 1,
        max_drawdown=drawdown,
        sharpe=_sharpe(equity),
        trades=sum(fill.side is Side.BUY for fill in fills),
        win_rate=sum(pnl > 0 for pnl in closed) / len(closed) if closed else None,
        fees_paid=sum(fill.fee for fill in fills),
    )


def _sharpe(equity: Sequence[float]) -> float | None:
    returns = [after / before - 1 for before, after in pairwise(equity)]
    if len(returns) < 2:
        return None
    spread = statistics.stdev(returns)
    return statistics.fmean(returns) / spread * math.sqrt(BARS_A_YEAR) if spread else None

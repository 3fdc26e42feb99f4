"""What a backtest amounts to: trades and figures, from fills and equity. The same for every engine, so that
engines can only differ in what they did, never in how it is counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from adapters.backtesting.base import Fill, Rules
from contracts.market import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A position of leg number `leg`, from nothing to nothing; the last of a leg may be open (`exit_bar` None). `side`:
    BUY where it was held, SELL where it was sold short. Prices are means over what entered and left; `pnl` is after
    fees, None while open. Bars by number."""

    leg: int
    side: Side
    entry_bar: int
    entry_price: float
    quantity: float
    exit_bar: int | None
    exit_price: float | None
    fees: float
    pnl: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Fractions of 1, but for `final_equity` and `fees_paid` (amounts), counts, and ratios. What is a year's is
    annualised by bars a year; ratios have no risk-free rate and are None where their divisor is 0:

    `sharpe`: mean by standard deviation of returns (W. Sharpe); `sortino`: by the root of the mean square of those
    below 0 (F. Sortino); `calmar`: `annual_return` by `max_drawdown` (T. Young); `profit_factor`: gains of closed
    trades by losses. `win_rate` is None where no trade was closed. `exposure`: of all bars, those at whose end
    something was held. `turnover`: what was bought and sold, by the initial cash."""

    final_equity: float
    total_return: float
    annual_return: float | None
    volatility: float | None
    max_drawdown: float
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    trades: int
    win_rate: float | None
    profit_factor: float | None
    exposure: float
    turnover: float
    fees_paid: float


@dataclass(slots=True)
class _Open:
    trade: Trade
    left: float
    """Units not yet left."""
    value: float
    """Of what left."""


def trades(fills: Sequence[Fill]) -> list[Trade]:
    """The positions that `fills` make, by the time of their entry. A fill that goes through nothing, from held to sold
    short or back, ends one and begins the next, with its fee in parts."""
    made: list[Trade] = []
    held: dict[int, _Open] = {}
    for fill in fills:
        position, quantity, fee = held.get(fill.leg), fill.quantity, fill.fee
        if position is not None and position.trade.side is not fill.side:
            closing = min(quantity, position.left)
            part = fee * closing / quantity
            _leave(position, fill, closing, part)
            if position.left <= 1e-9 * position.trade.quantity:
                made.append(_closed(held.pop(fill.leg), fill))
                position = None
            quantity, fee = quantity - closing, fee - part
        if quantity > 1e-9 * fill.quantity:
            held[fill.leg] = _entered(position, fill, quantity, fee)
    made += [position.trade for position in held.values()]
    return sorted(made, key=lambda trade: (trade.entry_bar, trade.leg))


def _leave(position: _Open, fill: Fill, quantity: float, fee: float) -> None:
    position.left -= quantity
    position.value += quantity * fill.price
    position.trade = replace(position.trade, fees=position.trade.fees + fee)


def _closed(position: _Open, fill: Fill) -> Trade:
    trade = position.trade
    way = 1 if trade.side is Side.BUY else -1
    gain = way * (position.value - trade.entry_price * trade.quantity) - trade.fees
    return replace(trade, exit_bar=fill.bar, exit_price=position.value / trade.quantity, pnl=gain)


def _entered(position: _Open | None, fill: Fill, quantity: float, fee: float) -> _Open:
    if position is None:
        trade = Trade(
            leg=fill.leg, side=fill.side, entry_bar=fill.bar, entry_price=fill.price, quantity=quantity, exit_bar=None,
            exit_price=None, fees=fee, pnl=None,
        )  # fmt: skip
        return _Open(trade, quantity, 0.0)
    trade, whole = position.trade, position.trade.quantity + quantity
    price = (trade.entry_price * trade.quantity + fill.price * quantity) / whole
    trade = replace(trade, entry_price=price, quantity=whole, fees=trade.fees + fee)
    return _Open(trade, position.left + quantity, position.value)


def drawdowns(equity: Sequence[float], initial: float) -> list[float]:
    """How far each value lies below the highest so far, `initial` included; a fraction of that."""
    highest, found = initial, []
    for worth in equity:
        highest = max(highest, worth)
        found.append(1 - worth / highest)
    return found


def returns(equity: Sequence[float], initial: float) -> list[float]:
    """The change of each value from the one before, the first from `initial`; a fraction of that."""
    return [after / before - 1 if before else 0.0 for before, after in pairwise([initial, *equity])]


def figures(fills: Sequence[Fill], equity: Sequence[float], rules: Rules, a_year: float) -> Figures:
    """The figures of one run over at least one bar, of which a year has `a_year`."""
    made = trades(fills)
    closed = [trade.pnl for trade in made if trade.pnl is not None]
    gains, losses = sum(pnl for pnl in closed if pnl > 0), -sum(pnl for pnl in closed if pnl < 0)
    changes = returns(equity, equity[0])[1:]
    deepest = max(drawdowns(equity, rules.initial_cash))
    total = equity[-1] / rules.initial_cash - 1
    annual = (1 + total) ** (a_year / len(changes)) - 1 if changes and total > -1 else None
    spread = _deviation(changes)
    below = math.sqrt(sum(min(0.0, change) ** 2 for change in changes) / len(changes)) if changes else 0.0
    mean, year = (sum(changes) / len(changes) if changes else 0.0), math.sqrt(a_year)
    return Figures(
        final_equity=equity[-1],
        total_return=total,
        annual_return=annual,
        volatility=spread * year if spread is not None else None,
        max_drawdown=deepest,
        sharpe=mean / spread * year if spread else None,
        sortino=mean / below * year if below else None,
        calmar=annual / deepest if annual is not None and deepest else None,
        trades=len(made),
        win_rate=sum(pnl > 0 for pnl in closed) / len(closed) if closed else None,
        profit_factor=gains / losses if losses else None,
        exposure=_exposure(made, len(equity)),
        turnover=sum(fill.quantity * fill.price for fill in fills) / rules.initial_cash,
        fees_paid=sum(fill.fee for fill in fills),
    )


def _deviation(changes: Sequence[float]) -> float | None:
    if len(changes) < 2:
        return None
    mean = math.fsum(changes) / len(changes)
    return math.sqrt(math.fsum((change - mean) ** 2 for change in changes) / (len(changes) - 1))


def _exposure(made: Sequence[Trade], bars: int) -> float:
    """By trades of all legs, whose bars are counted once."""
    held, reached = 0, 0
    for trade in made:
        first, last = max(trade.entry_bar, reached), bars if trade.exit_bar is None else trade.exit_bar
        held += max(0, last - first)
        reached = max(reached, last)
    return held / bars

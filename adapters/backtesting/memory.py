"""The shipped fake, and the reference: the rules of base.py, written out bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import override

from adapters.backtesting.base import BacktestEngine, Fill, Outcome, Rules
from adapters.backtesting.strategies import Strategy, decisions
from contracts.market import Bar, Side


@dataclass(slots=True)
class _Account:
    cash: float
    units: float = 0.0
    highest: float = 0.0
    long: bool = False
    """Whether the last thing done was a buy, if only of nothing: cash did not cover one unit."""


class ReferenceEngine(BacktestEngine):
    """Slow and plain: what other engines are held against."""

    name = "memory"
    version = "1"

    @override
    def run(self, strategy: Strategy, bars: Sequence[Bar], rules: Rules) -> Outcome:
        wanted = decisions(strategy, [bar.close for bar in bars])
        account = _Account(rules.initial_cash, highest=rules.initial_cash)
        fills: list[Fill] = []
        equity: list[float] = []
        halted: date | None = None
        for number, bar in enumerate(bars):
            side = wanted[number - 1] if number else None
            if halted is not None:
                side = Side.SELL if account.units else None
            fill = _fill(account, side, bar, bars[number - 1].close, rules)
            if fill is not None:
                fills.append(fill)
            worth = account.cash + account.units * bar.close
            equity.append(worth)
            account.highest = max(account.highest, worth)
            if halted is None and worth <= account.highest * (1 - rules.max_drawdown):
                halted = bar.date
        return Outcome(
            engine=self.name,
            engine_version=self.version,
            fills=tuple(fills),
            equity=tuple(equity),
            halted=halted,
        )


def _fill(account: _Account, side: Side | None, bar: Bar, decided_at: float, rules: Rules) -> Fill | None:
    if side is Side.BUY and not account.long:
        account.long = True
        price = bar.open * (1 + rules.slippage)
        units = min(rules.max_position_size // decided_at, account.cash // (price * (1 + rules.fees)))
        if units <= 0:
            return None
        fee = units * price * rules.fees
        account.cash -= units * price + fee
        account.units = units
        return Fill(date=bar.date, side=side, quantity=units, price=price, fee=fee)
    if side is Side.SELL:
        account.long = False
    if side is Side.SELL and account.units > 0:
        units, price = account.units, bar.open * (1 - rules.slippage)
        fee = units * price * rules.fees
        account.cash += units * price - fee
        account.units = 0.0
        return Fill(date=bar.date, side=side, quantity=units, price=price, fee=fee)
    return None

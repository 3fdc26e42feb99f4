"""The shipped fake, and the reference: the rules of base.py, written out bar by bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import override

from adapters.backtesting.account import Account, Held, fill_price
from adapters.backtesting.bars import Bars
from adapters.backtesting.base import BacktestEngine, Fill, Outcome, Rules
from adapters.backtesting.desk import Change, Desk, Target
from adapters.backtesting.strategies import Strategy
from contracts.backtests import Execution
from contracts.market import Side


class Decider:
    """Steps a strategy, and tells what it wants where that is something else than before."""

    def __init__(self, strategy: Strategy) -> None:
        self._decide, self._numbers = strategy.decide, strategy.numbers
        self._state = strategy.state()
        self._nothing = [math.nan] * strategy.legs
        self._wanted = list(self._nothing)
        self._now = [0.0] * strategy.legs

    def step(self, prices: Sequence[Sequence[float]]) -> list[Change]:
        """After bars with these prices: open, high, low, close, by leg."""
        wanted = self._wanted
        self._decide(self._state, self._numbers, prices, wanted)
        if wanted == self._nothing:  # of the same NaN, which is itself
            return []
        changes = [
            (leg, value) for leg, value in enumerate(wanted) if not math.isnan(value) and value != self._now[leg]
        ]
        for leg, value in changes:
            self._now[leg] = value
        wanted[:] = self._nothing
        return changes


def last_decision(legs: Sequence[Bars], rules: Rules) -> int:
    """The bar from which on nothing that is wanted can be done any more."""
    return len(legs[0]) - (rules.execution is Execution.NEXT_OPEN)


class ReferenceEngine(BacktestEngine):
    """Slow and plain: what other engines are held against."""

    name = "memory"
    version = "2"

    @override
    def run(self, strategy: Strategy, legs: Sequence[Bars], rules: Rules) -> Outcome:
        account = Account(rules.initial_cash, [Held() for _ in legs])
        desk, decider = Desk(rules, len(legs)), Decider(strategy)
        fills: list[Fill] = []
        equity: list[float] = []
        waiting: list[Target] = []
        last = last_decision(legs, rules)
        for number in range(len(legs[0])):
            closes = [float(bars.close[number]) for bars in legs]
            if rules.execution is Execution.NEXT_OPEN:
                opens = [float(bars.open[number]) for bars in legs]
                _fill(number, waiting, opens, account, desk, rules, fills)
            worth = _worth(account, closes, rules)
            prices = [
                (float(bars.open[number]), float(bars.high[number]), float(bars.low[number]), close)
                for bars, close in zip(legs, closes, strict=True)
            ]
            changes = decider.step(prices) if number < last else []
            waiting = desk.targets(number, changes, worth, closes, desk.mark(worth))
            if rules.execution is Execution.SAME_CLOSE:
                _fill(number, waiting, closes, account, desk, rules, fills)
            equity.append(_worth(account, closes, rules))
        return Outcome(
            engine=self.name,
            engine_version=self.version,
            fills=tuple(fills),
            equity=tuple(equity),
            halted=desk.halted,
            log=tuple(desk.log),
        )


def _worth(account: Account, closes: Sequence[float], rules: Rules) -> float:
    return account.cash + sum(
        [held.lots * (close * rules.lot) for held, close in zip(account.legs, closes, strict=True)]
    )


def _fill(
    bar: int, targets: Sequence[Target], prices: Sequence[float], account: Account, desk: Desk, rules: Rules,
    fills: list[Fill],
) -> None:  # fmt: skip
    for leg, target in targets:
        lots = target - account.legs[leg].lots
        if not lots:
            continue
        side = Side.BUY if lots > 0 else Side.SELL
        price = fill_price(prices[leg], side, rules)
        done = account.affordable(leg, lots, price * rules.lot, rules)
        desk.done(bar, leg, lots, done)
        if done:
            fee = account.fill(leg, done, price * rules.lot, rules)
            fills.append(Fill(bar=bar, leg=leg, side=side, quantity=abs(done) * rules.lot, price=price, fee=fee))

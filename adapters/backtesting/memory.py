"""The shipped fake, and the reference: the rules of base.py, written out bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import override

from adapters.backtesting.account import Account, Held, fill_price
from adapters.backtesting.bars import Bars
from adapters.backtesting.base import BacktestEngine, Fill, Outcome, Rules
from adapters.backtesting.deciding import Decider, last_decision
from adapters.backtesting.desk import Desk, Target
from adapters.backtesting.strategies import Strategy
from contracts.backtests import Execution
from contracts.market import Side


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

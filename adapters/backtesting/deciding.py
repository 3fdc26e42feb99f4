"""What a strategy wants, stepped bar by bar, and from which bar on that can no more be done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adapters.backtesting.bars import Bars
from adapters.backtesting.base import Rules
from adapters.backtesting.desk import Change
from adapters.backtesting.strategies import Strategy
from contracts.backtests import Execution


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

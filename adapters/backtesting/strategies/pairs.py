"""Two legs against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, override

from adapters.backtesting.strategies.base import Decide, Prices, State, Strategy, Wanted, whole


def decide_pair(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: ratios held, the last ratios, the oldest first."""
    period, entry, leave = int(numbers[0]), numbers[1], numbers[2]
    held, ratio = int(state[0]), math.log(prices[0][3]) - math.log(prices[1][3])
    if held < period:
        state[1 + held] = ratio
        held += 1
        state[0] = held
    else:
        for place in range(1, period):
            state[place] = state[place + 1]
        state[period] = ratio
    if held < period:
        return
    total = 0.0
    for place in range(1, 1 + period):
        total += state[place]
    mean, squares = total / period, 0.0
    for place in range(1, 1 + period):
        squares += (state[place] - mean) * (state[place] - mean)
    away, spread = ratio - mean, (squares / period) ** 0.5
    if away > entry * spread:
        wanted[0] = -1.0
        wanted[1] = 1.0
    elif away < -entry * spread:
        wanted[0] = 1.0
        wanted[1] = -1.0
    elif abs(away) < leave * spread:
        wanted[0] = 0.0
        wanted[1] = 0.0


@dataclass(frozen=True, slots=True)
class PairReversion(Strategy):
    """Sells the dearer of two legs and buys the cheaper one, when the logarithm of their ratio lies more than `entry`
    standard deviations from its mean over `period` closes; leaves both when it is within `leave` of it. After E. Gatev,
    W. Goetzmann and K. Rouwenhorst, Pairs Trading (2006), with the ratio in place of normalised prices."""

    period: int = 60
    entry: float = 2.0
    leave: float = 0.5

    legs: ClassVar[int] = 2

    def __post_init__(self) -> None:
        whole("pair_reversion", period=self.period)
        if self.period < 2 or not 0 <= self.leave < self.entry:
            raise ValueError(
                f"pair_reversion: period={self.period}, entry={self.entry}, leave={self.leave}: it could never act, or "
                "would leave what it enters. Give a period of at least 2, and 0 <= leave < entry"
            )

    @property
    @override
    def name(self) -> str:
        return f"pair-{self.period}-{self.entry:g}-{self.leave:g}"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return float(self.period), float(self.entry), float(self.leave)

    @override
    def state(self) -> list[float]:
        return [0.0] * (1 + self.period)

    @property
    @override
    def decide(self) -> Decide:
        return decide_pair

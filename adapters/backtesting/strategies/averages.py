"""Crossings of two moving averages of the close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import override

from adapters.backtesting.strategies.base import Decide, Number, Prices, State, Strategy, Wanted, whole

_UNKNOWN = -1.0
"""Of the side on which the fast average was; else 1 above, 0 below."""


def decide_sma(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: closes seen, on which side the fast average was, and the last `slow` closes in a ring, twice one after the
    other: so they lie in a row from any of them on."""
    fast, slow = int(numbers[0]), int(numbers[1])
    seen, close = int(state[0]), prices[0][3]
    place = 2 + seen % slow
    state[place] = close
    state[place + slow] = close
    seen += 1
    state[0] = seen
    if seen < slow:
        return
    oldest = 2 + seen % slow
    newer = oldest + slow - fast
    early = late = 0.0
    for each in range(oldest, newer):
        early += state[each]
    for each in range(newer, oldest + slow):
        late += state[each]
    fast_mean, slow_mean = late / fast, (early + late) / slow
    before, now = state[1], state[1]
    if fast_mean > slow_mean:
        now = 1.0
    elif fast_mean < slow_mean:
        now = 0.0
    state[1] = now
    if before >= 0.0 and now != before:
        wanted[0] = now


def decide_ema(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: bars seen, on which side the fast average was, both averages."""
    fast, slow = numbers[0], numbers[1]
    seen, close = state[0] + 1.0, prices[0][3]
    state[0] = seen
    if seen == 1.0:
        state[2] = close
        state[3] = close
    else:
        state[2] += (close - state[2]) * 2.0 / (fast + 1.0)
        state[3] += (close - state[3]) * 2.0 / (slow + 1.0)
    if seen < slow:
        return
    before, now = state[1], state[1]
    if state[2] > state[3]:
        now = 1.0
    elif state[2] < state[3]:
        now = 0.0
    state[1] = now
    if before >= 0.0 and now != before:
        wanted[0] = now


def _in_order(name: str, fast: Number, slow: Number) -> None:
    whole(name, fast=fast, slow=slow)
    if not fast < slow:
        raise ValueError(f"fast={fast}, slow={slow}: the averages could never cross. Give 1 <= fast < slow")


@dataclass(frozen=True, slots=True)
class SmaCross(Strategy):
    """Long when the simple moving average of `fast` closes rises above that of `slow`, flat when it falls below. Equal
    averages change nothing. Until `slow` closes are there, it is silent."""

    fast: int = 10
    slow: int = 30

    def __post_init__(self) -> None:
        _in_order("sma_cross", self.fast, self.slow)

    @property
    @override
    def name(self) -> str:
        return f"sma-{self.fast}-{self.slow}"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return float(self.fast), float(self.slow)

    @override
    def state(self) -> list[float]:
        return [0.0, _UNKNOWN, *[0.0] * (2 * self.slow)]

    @property
    @override
    def decide(self) -> Decide:
        return decide_sma


@dataclass(frozen=True, slots=True)
class EmaCross(Strategy):
    """The same with exponential moving averages: the weight of the newest close is 2 / (bars + 1), and both begin at
    the first close."""

    fast: int = 12
    slow: int = 26

    def __post_init__(self) -> None:
        _in_order("ema_cross", self.fast, self.slow)

    @property
    @override
    def name(self) -> str:
        return f"ema-{self.fast}-{self.slow}"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return float(self.fast), float(self.slow)

    @override
    def state(self) -> list[float]:
        return [0.0, _UNKNOWN, 0.0, 0.0]

    @property
    @override
    def decide(self) -> Decide:
        return decide_ema

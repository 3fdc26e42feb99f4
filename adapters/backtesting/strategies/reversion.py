"""Buying what has fallen, until it has come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import override

from adapters.backtesting.strategies.base import Decide, Number, Prices, State, Strategy, Wanted, whole


def decide_rsi(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: closes seen, the last close, mean gain, mean loss."""
    period, lower, upper = numbers[0], numbers[1], numbers[2]
    seen, close = state[0], prices[0][3]
    state[0] = seen + 1.0
    if seen > 0.0:
        change = close - state[1]
        gain, loss = max(change, 0.0), max(-change, 0.0)
        if seen <= period:
            state[2] += gain / period
            state[3] += loss / period
        else:
            state[2] = (state[2] * (period - 1.0) + gain) / period
            state[3] = (state[3] * (period - 1.0) + loss) / period
    state[1] = close
    if seen < period or state[2] + state[3] == 0.0:
        return
    strength = 100.0 * state[2] / (state[2] + state[3])
    if strength < lower:
        wanted[0] = 1.0
    elif strength > upper:
        wanted[0] = 0.0


def decide_bollinger(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: closes held, the last closes, the oldest first."""
    period, width = int(numbers[0]), numbers[1]
    held, close = int(state[0]), prices[0][3]
    if held < period:
        state[1 + held] = close
        held += 1
        state[0] = held
    else:
        for place in range(1, period):
            state[place] = state[place + 1]
        state[period] = close
    if held < period:
        return
    total = 0.0
    for place in range(1, 1 + period):
        total += state[place]
    mean, squares = total / period, 0.0
    for place in range(1, 1 + period):
        squares += (state[place] - mean) * (state[place] - mean)
    if close < mean - width * (squares / period) ** 0.5:
        wanted[0] = 1.0
    elif close > mean:
        wanted[0] = 0.0


@dataclass(frozen=True, slots=True)
class RsiReversion(Strategy):
    """Long when the relative strength index of `period` closes falls below `lower`, flat when it rises above `upper`.
    J. W. Wilder's index (1978): the first means are plain, those after it smoothed by 1 / period."""

    period: int = 14
    lower: float = 30.0
    upper: float = 55.0

    def __post_init__(self) -> None:
        whole("rsi_reversion", period=self.period)
        _between("rsi_reversion", self.lower, self.upper)

    @property
    @override
    def name(self) -> str:
        return f"rsi-{self.period}-{self.lower:g}-{self.upper:g}"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return float(self.period), float(self.lower), float(self.upper)

    @override
    def state(self) -> list[float]:
        return [0.0] * 4

    @property
    @override
    def decide(self) -> Decide:
        return decide_rsi


@dataclass(frozen=True, slots=True)
class BollingerReversion(Strategy):
    """Long when a close lies more than `width` standard deviations (of the population) below the mean of `period`
    closes, itself among them; flat when one lies above that mean (J. Bollinger's bands)."""

    period: int = 20
    width: float = 2.0

    def __post_init__(self) -> None:
        whole("bollinger", period=self.period)
        if self.period < 2 or not self.width > 0:
            raise ValueError(
                f"bollinger: period={self.period}, width={self.width}: there would be no band. "
                "Give a period of at least 2 and a width above 0"
            )

    @property
    @override
    def name(self) -> str:
        return f"bollinger-{self.period}-{self.width:g}"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return float(self.period), float(self.width)

    @override
    def state(self) -> list[float]:
        return [0.0] * (1 + self.period)

    @property
    @override
    def decide(self) -> Decide:
        return decide_bollinger


def _between(name: str, lower: Number, upper: Number) -> None:
    if not 0 < lower < upper < 100:
        raise ValueError(f"{name}: lower={lower}, upper={upper}: it could never act. Give 0 < lower < upper < 100")

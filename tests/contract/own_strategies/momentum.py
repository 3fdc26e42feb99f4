"""A user's strategy: long while the close lies above that of some bars before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.backtesting.strategies.base import CLOSE, Decide, Prices, State, Strategy, Wanted


def decide(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: how many bars came, then the last closes in a ring."""
    period, count = int(numbers[0]), int(state[0])
    place, close = 1 + count % period, prices[0][CLOSE]
    if count >= period:
        wanted[0] = 1.0 if close > state[place] else 0.0
    state[place] = close
    state[0] = count + 1.0


@dataclass(frozen=True, slots=True)
class Momentum(Strategy):
    """See the module."""

    period: int = 20

    def __post_init__(self) -> None:
        if self.period < 1:
            raise ValueError(f"momentum: period={self.period}: it counts bars. Give at least 1")

    @property
    def name(self) -> str:
        return f"momentum-{self.period}"

    @property
    def numbers(self) -> tuple[float, ...]:
        return (float(self.period),)

    def state(self) -> list[float]:
        return [0.0] * (self.period + 1)

    @property
    def decide(self) -> Decide:
        return decide

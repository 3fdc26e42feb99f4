"""Buy, and hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import override

from adapters.backtesting.strategies.base import Decide, Prices, State, Strategy, Wanted


def decide_hold(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: whether it has spoken."""
    if state[0] == 0.0:
        state[0] = 1.0
        wanted[0] = 1.0


@dataclass(frozen=True, slots=True)
class BuyAndHold(Strategy):
    """Long after the first bar, for ever: what any other strategy is measured against."""

    @property
    @override
    def name(self) -> str:
        return "buy-and-hold"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return (0.0,)  # numba knows no type for an empty tuple's items

    @override
    def state(self) -> list[float]:
        return [0.0]

    @property
    @override
    def decide(self) -> Decide:
        return decide_hold

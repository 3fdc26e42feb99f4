"""Breaking out of the range of the bars before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import override

from adapters.backtesting.strategies.base import Decide, Prices, State, Strategy, Wanted, whole


def decide_donchian(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """state: bars held; then highs and, behind all of them, lows, the oldest first."""
    entry, leave = int(numbers[0]), int(numbers[1])
    longest = max(entry, leave)
    held, close = int(state[0]), prices[0][3]
    if held == longest:
        highest, lowest = state[1 + longest - entry], state[1 + longest + longest - leave]
        for place in range(1 + longest - entry, 1 + longest):
            highest = max(highest, state[place])
        for place in range(1 + longest + longest - leave, 1 + longest + longest):
            lowest = min(lowest, state[place])
        if close > highest:
            wanted[0] = 1.0
        elif close < lowest:
            wanted[0] = 0.0
        for place in range(1, longest):
            state[place] = state[place + 1]
            state[place + longest] = state[place + longest + 1]
        held -= 1
    state[1 + held] = prices[0][1]
    state[1 + held + longest] = prices[0][2]
    state[0] = held + 1


@dataclass(frozen=True, slots=True)
class DonchianBreakout(Strategy):
    """Long when a close lies above every high of the `entry` bars before it, flat when it lies below every low of the
    `leave` bars before it (R. Donchian's channel)."""

    entry: int = 20
    leave: int = 10

    def __post_init__(self) -> None:
        whole("donchian", entry=self.entry, leave=self.leave)

    @property
    @override
    def name(self) -> str:
        return f"donchian-{self.entry}-{self.leave}"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return float(self.entry), float(self.leave)

    @override
    def state(self) -> list[float]:
        return [0.0] * (1 + 2 * max(self.entry, self.leave))

    @property
    @override
    def decide(self) -> Decide:
        return decide_donchian

"""Trading strategies, written once: the engine steps them bar by bar, backtests run them over history.

Pure: a strategy is frozen parameters, its memory a value that goes in and comes out. A step sees
a bar's close and nothing later; what it answers is to be done at the next bar.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.market import Side


@dataclass(frozen=True, slots=True)
class Memory:
    """What a strategy remembers: the last closes it needs, oldest first, and which side it was on."""

    closes: tuple[float, ...] = ()
    above: bool | None = None


class Strategy(Protocol):
    """See the module's text."""

    @property
    def name(self) -> str:
        """The name with its parameters, as it stands in positions, orders and results."""

    def step(self, memory: Memory, close: float) -> tuple[Memory, Side | None]:
        """The memory after a bar that closed at `close`, and what to do at the next bar."""


@dataclass(frozen=True, slots=True)
class SmaCross:
    """Buy when the simple moving average of `fast` closes rises above that of `slow`, sell when it
    falls below. Equal averages change nothing. Until `slow` closes are there, it is silent."""

    fast: int = 10
    slow: int = 30

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ValueError(
                f"fast={self.fast}, slow={self.slow}: the averages could never cross. Give 1 <= fast < slow"
            )

    @property
    def name(self) -> str:
        """For example `sma-10-30`."""
        return f"sma-{self.fast}-{self.slow}"

    def step(self, memory: Memory, close: float) -> tuple[Memory, Side | None]:
        """See Strategy."""
        closes = (*memory.closes, close)[-self.slow :]
        if len(closes) < self.slow:
            return Memory(closes, memory.above), None
        # Summed anew for each bar: a running sum would drift, and differ after a restart.
        fast, slow = sum(closes[-self.fast :]) / self.fast, sum(closes) / self.slow
        above = memory.above if fast == slow else fast > slow
        side = None
        if memory.above is not None and above != memory.above:
            side = Side.BUY if above else Side.SELL
        return Memory(closes, above), side


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Buy after the first bar, and never sell: what any other strategy is measured against."""

    @property
    def name(self) -> str:
        """Always `buy-and-hold`."""
        return "buy-and-hold"

    def step(self, memory: Memory, close: float) -> tuple[Memory, Side | None]:
        """See Strategy."""
        return Memory((close,), True), None if memory.above else Side.BUY


def decisions(strategy: Strategy, closes: Sequence[float]) -> list[Side | None]:
    """What `strategy` wants after each of `closes`."""
    memory, wanted = Memory(), []
    for close in closes:
        memory, side = strategy.step(memory, close)
        wanted.append(side)
    return wanted


STRATEGIES: Mapping[str, Callable[..., Strategy]] = {"sma_cross": SmaCross, "buy_and_hold": BuyAndHold}
"""What a backtest may ask for, by name."""


def make_strategy(name: str, parameters: Mapping[str, int]) -> Strategy:
    """The strategy `name` with `parameters`. Raises ValueError saying what is wrong and what there is."""
    make = STRATEGIES.get(name)
    if make is None:
        raise ValueError(f"strategy is {name!r}: there is no such strategy. Use one of {', '.join(STRATEGIES)}")
    known = parameter_names(name)
    unknown = [parameter for parameter in parameters if parameter not in known]
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}: {has}")
    return make(**parameters)


def parameter_names(name: str) -> tuple[str, ...]:
    """The parameters of the strategy `name`, in order."""
    return tuple(inspect.signature(STRATEGIES[name]).parameters)

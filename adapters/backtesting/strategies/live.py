"""A strategy stepped live, close by close, by who keeps its memory in a database."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapters.backtesting.strategies.averages import SmaCross
from contracts.market import Side


@dataclass(frozen=True, slots=True)
class Memory:
    """What a crossing remembers: the last closes it needs, oldest first, and which side it was on."""

    closes: tuple[float, ...] = ()
    above: bool | None = None


def step(strategy: SmaCross, memory: Memory, close: float) -> tuple[Memory, Side | None]:
    """The memory after a bar that closed at `close`, and what to do at the next bar."""
    held = memory.closes[-strategy.slow :]  # more, where it was kept by one that was slower
    state = strategy.state()
    state[0] = float(len(held))
    state[1] = -1.0 if memory.above is None else float(memory.above)
    state[2 : 2 + len(held)] = held
    wanted = [math.nan]
    strategy.decide(state, strategy.numbers, ((close,) * 4,), wanted)
    closes = tuple(state[2 : 2 + int(state[0])])
    side = None if math.isnan(wanted[0]) else Side.BUY if wanted[0] else Side.SELL
    return Memory(closes, None if state[1] < 0 else bool(state[1])), side

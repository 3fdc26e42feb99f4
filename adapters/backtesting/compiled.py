"""A strategy over a whole history at once, compiled by numba: the one module that imports it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from adapters.backtesting.bars import Bars
from adapters.backtesting.strategies import Strategy


@cache
def _looped(decide: Callable[..., None]) -> Callable[..., int]:
    """A loop over bars with `decide` compiled into it."""
    compiled = numba.njit(decide)

    @numba.njit  # type: ignore[untyped-decorator] # it has no types
    def loop(state: Any, numbers: Any, prices: Any, found: Any) -> int:
        legs, count = prices.shape[1], 0
        wanted, now = np.full(legs, np.nan), np.zeros(legs)
        for bar in range(len(prices)):
            compiled(state, numbers, prices[bar], wanted)
            for leg in range(legs):
                if wanted[leg] == wanted[leg]:
                    if wanted[leg] != now[leg]:
                        now[leg] = wanted[leg]
                        found[count, 0] = bar
                        found[count, 1] = leg
                        found[count, 2] = wanted[leg]
                        count += 1
                    wanted[leg] = np.nan
        return count

    return loop  # type: ignore[no-any-return] # it has no types


def changes(strategy: Strategy, legs: Sequence[Bars]) -> NDArray[np.float64]:
    """What `strategy` wants, where that is something else than before: rows of bar, leg, and LONG, FLAT or SHORT."""
    prices = np.empty((len(legs[0]), len(legs), 4))
    for leg, bars in enumerate(legs):
        for place, column in enumerate((bars.open, bars.high, bars.low, bars.close)):
            prices[:, leg, place] = column
    found = np.empty((len(prices) * len(legs), 3))
    count = _looped(strategy.decide)(np.array(strategy.state()), np.array(strategy.numbers), prices, found)
    return found[:count]

"""Trading strategies, written once: the engines of backtests run them, and the trading engine steps one live.

A strategy is frozen parameters and one function, `decide`, in the part of Python that numba compiles too: it is called
bar by bar by NautilusTrader and by the trading engine, and compiled into one loop for VectorBT (compiled.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from adapters.backtesting.strategies.averages import EmaCross, SmaCross
from adapters.backtesting.strategies.base import FLAT, LONG, SHORT, Number, Prices, State, Strategy, Wanted
from adapters.backtesting.strategies.breakout import DonchianBreakout
from adapters.backtesting.strategies.holding import BuyAndHold
from adapters.backtesting.strategies.pairs import PairReversion
from adapters.backtesting.strategies.reversion import BollingerReversion, RsiReversion

STRATEGIES: Mapping[str, type[Strategy]] = {
    "sma_cross": SmaCross,
    "ema_cross": EmaCross,
    "rsi_reversion": RsiReversion,
    "bollinger": BollingerReversion,
    "donchian": DonchianBreakout,
    "buy_and_hold": BuyAndHold,
    "pair_reversion": PairReversion,
}
"""What a backtest may ask for, by name."""

__all__ = [
    "FLAT",
    "LONG",
    "SHORT",
    "STRATEGIES",
    "BollingerReversion",
    "BuyAndHold",
    "DonchianBreakout",
    "EmaCross",
    "Number",
    "PairReversion",
    "Prices",
    "RsiReversion",
    "SmaCross",
    "State",
    "Strategy",
    "Wanted",
    "legs",
    "make_strategy",
    "parameter_names",
]


def make_strategy(name: str, parameters: Mapping[str, Number]) -> Strategy:
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


def legs(name: str) -> int:
    """How many instruments the strategy `name` trades."""
    return STRATEGIES[name].legs


def parameter_names(name: str) -> tuple[str, ...]:
    """The parameters of the strategy `name`, in order."""
    return tuple(inspect.signature(STRATEGIES[name]).parameters)

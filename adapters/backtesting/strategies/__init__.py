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
from adapters.backtesting.strategies.own import KNOWN
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
"""What is shipped, by name."""

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
    "check_named",
    "kind_of",
    "legs",
    "make_strategy",
    "names",
    "parameter_names",
    "source_of",
]


def make_strategy(name: str, parameters: Mapping[str, Number]) -> Strategy:
    """The strategy `name` with `parameters`. Raises ValueError saying what is wrong and what there is."""
    check_named(name, parameters)
    return kind_of(name)(**parameters)


def kind_of(name: str) -> type[Strategy]:
    """The class of the strategy `name`. Raises ValueError where it is not imported here."""
    kind = STRATEGIES.get(name) or KNOWN.loaded.get(name)
    if kind is None:
        raise ValueError(f"{name} is a strategy of your own, and is not imported here")
    return kind


def check_named(name: str, parameters: Mapping[str, Number]) -> None:
    """Raise ValueError where there is no strategy of that name, or it has no such parameters."""
    known = names()
    if name not in known:
        refused = KNOWN.described.get(name)
        if refused is not None:
            raise ValueError(f"strategy {name} cannot be used: {refused.problem}")
        fix = f"Use one of {', '.join(known)}; for one of your own, {KNOWN.fix(name)}"
        raise ValueError(f"strategy is {name!r}: there is no such strategy, so nothing could be run. {fix}")
    has = parameter_names(name)
    unknown = [parameter for parameter in parameters if parameter not in has]
    if unknown:
        told = f"it has {', '.join(has)}" if has else "it has none"
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}: {told}")


def names() -> tuple[str, ...]:
    """What a backtest may ask for: what is shipped, then the user's own."""
    loaded = [name for name in KNOWN.loaded if name not in KNOWN.described]
    return (*STRATEGIES, *(name for name in KNOWN.described if KNOWN.usable(name)), *loaded)


def legs(name: str) -> int:
    """How many instruments the strategy `name` trades."""
    own = KNOWN.usable(name)
    return own.legs if own is not None else (STRATEGIES.get(name) or KNOWN.loaded[name]).legs


def parameter_names(name: str) -> tuple[str, ...]:
    """The parameters of the strategy `name`, in order."""
    own = KNOWN.usable(name)
    return own.parameters if own is not None else _signature(STRATEGIES.get(name) or KNOWN.loaded[name])


def source_of(name: str) -> str | None:
    """The checksum of the file of a strategy of the user's own; None for one that is shipped."""
    own = KNOWN.usable(name)
    return own.sha256 if own is not None else None


def _signature(kind: type[Strategy]) -> tuple[str, ...]:
    return tuple(inspect.signature(kind).parameters)

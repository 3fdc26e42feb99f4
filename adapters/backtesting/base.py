"""The interface of a backtesting engine, and the rules of trading that each engine keeps.

The rules, the same in every engine (tests/contract/test_backtesting.py):
1. A strategy sees the close of bar i; what it wants is done at the open of bar i + 1. What it wants after
   the last bar is not done.
2. Long or flat, in whole units. A buy is for as many units as `max_position_size` pays for at the close that
   made the decision, fewer where cash does not cover them at the fill; none where not one is covered. A sale
   is of everything held. After a buy, another does nothing until a sale was wanted; a sale while flat does nothing.
3. A buy costs open x (1 + slippage), a sale brings open x (1 - slippage); each pays `fees` of its value.
4. After each close the equity (cash, and units at the close) is held against its highest value so far, the
   initial cash included. Where it lies `max_drawdown` or more below, everything is sold at the next open and
   nothing is bought any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from adapters.backtesting.strategies import Strategy
from contracts.market import Bar, Side


class BacktestError(Exception):
    """The root of all errors of backtesting."""


class EngineUnavailable(BacktestError):
    """The engine's package is not here, or does not work here: what is missing, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Amounts in the instrument's currency; `fees`, `slippage` and `max_drawdown` as fractions of 1."""

    initial_cash: float = 1_000_000.0
    fees: float = 0.0
    slippage: float = 0.0
    max_position_size: float = 100_000.0
    max_drawdown: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One order that was done, at `date`'s open. `price` with slippage, `fee` an amount."""

    date: date
    side: Side
    quantity: float
    price: float
    fee: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an engine answers: the fills in order, the equity at each bar's close, and the day after whose
    close the drawdown limit stopped trading (None where it did not)."""

    engine: str
    engine_version: str
    fills: tuple[Fill, ...]
    equity: tuple[float, ...]
    halted: date | None


class BacktestEngine(ABC):
    """Runs one strategy over one history. Runs in a worker process; keeps no state between runs."""

    name: str
    version: str

    @abstractmethod
    def run(self, strategy: Strategy, bars: Sequence[Bar], rules: Rules) -> Outcome:
        """The outcome under the rules above. Raises BacktestError."""

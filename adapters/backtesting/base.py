"""The interface of a backtesting engine, and the rules of trading that each engine keeps.

The rules, the same in every engine (tests/contract/test_backtesting.py):
1. A strategy sees bars that have closed. What it wants after bar i is done at the open of bar i + 1 (`next_open`; after
   the last bar it is not done), or at that same close (`same_close`), which nobody could do and many backtests assume.
2. A leg is flat, long, or sold short, in whole lots. A change of what is wanted is an order, from what is held to what
   is wanted: the size is taken at the close that decided. Wanting the same again changes nothing, also where cash or a
   limit left the first less than whole.
3. No position may be worth more than `max_position_size` at that close: it is cut down to it (`clip`), not opened
   (`refuse`), or ends trading (`halt`).
4. A buy costs its price x (1 + slippage), a sale brings x (1 - slippage), rounded to a tick against the trader. Each
   pays `fees` of its value, and `fee_per_order`.
5. Nothing is borrowed. A buy is cut down to what free cash pays for. What is sold short has its proceeds locked, and as
   much cash again: free cash is cash less twice the value at which the shorts were sold.
6. At each close, before anything is done at it, the equity (cash, and units at the close) is held against its highest
   value so far, the initial cash included. Where it lies `max_drawdown` or more below, everything is closed and nothing
   is opened any more (`halt`); or nothing is opened until it lies nearer again (`refuse`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.backtesting.bars import Bars
from adapters.backtesting.strategies import Strategy
from contracts.backtests import Execution, LogEvent, OnDrawdown, OnPosition, SizeKind
from contracts.market import Side


class BacktestError(Exception):
    """The root of all errors of backtesting."""


class EngineUnavailable(BacktestError):
    """The engine's package is not here, or does not work here: what is missing, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Amounts in the instruments' currency; `fees`, `slippage` and `max_drawdown` as fractions of 1; `tick` and `lot`
    in the currency and in units, a `tick` of 0 rounds nothing. `size`: an amount, units, or a fraction of the equity,
    as `size_kind` says; None: as much as `max_position_size` allows."""

    initial_cash: float = 1_000_000.0
    fees: float = 0.0
    fee_per_order: float = 0.0
    slippage: float = 0.0
    tick: float = 0.0
    lot: float = 1.0
    size_kind: SizeKind = SizeKind.VALUE
    size: float | None = None
    execution: Execution = Execution.NEXT_OPEN
    max_position_size: float = 100_000.0
    on_position: OnPosition = OnPosition.CLIP
    max_drawdown: float = 0.1
    on_drawdown: OnDrawdown = OnDrawdown.HALT


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One order that was done in bar number `bar`, of leg number `leg`. `price` with slippage, `fee` an amount."""

    bar: int
    leg: int
    side: Side
    quantity: float
    price: float
    fee: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What a limit did. `bar`: at whose close (of a limit), or in which (of cash). Units `wanted`, and `done`; 0 where
    it is of no single leg (`leg` -1)."""

    bar: int
    leg: int
    event: LogEvent
    wanted: float = 0.0
    done: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an engine answers. `fills` in the order of bars and legs; `equity` at each bar's close, after what was done
    at it; `halted`: the bar at whose close trading ended, None where it did not; `log` by bar."""

    engine: str
    engine_version: str
    fills: tuple[Fill, ...]
    equity: tuple[float, ...]
    halted: int | None
    log: tuple[LogEntry, ...] = ()


class BacktestEngine(ABC):
    """Runs one strategy over the history of its legs. Runs in a worker process; keeps no state between runs."""

    name: str
    version: str

    @abstractmethod
    def run(self, strategy: Strategy, legs: Sequence[Bars], rules: Rules) -> Outcome:
        """The outcome under the rules above; `legs` are aligned (bars.aligned). Raises BacktestError."""

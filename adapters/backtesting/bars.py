"""Histories as arrays: what engines are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contracts.market import Bar

DAY_NS = 86_400 * 10**9
Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]
_FIELDS = ("opened", "closed", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bars:
    """The bars of one instrument, the oldest first. `opened` and `closed` in nanoseconds since 1970, UTC, of which
    `closed` is the last that is part of the bar; prices in the instrument's currency, volume in units."""

    symbol: str
    opened: Stamps
    closed: Stamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def daily(cls, symbol: str, bars: Sequence[Bar]) -> Self:
        """Of daily bars, each from midnight to midnight, UTC."""
        opened = np.array([_ns(bar.date) for bar in bars], dtype=np.int64)
        columns: dict[str, Any] = {
            name: np.array([getattr(bar, name) for bar in bars], dtype=np.float64) for name in _FIELDS[2:]
        }
        return cls(symbol=symbol, opened=opened, closed=opened + (DAY_NS - 1), **columns)

    def __len__(self) -> int:
        return len(self.opened)

    def within(self, start: date | None, end: date | None) -> Self:
        """The bars that opened on `start` or later, and on `end` or before."""
        first = 0 if start is None else int(np.searchsorted(self.opened, _ns(start)))
        last = len(self) if end is None else int(np.searchsorted(self.opened, _ns(end + timedelta(days=1))))
        return self.part(first, last)

    def part(self, first: int, last: int) -> Self:
        """The bars from number `first` on, before number `last`."""
        columns: dict[str, Any] = {name: getattr(self, name)[first:last] for name in _FIELDS}
        return type(self)(symbol=self.symbol, **columns)

    def day(self, number: int) -> date:
        """The day, UTC, on which bar `number` opened."""
        return self.at(number).date()

    def at(self, number: int) -> datetime:
        """When bar `number` opened, UTC, to the microsecond."""
        return datetime.fromtimestamp(int(self.opened[number]) // 10**9, UTC)

    def a_year(self) -> float:
        """Bars a year of 252 trading days, by the median of bars a day; for what is annualised."""
        _, counts = np.unique(self.opened // DAY_NS, return_counts=True)
        return 252.0 * float(np.median(counts)) if len(counts) else 252.0


def aligned(legs: Sequence[Bars]) -> None:
    """Raise ValueError where the bars of `legs` do not open and close at the same times, naming the first that does
    not, or where there are none."""
    first = legs[0]
    for other in legs[1:]:
        shorter = min(len(first), len(other))
        differ = np.flatnonzero(first.opened[:shorter] != other.opened[:shorter])
        if len(differ) or len(first) != len(other):
            number = int(differ[0]) if len(differ) else shorter
            raise ValueError(
                f"{first.symbol} and {other.symbol} have other bars from number {number} on ({_opening(first, number)} "
                f"and {_opening(other, number)}): they cannot be traded together. Give both the same bars"
            )


def _opening(bars: Bars, number: int) -> str:
    return bars.at(number).isoformat() if number < len(bars) else "none"


def _ns(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_NS

"""Histories, strategies and the comparison that tests of backtests share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, override

import numpy as np
import pytest

from adapters.backtesting import Outcome
from adapters.backtesting.bars import Bars
from adapters.backtesting.strategies import Prices, State, Strategy, Wanted
from adapters.backtesting.strategies.base import Decide
from adapters.csv_bars import SHIPPED, load_bars

PARTS = 4


@cache
def shipped(symbol: str) -> Bars:
    """Twenty years of daily bars."""
    return Bars.daily(symbol, load_bars(SHIPPED[symbol]))


@cache
def intraday(symbol: str, days: int = 1000) -> Bars:
    """Four bars for each of the first days: between open and close the way leads over the low and the high, or over
    the high and the low, as the day fell or rose."""
    day = shipped(symbol)
    made: dict[str, list[Any]] = {name: [] for name in ("opened", "open", "high", "low", "close")}
    for number in range(days):
        ends = [day.low[number], day.high[number]]
        if day.close[number] < day.open[number]:
            ends.reverse()
        middle = (ends[0] + ends[1]) / 2
        way = [day.open[number], ends[0], middle, ends[1], day.close[number]]
        for part in range(PARTS):
            made["opened"].append(day.opened[number] + part * 21_600 * 10**9)
            made["open"].append(way[part])
            made["close"].append(way[part + 1])
            made["high"].append(max(way[part : part + 2]))
            made["low"].append(min(way[part : part + 2]))
    columns = {name: np.array(values) for name, values in made.items()}
    closed = columns["opened"] + (21_600 * 10**9 - 1)
    return Bars(symbol=symbol, closed=closed, volume=np.ones(len(closed)), **columns)


def decide_on_cue(state: State, numbers: Sequence[float], prices: Prices, wanted: Wanted) -> None:
    """numbers: legs, then for each cue its bar and what is wanted of each leg."""
    legs, place = int(numbers[0]), 1
    while place < len(numbers):
        if numbers[place] == state[0]:
            for leg in range(legs):
                wanted[leg] = numbers[place + 1 + leg]
        place += 1 + legs
    state[0] += 1.0


@dataclass(frozen=True)
class SpeaksOnCue(Strategy):
    """Wants at the close of each bar in `cues` what stands there, by leg."""

    cues: Mapping[int, tuple[float, ...]]
    legs: int = 1  # type: ignore[misc]

    @property
    @override
    def name(self) -> str:
        return "on-cue"

    @property
    @override
    def numbers(self) -> tuple[float, ...]:
        return (float(self.legs), *(value for bar, wanted in self.cues.items() for value in (float(bar), *wanted)))

    @override
    def state(self) -> list[float]:
        return [0.0]

    @property
    @override
    def decide(self) -> Decide:
        return decide_on_cue


def assert_same(actual: Outcome, expected: Outcome) -> None:
    """Orders one by one, equity bar by bar, within 1e-9 of each value."""
    assert [(f.bar, f.leg, f.side) for f in actual.fills] == [(f.bar, f.leg, f.side) for f in expected.fills]
    for what in ("quantity", "price", "fee"):
        found, wanted = ([getattr(fill, what) for fill in one.fills] for one in (actual, expected))
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9), what
    assert actual.equity == pytest.approx(expected.equity, rel=1e-9)
    assert actual.halted == expected.halted
    assert [(e.bar, e.leg, e.event) for e in actual.log] == [(e.bar, e.leg, e.event) for e in expected.log]
    for what in ("wanted", "done"):
        found, wanted = ([getattr(entry, what) for entry in one.log] for one in (actual, expected))
        assert found == pytest.approx(wanted), what

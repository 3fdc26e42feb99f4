"""Whether rows can be bars: pure functions over arrays, each of which finds all rows of one kind of problem.

What can be asked of rows builds up: values one by one; their order; then, of bars in order, how far they lie apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adapters.backtesting.bars import DAY_NS, Floats, Stamps
from adapters.backtesting.histories.clocks import shown
from adapters.backtesting.histories.decimals import PLACES, places_of
from adapters.backtesting.histories.options import ANY, SECOND_NS
from adapters.backtesting.histories.problems import Problem, found
from adapters.backtesting.histories.rows import NUMBERS, Rows
from contracts.market import bar_problem

DAYS_APART = 10
"""Between bars of two days there may be so many days; the markets' longest closure since 1970 took seven."""
SPLITS = (1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)
"""Usual ratios, or their inverses. Those under 1.5 lie within what prices do by themselves."""
_NEAR = 0.05
_MOST_PRICE, _MOST_VOLUME = 17_014_118_346_046.0, 34_028_236_692_093.0
"""What Nautilus' integers hold."""
_BLOCK = 100_000
_CORRECT = "correct these bars in the file, or leave them out"


def value_problems(rows: Rows) -> list[Problem]:
    """Prices that are none, a high or low inside its bar, volumes below 0."""
    prices = (rows.open, rows.high, rows.low, rows.close)
    good = (rows.volume >= 0) & (rows.volume < np.inf)  # NaN compares as false
    for price in prices:
        good &= (price > 0) & (price < np.inf)
    good &= rows.high >= np.maximum(np.maximum(rows.open, rows.close), rows.low)
    good &= rows.low <= np.minimum(rows.open, rows.close)

    def say(row: int) -> str:
        return bar_problem({name: float(getattr(rows, name)[row]) for name in NUMBERS}) or "no bar"

    return found(~good, say, _CORRECT)


def storage_problems(rows: Rows) -> list[Problem]:
    """Values that a catalog cannot hold exactly. They must be finite."""
    problems: list[Problem] = []
    for name in NUMBERS:
        values: Floats = getattr(rows, name)
        if name != "volume":  # a split by a wrong ratio may have left nothing
            problems += found(values <= 0, _says(name, values, "too small to be kept"), _CORRECT)
        most = _MOST_VOLUME if name == "volume" else _MOST_PRICE
        problems += found(values > most, _says(name, values, f"above {most:.0f}, the most that can be kept"), _CORRECT)
        parts = [places_of(values[first : first + _BLOCK]) for first in range(0, len(values), _BLOCK)]
        fine = np.concatenate(parts) > PLACES
        problems += found(fine, _says(name, values, f"of more than {PLACES} decimals"), "round the file to 12 decimals")
    return problems


def _says(name: str, values: Floats, why: str) -> Callable[[int], str]:
    return lambda row: f"{name} is {float(values[row])!r}, {why}"


def time_problems(times: Stamps, now: int) -> list[Problem]:
    """Times that no market had: before 1970, from which on engines count, and more than a day after `now`, in
    nanoseconds of UTC."""
    early = found(
        times < 0, lambda row: f"{shown(times[row])} lies before 1970, from which on engines count time",
        "leave those bars out",
    )  # fmt: skip
    late = found(
        times > now + DAY_NS, lambda row: f"{shown(times[row])} UTC lies in the future",
        "see that the time zone, and the order of day and month, are what the file means",
    )  # fmt: skip
    return early + late


def order_problems(rows: Rows, opened: Stamps) -> list[Problem]:
    """Times that come twice, or after a later one."""
    order = np.argsort(opened, kind="stable")
    same = np.flatnonzero(opened[order][1:] == opened[order][:-1])
    earlier = np.full(len(opened), -1, dtype=np.int64)
    earlier[order[same + 1]] = order[same]
    twice = earlier >= 0
    late = np.zeros(len(opened), dtype=np.bool_)
    late[1:] = opened[1:] < np.maximum.accumulate(opened)[:-1]
    return [
        *found(
            twice, lambda row: f"{shown(opened[row])} UTC stands already in {rows.where(earlier[row])}",
            "leave one of each two out",
        ),
        *found(
            late & ~twice, lambda row: f"{shown(opened[row])} UTC comes after a later time", "sort the file by time",
        ),
    ]  # fmt: skip


def period_of(opened: Stamps) -> int:
    """How long each bar is, in nanoseconds: what lies most often between two. `opened` in order, at least two."""
    spans, counts = np.unique(np.diff(opened), return_counts=True)
    return int(spans[np.argmax(counts)])


def distance_problems(opened: Stamps, days: NDArray[np.int64], period: int, max_gap: int) -> list[Problem]:
    """Bars that overlap or begin off the beat of their day, and bars that are missing: within a day, none for more than
    `max_gap` nanoseconds; between days, two that lie further apart than that and DAYS_APART. `days`: of each bar, in
    its zone."""
    apart = np.diff(opened, prepend=opened[:1] - period)
    new_day = np.diff(days, prepend=days[:1] - 1) != 0
    missing = apart - period
    off = (missing < 0) | (~new_day & (missing % period != 0))
    gap = ~off & np.where(new_day, apart > max(DAYS_APART * DAY_NS, max_gap), missing > max_gap)

    def after(row: int) -> str:
        return f"{shown(opened[row])} UTC comes {span(apart[row])} after the bar before it"

    return [
        *found(
            off, lambda row: f"{after(row)}; most bars here are of {span(period)}",
            "give bars of one length, each at its own time: resample what is of another",
        ),
        *found(
            gap & ~new_day, lambda row: f"{after(row)}, on the same day: {span(missing[row])} without a bar",
            f"fill the gap; or, where there was no trade, give max_gap (as 30m, 2h or {ANY}); where the day ends at "
            "another hour than in UTC, give its timezone",
        ),
        *found(
            gap & new_day, lambda row: f"{after(row)}", f"fill the gap, or give max_gap (as 30d, or {ANY})",
        ),
    ]  # fmt: skip


def jump_problems(opening: Floats, closing: Floats, days: NDArray[np.int64]) -> list[Problem]:
    """Days that open at about a usual split's ratio to the close before."""
    first = np.flatnonzero(np.diff(days)) + 1
    ratios = closing[first - 1] / opening[first]
    usual = np.array([one for split in SPLITS for one in (split, 1 / split)])
    apart = np.abs(np.log(ratios[:, None] / usual))
    nearest = usual[np.argmin(apart, axis=1)]
    near = np.flatnonzero(apart.min(axis=1) < _NEAR)

    def say(row: int) -> str:
        one = float(nearest[np.searchsorted(first, row)])
        told = f"{one:g}" if one > 1 else f"1/{1 / one:g}"
        return (
            f"opens at {opening[row]:g} after a close of {closing[row - 1]:g}, as in a split of {told}: "
            f"splits={shown(days[row] * DAY_NS)[:10]}:{told}"
        )

    fix = "give the splits, which adjusts all bars before; or, where the price truly did that, jumps=allowed"
    return [Problem(rows=first[near], say=say, fix=fix)] if len(near) else []


def span(nanoseconds: int) -> str:
    """A length of time, as people say it."""
    seconds = int(nanoseconds) / SECOND_NS
    for name, unit in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= unit:
            return f"{seconds / unit:.6g} {name}"
    return f"{seconds:.6g} s"

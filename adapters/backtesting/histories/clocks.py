"""From what a clock shows to nanoseconds of UTC, and to days. By the zone that is named: this machine's is never asked.

A zone is asked once for each day on which its clock stands as ever, and once for each quarter of an hour of the others:
millions of rows take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from adapters.backtesting.bars import DAY_NS, Stamps
from adapters.backtesting.histories.problems import Problem, found

_SECOND = 10**9
_QUARTER = 900
_DAY = 86_400
_Offsets = tuple[int, int]
"""Seconds east of Greenwich at a time that a clock shows, and at the same time when it comes again (PEP 495)."""


def to_utc(local: Stamps, zone: ZoneInfo, name: str) -> tuple[Stamps, list[Problem]]:
    """The instants at which the clock of `zone` shows `local`; and what it never shows, or shows twice."""
    first, second = _offsets(local, lambda seconds: _of_clock(seconds, zone))
    never = "there is no such time: it was skipped when the clock went forward"
    twice = "there are two such times: it came again when the clock went back"
    fix = f"see that the file's times are those of {name}; times of UTC, or with an offset, are never in doubt"
    problems = found(first < second, lambda row: f"{shown(local[row])} in {name}: {never}", fix)
    problems += found(first > second, lambda row: f"{shown(local[row])} in {name}: {twice}", fix)
    return local - first * _SECOND, problems


def to_clock(instants: Stamps, zone: ZoneInfo) -> Stamps:
    """What the clock of `zone` shows at `instants`."""
    first, _ = _offsets(instants, lambda seconds: _of_instant(seconds, zone))
    return instants + first * _SECOND


def shown(nanoseconds: int) -> str:
    """A time as people write it, without a zone, to the second."""
    return datetime.fromtimestamp(int(nanoseconds) // _SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _offsets(times: Stamps, ask: Callable[[int], _Offsets]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    days, places = np.unique(times // DAY_NS, return_inverse=True)
    starts = [ask(int(day) * _DAY) for day in days]
    ends = [ask(int(day + 1) * _DAY) for day in days]
    by_day = np.array(starts, dtype=np.int64).reshape(-1, 2)
    steady = np.array([one[0] == one[1] == other[0] == other[1] for one, other in zip(starts, ends, strict=True)])
    made = by_day[places]
    rest = np.flatnonzero(~steady[places])
    if len(rest):
        quarters, within = np.unique(times[rest] // (_QUARTER * _SECOND), return_inverse=True)
        made[rest] = np.array([ask(int(quarter) * _QUARTER) for quarter in quarters], dtype=np.int64)[within]
    return made[:, 0], made[:, 1]


def _of_clock(seconds: int, zone: tzinfo) -> _Offsets:
    at = datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=seconds)  # of the clock: no offset enters
    return _seconds(at), _seconds(at.replace(fold=1))


def _of_instant(seconds: int, zone: tzinfo) -> _Offsets:
    offset = _seconds(datetime.fromtimestamp(seconds, zone))
    return offset, offset


def _seconds(at: datetime) -> int:
    return int((at.utcoffset() or timedelta()).total_seconds())

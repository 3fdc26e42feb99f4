"""From a file to bars that are known to be good, or to an error that names what is not. Pure but for what it is given:
the file's bytes, what its user says of it, and the time of day."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.backtesting.bars import DAY_NS, Bars, Stamps
from adapters.backtesting.histories import checks
from adapters.backtesting.histories.arrow import csv_rows, parquet_rows
from adapters.backtesting.histories.clocks import to_clock, to_utc
from adapters.backtesting.histories.kinds import kind_of
from adapters.backtesting.histories.options import Options, zone
from adapters.backtesting.histories.problems import HistoryError, Problem, refusal
from adapters.backtesting.histories.rows import NUMBERS, Rows
from contracts.histories import Split

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DAYS = 4
"""Between most daily bars lie at most so many days."""
_PLACES = 12
"""Decimals of prices and volumes that a split made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Bars in order, each `period` nanoseconds long."""

    bars: Bars
    period: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Timed:
    """When each bar opened, UTC, and on which day of its zone; `period`: 0 where it must be found."""

    opened: Stamps
    days: Stamps
    period: int


def read(content: bytes, name: str, symbol: str, options: Options, now: int) -> Checked:
    """The bars of the file `name`: CSV, .gz of it, or Parquet, as its content tells. `now`: in nanoseconds, UTC.

    Raises HistoryError naming file, rows, reasons and fixes.
    """
    rows = _rows(content, name)
    timed, problems = _timed(rows, name, options)
    if not problems:  # a time that there never was has no order
        problems = checks.time_problems(timed.opened, now) + checks.order_problems(rows, timed.opened)
    problems += checks.value_problems(rows)
    if problems:
        raise refusal(name, problems, rows.where)
    period = timed.period or _period(timed, name)
    problems = checks.distance_problems(timed.opened, timed.days, period, options.max_gap)
    rows = _adjusted(rows, timed.days, options.splits, name)
    problems += checks.storage_problems(rows)
    if not options.jumps:
        problems += checks.jump_problems(rows.open, rows.close, timed.days)
    if problems:
        raise refusal(name, problems, rows.where)
    bars = Bars(
        symbol=symbol, opened=timed.opened, closed=timed.opened + (period - 1), open=rows.open, high=rows.high,
        low=rows.low, close=rows.close, volume=rows.volume,
    )  # fmt: skip
    return Checked(bars=bars, period=period)


def _rows(content: bytes, name: str) -> Rows:
    if content[:2] == _GZIP:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise HistoryError(f"{name} cannot be unpacked: {error}. Pack or fetch it again") from None
    return parquet_rows(content, name) if content[:4] == _PARQUET else csv_rows(content, name)


def _timed(rows: Rows, name: str, options: Options) -> tuple[_Timed, list[Problem]]:
    """Dates are days from midnight to midnight, UTC, as the shipped ones: wherever their market is."""
    asked = zone(options.timezone)
    local = to_clock(rows.times, asked) if rows.instants and asked is not None else rows.times
    if not np.any(local % DAY_NS):
        apart = checks.period_of(local) if len(local) > 2 else DAY_NS
        if apart > _DAYS * DAY_NS:
            raise HistoryError(
                f"{name} has bars that lie {checks.span(apart)} apart as a rule: daily bars, and shorter ones, can be "
                "tested. Give those"
            )
        return _Timed(opened=local, days=local // DAY_NS, period=DAY_NS), []
    if rows.instants:
        return _Timed(opened=rows.times, days=local // DAY_NS, period=0), []
    if asked is None:
        raise HistoryError(
            f"{name} has times without an offset ({rows.where(0)}), and no timezone is named: its bars could lie at "
            "any hour. Name the one of its clock, as timezone=America/New_York, or UTC"
        )
    opened, problems = to_utc(local, asked, asked.key)
    return _Timed(opened=opened, days=local // DAY_NS, period=0), problems


def _period(timed: _Timed, name: str) -> int:
    if len(timed.opened) < 2:
        raise HistoryError(f"{name} has one bar: how long it is cannot be seen. Give two or more, or a date")
    period = checks.period_of(timed.opened)
    if period >= DAY_NS:
        raise HistoryError(
            f"{name} has bars of {checks.span(period)} that open at an hour of the day: which day each is of is not "
            "known. Give dates; or the timezone in which they open at midnight"
        )
    kind_of(period, name)
    return period


def _adjusted(rows: Rows, days: Stamps, splits: Sequence[Split], name: str) -> Rows:
    """Prices before each split divided by its ratio, volumes multiplied: as if there had been today's shares ever."""
    if not splits:
        return rows
    factor = np.ones(len(rows))
    for split in splits:
        day = split.date.toordinal() - 719_163  # of 1970-01-01
        before = days < day
        if not before.any() or before.all():
            raise HistoryError(f"splits names {split.date}: {name} has no bars before it, or none since. Leave it out")
        factor[before] *= split.ratio
    changed = factor != 1.0
    made = {}
    for one in NUMBERS:
        values = getattr(rows, one)
        adjusted = values * factor if one == "volume" else values / factor
        made[one] = np.where(changed, np.round(adjusted, _PLACES), values)
    return rows.with_numbers(made)

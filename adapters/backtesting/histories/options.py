"""What a user says of a file of bars: its clock, its splits, and what of it is meant to be so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Self
from zoneinfo import ZoneInfo

from adapters.backtesting.histories.problems import HistoryError
from contracts.histories import Split

SECOND_NS = 10**9
ANY_GAP = 1 << 62
"""More nanoseconds than lie between any two bars."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPLIT = re.compile(r"(\d{4}-\d{2}-\d{2}):(\d{1,6}(?:\.\d{1,6})?)(?:/(\d{1,6}))?")
_SPAN = re.compile(r"(\d{1,6})([smhd])")
ANY, ALLOWED = "any", "allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`timezone`: of the file's clock and days; None: it must say so itself, and days are those of UTC. `max_gap`: for
    how long there may be no bars, in nanoseconds, where that is more than the defaults (checks.py). `splits`: by date.
    `jumps`: whether prices may jump as in a split."""

    timezone: str | None = None
    max_gap: int = 0
    splits: tuple[Split, ...] = ()
    jumps: bool = False

    @classmethod
    def parsed(
        cls, *, timezone: str | None = None, max_gap: str | None = None, splits: str | None = None,
        jumps: str | None = None,
    ) -> Self:  # fmt: skip
        """From words: `max_gap` 90m, 2h, 14d or any; `splits` 2020-08-31:4, by commas; `jumps` allowed.

        Raises HistoryError.
        """
        if jumps not in (None, "", ALLOWED):
            raise HistoryError(f"jumps is {jumps!r}: leave it out, or say {ALLOWED!r}")
        zone(timezone)
        return cls(
            timezone=timezone or None, max_gap=_span(max_gap), splits=_splits(splits or ""), jumps=jumps == ALLOWED
        )


def zone(name: str | None) -> ZoneInfo | None:
    """The time zone of that name; never this machine's own. Raises HistoryError."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise HistoryError(
            f"timezone is {name!r}, which is no time zone: bars would lie at other times. Give a name of the IANA "
            "database: America/New_York, Europe/Berlin, UTC"
        ) from None


def _span(text: str | None) -> int:
    if not text:
        return 0
    if text == ANY:
        return ANY_GAP
    match = _SPAN.fullmatch(text)
    if match is None:
        raise HistoryError(f"max_gap is {text!r}: give a span of time as 90m, 2h or 14d, or {ANY!r}")
    return int(match[1]) * _UNITS[match[2]] * SECOND_NS


def _splits(text: str) -> tuple[Split, ...]:
    made = sorted((_split(part) for part in filter(None, text.split(","))), key=lambda split: split.date)
    for one, other in pairwise(made):
        if one.date == other.date:
            raise HistoryError(f"splits names {one.date} twice: give each split once")
    return tuple(made)


def _split(text: str) -> Split:
    match = _SPLIT.fullmatch(text.strip())
    try:
        made = match and Split(date=date.fromisoformat(match[1]), ratio=float(match[2]) / float(match[3] or 1))
    except (ValueError, ZeroDivisionError):
        made = None
    if made is None or made.ratio in (0, 1):
        raise HistoryError(
            f"splits has {text!r}: give date:ratio, 2020-08-31:4 for four shares in place of one, or 1/10"
        )
    return made

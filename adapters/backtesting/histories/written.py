"""Times as people write them, one by one: for files whose times are not all of one common form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from adapters.backtesting.bars import Stamps
from adapters.backtesting.histories.problems import Problem, found

_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = 1677, 2262
"""Between which nanoseconds can count the years."""
_MICROSECOND = timedelta(microseconds=1)
_FORMS = "give YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, the same with an offset (Z or +01:00), or M/D/YYYY"


def parsed(texts: Sequence[str | None]) -> tuple[Stamps, bool, list[Problem]]:
    """Nanoseconds since 1970, whether they are instants (of UTC) or what a clock shows, and the rows that say neither,
    or the other thing than most."""
    made = [_read(text or "") for text in texts]
    good = np.array([one is not None for one in made])
    aware = np.array([one is not None and one.tzinfo is not None for one in made])
    instants = bool(2 * aware.sum() > good.sum())
    other = "has no offset, most rows have one" if instants else "has an offset, most rows have none"
    problems = found(~good, lambda row: f"time is {texts[row]!r}, no time", _FORMS)
    problems += found(
        good & (aware != instants), lambda row: f"time is {texts[row]!r}: it {other}", "write all in one way"
    )
    stamps = np.array([0 if one is None else _nanoseconds(one) for one in made], dtype=np.int64)
    return stamps, instants, problems


def _read(text: str) -> datetime | None:
    text = text.strip()
    american = _AMERICAN.fullmatch(text)
    try:
        if american:  # the form of the shipped files; days before months would soon break the order, and be refused
            made = datetime(int(american[3]), int(american[1]), int(american[2]))  # noqa: DTZ001 - what a clock shows
        else:
            made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return made if _FIRST < made.year < _LAST else None


def _nanoseconds(at: datetime) -> int:
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1000

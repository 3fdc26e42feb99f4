"""What of a comparison is kept, for how long it counts, and what is not gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.catalog import Column, Table
from adapters.postgres.checksums import Span
from validation.database.progress import COUNTS, Progress, UnreadableProgress, resume

TABLE = Table("s", "t", (Column("id", "integer"), Column("b", "text")), ("id",), ("id",))
IT = {"epoch": "3", "server of hosted": "7 1", "masks": ""}
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def kept(*ages: timedelta | None) -> str:
    """A comparison of one table, whose ranges were found the same so long ago; None: not yet."""
    progress = Progress(IT, NOW)
    ends = [None, *((str(number),) for number in range(1, len(ages))), None]
    parts = progress.cut(TABLE, [Span(*pair) for pair in pairwise(ends)])
    for number, (part, age) in enumerate(zip(parts, ages, strict=True)):
        if age is not None:
            part.rows, part.seen = number, NOW - age
    return progress.to_json()


def test_it_goes_there_and_back() -> None:
    text = kept(None, MINUTE)
    read, told = resume(text, IT, NOW, COUNTS)
    assert read.to_json() == text
    known = read.known(TABLE)
    assert known is not None
    assert [(part.span, part.rows) for part in known] == [(Span(None, ("1",)), None), (Span(("1",), None), 1)]
    assert told == "going on with a comparison of 2026-05-01T11:59:00Z: 1 of 2 ranges are done"


def test_another_shape_is_not_known() -> None:
    progress = Progress(IT)
    progress.cut(TABLE, [Span()])
    assert progress.known(replace(TABLE, rows=9, bytes=9, owner="x")) is not None
    assert progress.known(replace(TABLE, columns=(*TABLE.columns, Column("c", "text")))) is None
    assert progress.known(replace(TABLE, columns=(TABLE.columns[0], Column("b", "jsonb")))) is None
    assert progress.known(replace(TABLE, primary_key=("b",))) is None
    assert progress.known(replace(TABLE, name="u")) is None


def anew(text: str | None, identity: dict[str, str] = IT, now: datetime = NOW, limit: timedelta = COUNTS) -> str:
    """What is said of it; it must begin anew."""
    progress, told = resume(text, identity, now, limit)
    assert (progress, progress.started) == (Progress(identity, now), now)
    return told


@pytest.mark.parametrize("name", IT)
def test_where_anything_of_its_identity_is_another_it_begins_anew_and_says_what(name: str) -> None:
    assert anew(kept(MINUTE), {**IT, name: "another"}).endswith(f"not gone on with: since then another: {name}")
    assert name in anew(kept(MINUTE), {other: value for other, value in IT.items() if other != name})
    assert "a new one" in anew(kept(MINUTE), {**IT, "a new one": ""})


def test_where_nothing_was_kept_nothing_is_said() -> None:
    assert anew(None) == ""


def test_a_range_counts_for_a_time_and_the_verdict_is_as_old_as_the_oldest() -> None:
    text = kept(COUNTS + MINUTE, COUNTS, None, MINUTE)
    read, told = resume(text, IT, NOW, COUNTS)
    assert [part.rows for part in read.tables["s.t"].parts] == [None, 1, None, 3]
    assert (read.started, read.began) == (NOW - COUNTS, NOW)
    assert told.endswith("2 of 4 ranges are done")
    assert anew(kept(COUNTS + MINUTE, None)).endswith("nothing of it is younger than 2 h")
    assert anew(kept(MINUTE), limit=MINUTE / 2)  # where verdicts expire sooner
    assert anew(kept(-timedelta(hours=1)))  # of a clock that is wrong
    assert resume(kept(-MINUTE), IT, NOW, COUNTS)[0].started == NOW  # of one that is a little ahead


@given(
    ages=st.lists(st.none() | st.timedeltas(-COUNTS, 3 * COUNTS), min_size=1, max_size=8),
    limit=st.timedeltas(MINUTE, 2 * COUNTS),
)
def test_no_range_beyond_the_limit_is_ever_gone_on_with(ages: list[timedelta | None], limit: timedelta) -> None:
    text = kept(*ages)
    progress, told = resume(text, IT, NOW, limit)
    counted = [age for age in ages if age is not None and -timedelta(minutes=5) <= age <= limit]
    assert progress.done == ((len(counted), len(ages)) if counted else (0, 0))
    assert progress.started == min([NOW, *(NOW - age for age in counted)])
    assert ("going on" in told) is bool(counted)


PART = {"lower": None, "upper": None, "rows": None, "seen": None}
SEEN = "2024-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", "3", '{"version": 1}', '{"version": 3}', '{"version": 2, "identity": {}}',
        '{"version": 2, "identity": "it", "tables": {}}',
        *(
            json.dumps({"version": 2, "identity": IT, "tables": {"s.t": {"shape": "", "parts": [part]}}})
            for part in (
                {}, {**PART, "rows": -1, "seen": SEEN}, {**PART, "rows": "1", "seen": SEEN}, {**PART, "rows": 1},
                {**PART, "seen": SEEN}, {**PART, "rows": 1, "seen": "then"}, {**PART, "lower": "5"},
                {**PART, "rows": 1, "seen": "2024-01-01T00:00:00"}, {**PART, "upper": [5]},
            )
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_begins_anew_and_is_said(text: str) -> None:
    with pytest.raises(UnreadableProgress):
        Progress.from_json(text)
    assert "not gone on with: " in anew(text)
    Progress.from_json(json.dumps({"version": 2, "identity": IT, "tables": {"s.t": {"shape": "", "parts": [PART]}}}))

"""How far a copy is."""

from __future__ import annotations

import pytest

from adapters.postgres.progress import Progress

HALF = Progress(
    tables=2, tables_done=1, parts=4, parts_done=2, rows=10, bytes=3_000_000, weight=1000, done=500, before=250,
    seconds=10.0,
)  # fmt: skip


def changed(**values: object) -> Progress:
    fields = {name: getattr(HALF, name) for name in Progress.__dataclass_fields__}
    return Progress(**{**fields, **values})


def test_what_earlier_runs_did_counts_for_the_share_but_not_for_the_pace() -> None:
    assert HALF.share == 0.5
    assert HALF.rate == pytest.approx(300_000)
    assert HALF.eta == pytest.approx(20.0)


def test_nothing_moved_tells_no_time_and_nothing_left_takes_none() -> None:
    assert changed(done=250).eta is None
    assert changed(parts_done=4).eta == 0
    assert changed(weight=0, done=0, parts=0, parts_done=0).share == 1
    assert changed(seconds=0.0).rate == 0


def test_it_is_told_in_a_line() -> None:
    assert str(HALF) == "50%: 1 of 2 tables, 10 rows, 3.0 MB at 0.3 MB/s, 20 s left"
    assert str(changed(done=250, paused="lag")).endswith("MB/s, paused: lag")

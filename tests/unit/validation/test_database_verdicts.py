"""A verdict that is kept is worth something for a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.database.fingerprint import Fingerprint, UnreadableFingerprint
from validation.database.verdicts import KeptVerdict, UnreadableVerdict, fresh, standing
from validation.result import Verdict

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEPT = KeptVerdict(
    subject="rows", outcome=Verdict.HOLDS, at=NOW - HOUR, source="0/16B3748", target="1/A", fingerprint="f", tables=2,
    rows=10,
)  # fmt: skip


def changed(**changes: object) -> str:
    return json.dumps(json.loads(KEPT.to_json()) | changes)


def test_a_fresh_one_stands() -> None:
    check = standing(KEPT.to_json(), "rows", NOW, fingerprint="f")
    assert check.outcome is Verdict.HOLDS
    assert "10 rows of 2 tables" in check.found
    assert KeptVerdict.from_json(KEPT.to_json()) == KEPT


def test_one_that_does_not_hold_says_so() -> None:
    check = standing(changed(outcome="does_not_hold", detail="s.t (id = '1')"), "rows", NOW)
    assert (check.outcome, check.detail) == (Verdict.DOES_NOT_HOLD, "s.t (id = '1')")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "none"),
        ("", "none"),
        ("{", "not a verdict"),
        ("[]", "version"),
        (changed(version=2), "version"),
        (changed(outcome="fine"), "not a verdict"),
        (changed(at="2024-05-01T11:00:00"), "not a verdict"),
        (changed(source="here"), "not a verdict"),
        (changed(more=1), "not a verdict"),
        (changed(tables=0), "no table"),
        (changed(subject="structure"), "structure"),
        (changed(fingerprint="g"), "schema has changed"),
        (changed(at="2024-04-30T11:59:59Z"), "2024-04-30T11:59:59Z"),
        (changed(at="2024-05-01T12:06:00Z"), "2024-05-01T12:06:00Z"),
        (changed(outcome="could_not_check", detail="no right"), "no right"),
    ],
)
def test_all_others_are_none(text: str | None, why: str) -> None:
    check = standing(text, "rows", NOW, fingerprint="f")
    assert check.outcome is Verdict.COULD_NOT_CHECK
    assert why in check.detail
    assert check.fix


@pytest.mark.parametrize("text", [b"\xff", b"", "null", '{"version": 1}', '{"version": 2, "parts": {}}'])
def test_what_cannot_be_read_is_raised(text: str | bytes) -> None:
    with pytest.raises(UnreadableVerdict):
        KeptVerdict.from_json(text)
    with pytest.raises(UnreadableFingerprint):
        Fingerprint.from_json(text)


@given(st.timedeltas(timedelta(days=-2), timedelta(days=2)), st.timedeltas(timedelta(0), timedelta(days=1)))
def test_it_is_fresh_for_so_long(age: timedelta, limit: timedelta) -> None:
    kept = KEPT.model_copy(update={"at": NOW - age})
    assert fresh(kept, NOW, limit) == (timedelta(minutes=-5) <= age <= limit)

"""A verdict that is kept is worth something for a time, and to the switch that it was made for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.database.fingerprint import Fingerprint, UnreadableFingerprint
from validation.result import Verdict
from validation.verdicts import KeptVerdict

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SWITCH, AFTER = "shadow -> scale", "2024-05-01T10:00:00.000Z"
KEPT = KeptVerdict(
    outcome=Verdict.HOLDS, at=NOW - HOUR, active="hosted", ahead_of=SWITCH, after=AFTER,
    positions={"hosted": "0/16B3748", "selfhosted": "1/A"}, fingerprint="f", detail="10 rows of 2 tables equal",
)  # fmt: skip


def changed(**changes: object) -> str:
    return json.dumps(json.loads(KEPT.to_json()) | changes)


def test_what_is_kept_is_read() -> None:
    assert KeptVerdict.read(KEPT.to_json()) == KEPT
    assert KEPT.told(NOW, DAY) == "holds, 1.0 h old"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        changed(version=2),
        changed(outcome="fine"),
        changed(at="2024-05-01T11:00:00"),
        changed(more=1),
        json.dumps({"version": 1}),
    ],
)
def test_what_cannot_be_read_is_none(text: str | None) -> None:
    assert KeptVerdict.read(text) is None


@pytest.mark.parametrize(
    ("changes", "spared"),
    [
        ({}, True),
        ({"outcome": Verdict.DOES_NOT_HOLD}, False),
        ({"outcome": Verdict.COULD_NOT_CHECK}, False),
        ({"ahead_of": "scale -> shadow"}, False),
        ({"ahead_of": ""}, False),
        ({"after": "2024-05-01T09:00:00.000Z"}, False),
        ({"at": NOW - DAY - HOUR}, False),
        ({"at": NOW + HOUR}, False),
    ],
)
def test_only_a_fresh_one_that_holds_of_the_switch_that_was_cut_off_spares_it_the_comparison(
    changes: dict[str, object], spared: bool
) -> None:
    assert KEPT.model_copy(update=changes).spares(SWITCH, AFTER, NOW, DAY) is spared
    assert not KEPT.model_copy(update={"ahead_of": ""}).spares("", AFTER, NOW, DAY)


@given(st.timedeltas(timedelta(days=-2), timedelta(days=2)), st.timedeltas(timedelta(0), DAY), st.sampled_from(Verdict))
def test_it_is_fresh_for_so_long_and_says_so(age: timedelta, limit: timedelta, outcome: Verdict) -> None:
    kept = KEPT.model_copy(update={"at": NOW - age, "outcome": outcome})
    fresh = timedelta(minutes=-5) <= age <= limit
    assert kept.fresh(NOW, limit) == fresh
    assert kept.spares(SWITCH, AFTER, NOW, limit) == (fresh and outcome is Verdict.HOLDS)
    assert ("stale" in kept.told(NOW, limit)) != fresh


@pytest.mark.parametrize("text", [b"\xff", b"", "null", '{"version": 1}', '{"version": 2, "parts": {}}'])
def test_a_fingerprint_that_cannot_be_read_is_raised(text: str | bytes) -> None:
    with pytest.raises(UnreadableFingerprint):
        Fingerprint.from_json(text)

"""Three answers, and the third is never taken for the first."""

from __future__ import annotations

import io
import itertools
import json

import pytest
from rich.console import Console

from validation.result import Check, Report, UnreadableReport, Verdict, combine

HOLDS = Check.that("a", True, expected="1", found="1")
BROKEN = Check.that("b", False, expected="1", found="2", fix="turn it off and on")
UNKNOWN = Check.unknown("c", expected="1", why="the file is missing")


def test_no_checks_is_not_a_pass() -> None:
    assert Report(subject="x", checks=()).overall() is Verdict.COULD_NOT_CHECK
    assert combine([]) is Verdict.COULD_NOT_CHECK


@pytest.mark.parametrize("order", list(itertools.permutations((HOLDS, BROKEN, UNKNOWN))))
def test_a_failure_outweighs_the_rest(order: tuple[Check, ...]) -> None:
    assert Report(subject="x", checks=order).overall() is Verdict.DOES_NOT_HOLD


def test_what_could_not_be_checked_outweighs_what_holds() -> None:
    report = Report(subject="x", checks=(HOLDS, UNKNOWN))
    assert report.overall() is Verdict.COULD_NOT_CHECK
    assert not report.overall().passed
    assert report.failures() == (UNKNOWN,)


def test_only_holds_passes() -> None:
    assert [verdict for verdict in Verdict if verdict.passed] == [Verdict.HOLDS]


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_count_over_nothing_could_not_be_checked(wrong: int) -> None:
    assert Check.none_wrong("lost", wrong=wrong, of=0, what="lost").outcome is Verdict.COULD_NOT_CHECK


def test_a_count_holds_only_at_zero() -> None:
    assert Check.none_wrong("lost", wrong=0, of=5, what="lost").outcome is Verdict.HOLDS
    assert Check.none_wrong("lost", wrong=1, of=5, what="lost").outcome is Verdict.DOES_NOT_HOLD


def test_json_goes_there_and_back() -> None:
    report = Report(subject="event_bus", checks=(HOLDS, BROKEN, UNKNOWN), figures={"lost": 1})
    body = json.loads(report.to_json())
    assert (body["version"], body["overall"], body["checks"][2]["outcome"]) == (1, "does_not_hold", "could_not_check")
    assert Report.from_json(report.to_json(indent=2)) == report


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"overall": "holds"},
        {"overall": None},
        {"extra": 1},
        {"checks": [{"name": "a", "outcome": "fine", "expected": "", "found": ""}]},
    ],
)
def test_json_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    body = json.loads(Report(subject="x", checks=(BROKEN,)).to_json()) | change
    with pytest.raises(UnreadableReport):
        Report.from_json(json.dumps(body))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"version": 1'])
def test_text_that_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(UnreadableReport):
        Report.from_json(text)


def test_the_table_shows_verdicts_and_fixes_and_takes_no_markup_from_values() -> None:
    out = io.StringIO()
    odd = Check.that("[red]x[/]", False, expected="[/nope]", found="[b]", fix="see docs")
    Console(file=out, width=120).print(Report(subject="bus", checks=(BROKEN, UNKNOWN, odd)).table())
    text = out.getvalue()
    for piece in ("DOES NOT HOLD", "COULD NOT CHECK", "turn it off and on", "the file is missing", "[/nope]"):
        assert piece in text

"""The frame of the benchmarks: turns, spreads, and which side of a bound is good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import frame


def figure(value: float, *, at_most: bool = True) -> frame.Figure:
    return frame.Figure(figure="f", value=value, unit="ms", limit=10, aim=5, at_most=at_most, how="by hand")


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    seen: list[str] = []

    def take(name: str) -> int:
        seen.append(name)
        return len(seen)

    results = frame.take_turns(2, {"a": lambda: take("a"), "b": lambda: take("b")})
    assert seen == ["b", "a", "a", "b", "b", "a"]
    assert results == {"a": [3, 6], "b": [4, 5]}


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = frame.ratios([2.0, 30.0, 4.0], [1.0, 10.0, 4.0])
    assert found.median == 2.0
    assert found.rounds == 3


@pytest.mark.parametrize(
    ("value", "at_most", "met", "status"),
    [(4, True, True, 0), (7, True, False, 0), (11, True, False, 1), (11, False, True, 0)],
)
def test_a_broken_limit_fails_and_a_missed_aim_is_shown(
    value: float, *, at_most: bool, met: bool, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "REPORTS", tmp_path)
    assert frame.report("x", [figure(value, at_most=at_most)]) == status
    entries = json.loads((tmp_path / "x.json").read_text())
    assert set(entries[0]) == {"figure", "value", "unit", "limit", "aim", "met", "how"}
    assert entries[0]["met"] is met


def test_a_figure_without_a_limit_is_shown_and_breaks_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "REPORTS", tmp_path)
    free = frame.Figure(figure="f", value=1e9, unit="ms", at_most=True, how="by hand")
    assert frame.report("x", [free]) == 0
    assert json.loads((tmp_path / "x.json").read_text())[0]["limit"] is None
    assert frame.report("x", [free, figure(11)]) == 1


def test_no_figures_are_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "REPORTS", tmp_path)
    assert frame.report("x", []) == 1

"""What the report of a migration shows, from what was gathered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CliError
from cli.report.measured import Demonstration
from cli.report.model import Audited, LastRun, MigrationReport, bands, build, instant
from contracts.audit import Broken, Kind, moment
from contracts.stages import Component, Stage
from tests.unit.cli.report.migrations import BUS, DATABASE, Told, at, gathered, route, whole


def ways(report: MigrationReport) -> list[tuple[str, str, str]]:
    return [(f"{move.origin}-{move.goal}", move.outcome, move.source) for move in report.moves]


def test_moves_are_told_from_their_beginning_with_who_and_their_steps() -> None:
    report = build(gathered())
    assert ways(report) == [
        ("mvp-shadow", "holds", "audit log"),
        ("scale-shadow", "switched back", "audit log"),
        ("shadow-scale", "holds", "audit log"),
    ]
    first = report.moves[0]
    assert (first.began, first.ended, first.seconds, first.by, first.epoch) == (
        moment(at(2)), moment(at(3)), 60.0, "Job t-1", 2,
    )  # fmt: skip
    assert [(step.step, step.seconds) for step in first.steps] == [("fence", 0.034), ("watch", 10.5)]
    assert [move.good for move in report.moves] == [True, False, True]


def test_what_the_log_lacks_the_route_tells() -> None:
    told = whole()
    there = told.move(15, "scale", "shadow")
    missing = there.model_copy(update={"at": moment(at(18)), "outcome": "undone", "detail": "lag"})
    live = route(Stage.SHADOW, there, missing)
    report = build(gathered(log=told.log.lines(), routes={BUS: live}))
    assert ways(report)[-2:] == [("scale-shadow", "holds", "audit log"), ("scale-shadow", "undone", "route")]
    without = build(gathered(log="it could not be read: no right", routes={BUS: live}))
    assert [source for _, _, source in ways(without)] == ["route", "route"]
    assert without.audit == Audited(trouble="it could not be read: no right")
    assert "audit log: it could not be read: no right" in without.gaps


def test_a_move_whose_end_nobody_tells_is_told_as_that() -> None:
    told = whole()
    told.tell(15, Kind.BEGUN, BUS, "Job t-2", from_="scale", to="complete", epoch=4)
    assert ways(build(gathered(log=told.log.lines())))[-1] == ("scale-complete", "no end is told", "audit log")
    told.tell(16, Kind.BEGUN, BUS, "Job t-3", from_="scale", to="complete", epoch=5)
    told.tell(17, Kind.ENDED, BUS, "Job t-3", from_="scale", to="complete", epoch=5, outcome="holds", seconds=60.0)
    assert [one[1] for one in ways(build(gathered(log=told.log.lines())))[-2:]] == ["no end is told", "holds"]


def test_entries_of_another_version_are_passed_over() -> None:
    told = Told()
    told.log.append("something new", "event_bus", "x", {"of": "a version to come"})
    told.log.append(Kind.ENDED, "a_new_component", "x", {"at": moment(at(1)), "to": "scale", "outcome": "holds"})
    told.tell(2, Kind.ENDED, BUS, "x", from_="mvp", to="scale", outcome="holds", seconds=1.0, steps=[{"new": "form"}])
    report = build(gathered(log=told.log.lines()))
    assert ways(report) == [("mvp-scale", "holds", "audit log")]
    assert report.moves[0].steps == ()
    assert report.audit.entries == 3 and report.audit.whole


def test_who_asked_approved_and_held_back_is_told_with_what_config_became() -> None:
    report = build(gathered())
    assert [(one.kind, one.by, one.detail) for one in report.said] == [
        ("held back", "ann@desk", "FREEZE is there: quarter's end"),
        ("config changed", "ann@desk", "mvp -> scale"),
        ("approved", "bob@desk", "Move event_bus now?"),
        ("config changed", "bob@desk", "scale -> scale"),
    ]
    [change] = report.changes
    assert (change.first, change.last, change.changes, change.by) == ("mvp", "scale", 2, "bob@desk")


def test_only_what_was_asked_for_is_shown() -> None:
    report = build(gathered(), [DATABASE])
    assert [one.component for one in report.standings] == [DATABASE]
    assert not report.moves and not report.changes
    assert [one.kind for one in report.said] == ["held back"]  # a freeze is of all components
    assert [one.component for one in build(gathered(), [BUS]).standings] == [BUS]


def test_a_standing_has_what_status_tells_and_the_last_run() -> None:
    bus, database = build(gathered()).standings
    assert (bus.stage, bus.serves, bus.epoch, bus.state) == (Stage.SCALE, "kafka", 4, "in step")
    assert bus.compared is not None and bus.compared.detail == "8 events equal"
    assert bus.run.verdict == "holds" and [step.step for step in bus.run.steps] == ["fence"]
    assert (database.state, database.run) == ("not deployed", LastRun())


def test_a_broken_log_is_shown_up_to_its_break() -> None:
    lines = list(whole().log.lines())
    lines[3] = (lines[3][0], "torn")
    report = build(gathered(log=lines, broken=Broken("entry 4 (crossover-audit-000001)", "it cannot be read")))
    assert (report.audit.whole, report.audit.entries) == (False, 3)
    assert report.gaps == ["audit log: BROKEN at entry 4 (crossover-audit-000001): it cannot be read"]
    assert not [move for move in report.moves if move.ended]


def test_the_digest_is_over_the_data_and_the_data_is_all() -> None:
    report = build(gathered())
    assert report.digest == build(gathered()).digest
    assert MigrationReport.model_validate_json(report.data) == report
    assert json.dumps(json.loads(report.data), sort_keys=True, separators=(",", ":")) == report.data
    other = build(gathered(by="eve@desk"))
    assert other.digest != report.digest


def test_what_a_run_could_not_tell_the_audit_log_is_a_gap() -> None:
    run = LastRun(job="t-1", verdict="holds", unaudited="AUDIT: 2 entries")
    assert build(gathered(runs={BUS: run})).gaps == ["event_bus: AUDIT: 2 entries"]


def test_no_password_is_in_it() -> None:
    run = LastRun(job="t-1", verdict="does not hold", message="postgresql://app:hush-hush@db/x is away")
    assert "hush" not in build(gathered(runs={BUS: run})).data


def test_stages_over_time_follow_from_the_moves_and_end_at_the_stage_now() -> None:
    report = build(gathered())
    found = bands(report.standings[0], report.moves, at(2), instant(report.made_at))
    assert [(band.start, band.end, band.stage) for band in found] == [
        (at(2), at(3), "mvp"),
        (at(3), at(13), "shadow"),
        (at(13), at(20), "scale"),
    ]
    undone = Told()
    undone.move(1, "shadow", "scale", "undone")
    undone.move(5, "shadow", "scale")
    report = build(gathered(log=undone.log.lines()))
    assert [band.stage for band in bands(report.standings[0], report.moves, at(1), at(20))] == ["shadow", "scale"]
    assert bands(report.standings[1], [], at(1), at(20)) == []  # not deployed
    [still] = bands(report.standings[0], [], at(1), at(20))
    assert (still.start, still.end, still.stage) == (at(1), at(20), "scale")


# -- what the demonstration measured

SWITCH = {
    "component": "event_bus", "from": "mvp", "to": "scale", "started": "2026-05-01T12:00:00+00:00", "seconds": 57.4,
    "acknowledged": 186231, "lost": 0, "doubled": 0, "reordered": 0, "changed": None, "caller_errors": 0,
    "publish_stall_ms_max": 598.9, "rate": 1050.0, "window_seconds": 177.4, "acknowledged_by": {"kafka": 1},
    "verdict": "holds", "failures": [],
}  # fmt: skip
DEMO: dict[str, Any] = {
    "switches": [SWITCH, {**SWITCH, "component": "database", "stall_ms_max": None}],
    "whole": {"figures": {"rate": 1050.0}, "failures": []}, "run": {"id": "demo-1"}, "problem": None,
    "verdict": "holds",
}  # fmt: skip


def test_the_demonstrations_figures_are_read(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    file.write_text(json.dumps(DEMO))
    found = Demonstration.read(file)
    first = found.switches[0]
    assert (first.origin, first.goal, first.counts["lost"], first.counts["changed"]) == ("mvp", "scale", 0, None)
    assert first.times == {"publish_stall_ms_max": 598.9}
    assert found.figures == {"whole": {"rate": 1050.0}}
    report = build(gathered(demonstration=found), [BUS])
    assert report.demonstration is not None
    assert [one.component for one in report.demonstration.switches] == [BUS]
    assert MigrationReport.model_validate_json(report.data) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "holds", "switches": [{}]}'])
def test_what_is_no_demonstration_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "demo.json"
    file.write_text(text)
    with pytest.raises(CliError, match=r"demo\.json cannot be read"):
        Demonstration.read(file)
    with pytest.raises(CliError, match="No such file"):
        Demonstration.read(tmp_path / "none.json")


def test_every_component_has_a_place_in_the_report() -> None:
    assert {one.value for one in Component} == {"event_bus", "llm_service", "database", "backtesting"}

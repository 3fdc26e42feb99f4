"""The event bus on the cluster, moved by the plain `pulumi` CLI under load: there and back, stopped by a
gate, and cut off. The tests follow one another on one stack, as a user's day would."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.stages import Stage
from local.demo.figures import COUNTS
from local.demo.journey import Journey, Wishes
from tests.e2e.journey import RATE, Stack, clean, figures_of, read_report

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

AROUND = 5.0


def test_there_and_back_under_load_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    report = tmp_path / "journey.json"
    wishes = Wishes(around=AROUND, rate=RATE, min_rate=RATE, transfers=0, chats=0, backtests=0, report=report)
    journey = Journey(stack.root, wishes, stack.lines.append)
    try:
        body = journey.run()
    finally:
        journey.close()
    assert body["verdict"] == "holds", body
    assert body == read_report(report)
    there, back = body["switches"][-2:]
    assert (there["from"], there["to"], back["from"], back["to"]) == ("mvp", "scale", "scale", "shadow")
    for switch in (there, back):
        assert {name: switch[name] for name in COUNTS if name != "acknowledged"} == dict.fromkeys(COUNTS[1:], 0)
        # Both backends took events in each window: the switch was really made under load.
        assert set(switch["acknowledged_by"]) == {"redis", "kafka"}
    route, _ = stack.route()
    assert (route.stage, route.active, route.fence) == (Stage.SHADOW, "redis", None)


def test_an_update_without_a_change_changes_nothing(stack: Stack) -> None:
    stage = stack.route()[0].stage
    stack.ask_for(stage)
    stack.pulumi.up()  # whatever the test before left to do
    before = stack.route()
    said = figures_of(stack.pulumi.up())
    assert "unchanged" in said, said
    assert not any(word in said for word in ("created", "updated", "deleted", "replaced")), said
    assert stack.route() == before


def test_a_failed_gate_leaves_traffic_where_it_was_and_an_update_tries_again(stack: Stack) -> None:
    stack.bring_to(Stage.SHADOW)
    with stack.load() as load:
        stack.ask_for(Stage.SCALE)
        with stack.adapter_that_never_answers("stuck-pod.bus"):
            said = stack.failing_up()
        assert "VERDICT" in said, said
        assert "stuck-pod.bus" in said, said
        route, _ = stack.route()
        assert (route.stage, route.active, route.fence) == (Stage.SHADOW, "redis", None)
        load.check()
        stack.pulumi.up()  # the same config: what failed is tried again
        route, _ = stack.route()
        assert (route.stage, route.active) == (Stage.SCALE, "kafka")
        load.hold(AROUND, "load on the new side")
        report = clean(load)
    assert report.figures["acknowledged_redis"] > 0
    assert report.figures["acknowledged_kafka"] > 0


def test_an_update_that_is_cut_off_is_resumed_by_the_next(stack: Stack) -> None:
    stack.bring_to(Stage.SCALE)
    with stack.load() as load:
        stack.ask_for(Stage.SHADOW)
        stack.interrupted_up(lambda: bool(stack.running_jobs()))
        stack.pulumi.up()
        route, _ = stack.route()
        assert (route.stage, route.active, route.fence, route.progress) == (Stage.SHADOW, "redis", None, None)
        load.hold(AROUND, "load on the old side")
        clean(load)


def test_preview_shows_the_stage_and_changes_nothing(stack: Stack) -> None:
    before = stack.route()
    assert before[0].stage is Stage.SHADOW
    stack.ask_for(Stage.SCALE)
    try:
        said = stack.pulumi.preview().output
    finally:
        stack.ask_for(Stage.SHADOW)
    assert '"shadow" => "scale"' in said, said
    assert stack.route() == before

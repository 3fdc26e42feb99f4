"""The event bus on the cluster, moved by the plain `pulumi` CLI under load: stopped by a gate, and cut off. The tests
follow one another on one stack, as a user's day would. There and back: test_event_bus_faults.py, `make demo`."""

from __future__ import annotations

import pytest

from contracts.stages import Stage
from tests.e2e.journey import Stack, clean, figures_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

AROUND = 5.0


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

"""Kafka dies on the cluster while it serves, and one change of config brings traffic back to Redis; then what only
Kafka held is delivered. By the `crossover` command, as its user types it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from contracts import names
from contracts.stages import Stage
from local.demo.load import Load
from tests.e2e.chaos import await_true, gone
from tests.e2e.journey import RATE, Stack, seconds_of_emergency
from validation.load.verifying import WHOLE
from validation.result import Report

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KAFKA = names.KAFKA_NAME
MOST_SECONDS = 10.0
"""What is promised for the data plane: the steps of the run, from its survey to the count."""
AROUND = 5.0


def judged(load: Load) -> Report:
    """End `load`; its report, in which nothing may be lost or changed. What was stranded may come out of order, and
    what had no answer twice: docs/emergency.md."""
    load.stop()
    report = load.judge({}, RATE)[WHOLE]
    print({name: value for name, value in report.figures.items() if value})
    assert not report.figures["lost"] and not report.figures["changed"], load.said()
    return report


@pytest.fixture(autouse=True)
def _no_emergency_stays(stack: Stack) -> Iterator[None]:
    yield
    stack.end_emergency()


def test_kafka_dies_and_traffic_is_back_in_seconds_and_nothing_is_lost(stack: Stack) -> None:
    stack.bring_to(Stage.SCALE)
    with stack.load() as load:
        load.hold(AROUND, "load on kafka")
        with gone(stack, KAFKA):
            said = stack.crossover("rollback", "event_bus", "--emergency")
            print(said)
            route, _ = stack.route()
            assert (route.stage, route.active, route.fence, route.mirror) == (Stage.SHADOW, "redis", None, None)
            assert seconds_of_emergency(said) < MOST_SECONDS
            assert set(route.stranded or {}) == set(route.chains)
            load.hold(AROUND, "load on redis, without kafka")
            stack.pulumi.up()  # still without Kafka, and asks nothing of it
        told = stack.crossover("status", status=1)
        assert "out of step" in told and "traffic fled from kafka" in told, told
        stack.crossover("rollback", "event_bus")
        route, _ = stack.route()
        assert route.stranded is None and route.mirror is not None
        load.hold(AROUND, "load on redis, kafka in step again")
        report = judged(load)
    assert report.figures["acknowledged_redis"] > 0
    assert report.figures["acknowledged_kafka"] > 0


def test_a_component_is_validated_beside_its_data(stack: Stack) -> None:
    said = stack.crossover("validate", "event_bus")
    assert "does not hold" not in said and "compare" in said, said


def test_dead_letters_are_listed_from_beside_the_data(stack: Stack) -> None:
    said = stack.crossover("dead-letters", "list", "market_data")
    assert re.search(r"\d+ dead letters of market_data", said), said


def test_the_way_to_scale_is_open_again(stack: Stack) -> None:
    stack.crossover("migrate", "event_bus")
    await_true(lambda: stack.route()[0].active == "kafka", 5, "the route names kafka")

"""Kafka dies on the cluster while it serves, and one change of config brings traffic back to Redis; then what only
Kafka held is delivered. By the `crossover` command, as its user types it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contracts import names
from contracts.stages import Stage
from local.demo.load import Load
from tests.e2e.chaos import await_true
from tests.e2e.journey import RATE, Stack
from validation.load.verifying import WHOLE
from validation.result import Report

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KAFKA = f"statefulset/{names.KAFKA_NAME}"
MOST_SECONDS = 10.0
"""What is promised for the data plane: the steps of the run, from its survey to the count."""
AROUND = 5.0
EMERGENCY_STEPS = ("survey", "break_off", "flee")


def crossover(stack: Stack, *arguments: str, status: int = 0) -> str:
    """The output of the command, which must end with that exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=stack.root, env=stack.env, text=True, capture_output=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == status, f"crossover {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def no_kafka(stack: Stack) -> Iterator[None]:
    """Kafka is gone at once, and does not come back while the block lasts. Its volume stays."""
    replicas = (stack.kubectl.get(*KAFKA.split("/")) or {})["spec"]["replicas"]
    stack.kubectl.run("scale", KAFKA, "--replicas=0")
    stack.kubectl.run("delete", "pod", "-l", f"app={names.KAFKA_NAME}", "--force", "--grace-period=0", timeout=90)
    try:
        yield
    finally:
        stack.kubectl.run("scale", KAFKA, f"--replicas={replicas}")
        stack.kubectl.run("rollout", "status", KAFKA, "--timeout=240s", timeout=260)


def judged(load: Load) -> Report:
    """End `load`; its report, in which nothing may be lost or changed. What was stranded may come out of order, and
    what had no answer twice: docs/emergency.md."""
    load.stop()
    report = load.judge({}, RATE)[WHOLE]
    print({name: value for name, value in report.figures.items() if value})
    assert not report.figures["lost"] and not report.figures["changed"], load.said()
    return report


def seconds_of(said: str) -> float:
    """How long the steps of an emergency took, by what the run told of them."""
    found = dict(re.findall(rf"\b({'|'.join(EMERGENCY_STEPS)}) +holds +([\d.]+) s", said))
    assert set(found) == set(EMERGENCY_STEPS), said
    return sum(float(seconds) for seconds in found.values())


@pytest.fixture(autouse=True)
def _no_emergency_stays(stack: Stack) -> Iterator[None]:
    """Whatever became of a test, the next one's config asks for none."""
    yield
    path = "crossover:event_bus.emergency"
    subprocess.run(
        [stack.pulumi.program, "config", "rm", "--path", path, "--stack", "local"],
        cwd=stack.root, env=stack.env, capture_output=True, check=False,
    )  # fmt: skip


def test_kafka_dies_and_traffic_is_back_in_seconds_and_nothing_is_lost(stack: Stack) -> None:
    stack.bring_to(Stage.SCALE)
    with stack.load() as load:
        load.hold(AROUND, "load on kafka")
        with no_kafka(stack):
            said = crossover(stack, "rollback", "event_bus", "--emergency")
            print(said)
            route, _ = stack.route()
            assert (route.stage, route.active, route.fence, route.mirror) == (Stage.SHADOW, "redis", None, None)
            assert seconds_of(said) < MOST_SECONDS
            assert set(route.stranded or {}) == set(route.chains)
            load.hold(AROUND, "load on redis, without kafka")
            stack.pulumi.up()  # still without Kafka, and asks nothing of it
        told = crossover(stack, "status", status=1)
        assert "out of step" in told and "traffic fled from kafka" in told, told
        crossover(stack, "rollback", "event_bus")
        route, _ = stack.route()
        assert route.stranded is None and route.mirror is not None
        load.hold(AROUND, "load on redis, kafka in step again")
        report = judged(load)
    assert report.figures["acknowledged_redis"] > 0
    assert report.figures["acknowledged_kafka"] > 0


def test_a_component_is_validated_beside_its_data(stack: Stack) -> None:
    said = crossover(stack, "validate", "event_bus")
    assert "does not hold" not in said and "compare" in said, said


def test_dead_letters_are_listed_from_beside_the_data(stack: Stack) -> None:
    said = crossover(stack, "dead-letters", "list", "market_data")
    assert re.search(r"\d+ dead letters of market_data", said), said


def test_the_way_to_scale_is_open_again(stack: Stack) -> None:
    crossover(stack, "migrate", "event_bus")
    await_true(lambda: stack.route()[0].active == "kafka", 5, "the route names kafka")

"""The whole journey on in-memory logs, under load: nothing lost, doubled or reordered."""

from __future__ import annotations

import threading

import pytest

from contracts.stages import Stage
from cutover.run import HOLDS
from tests.unit.cutover.world import TOPIC, World


def _load(world: World, stop: threading.Event) -> threading.Thread:
    def run() -> None:
        # Paced, so that the size of a test does not depend on how fast the machine is.
        while not stop.wait(0.02):
            world.publish(8)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "journey",
    [
        [Stage.SCALE, Stage.SHADOW],
        [Stage.SHADOW, Stage.SCALE, Stage.SHADOW, Stage.MVP],
        [Stage.SCALE, Stage.COMPLETE],
        [Stage.COMPLETE, Stage.MVP],
        [Stage.SCALE, Stage.MVP, Stage.SCALE, Stage.SHADOW, Stage.SCALE, Stage.COMPLETE, Stage.SCALE],
    ],
    ids="-".join,
)
def test_a_journey_under_load_keeps_the_ledger(journey: list[Stage]) -> None:
    with World() as world:
        assert world.migrate(Stage.MVP).reached
        world.subscribe()
        world.publish(40)
        stop = threading.Event()
        load = _load(world, stop)
        try:
            for stage in journey:
                outcome = world.migrate(stage)
                assert outcome.reached, "\n".join([outcome.message, *world.lines])
                assert world.route().stage is stage
        finally:
            stop.set()
            load.join()
        world.assert_ledger()


def test_a_run_at_the_wanted_stage_does_nothing() -> None:
    with World() as world:
        world.migrate(Stage.MVP)
        before = world.route()
        outcome = world.migrate(Stage.MVP)
        assert outcome.reached and outcome.verdict == HOLDS
        assert world.route() == before
        assert outcome.records == []


def test_a_group_that_was_behind_reads_the_old_segment_to_its_end_first() -> None:
    with World(groups=("slow",)) as world:
        world.migrate(Stage.MVP)
        world.publish(50)
        assert world.migrate(Stage.SCALE).reached
        world.publish(50)
        assert world.migrate(Stage.SHADOW).reached
        world.publish(50)
        assert [s.backend for s in world.route().chain(TOPIC)] == ["redis", "kafka", "redis"]
        world.subscribe()
        world.assert_ledger()

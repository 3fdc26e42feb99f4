"""A run whose lock has gone to another touches nothing any more: that one undoes what it finds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from contracts.stages import Stage
from cutover.errors import StepFailed
from cutover.plan import Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from tests.unit.cutover.world import TOPIC, World


def overtaken(world: World, wanted: Stage, step: Step, *, failing_first: Sequence[Step] = (), at: int = 1) -> Outcome:
    """A run to `wanted` that loses its lock in its `at`-th `step`, after the step was done; those of
    `failing_first` fail before it."""
    context = world.context()
    steps = world.steps(context)
    real: StepMethod = steps.steps[step]
    times = itertools.count(1)

    def loses(transition: Transition) -> str:
        said = real(transition)
        if next(times) < at:
            return said
        context.lost_lock.set()
        raise StepFailed("made to fail", "none")

    def fails(transition: Transition) -> str:
        raise StepFailed("made to fail", "none")

    for failing in failing_first:
        steps.steps[failing] = fails
    steps.steps[step] = loses
    try:
        return Runner(context, steps, wanted).run()
    finally:
        steps.close()


@pytest.mark.parametrize("step", [Step.FENCE, Step.SEAL, Step.DRAIN, Step.CHECK])
def test_it_undoes_nothing_before_the_opening(step: Step) -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        outcome = overtaken(world, Stage.SCALE, step)
        assert (outcome.verdict, outcome.message) == ("does not hold", "made to fail. none")
        fence = world.route().fence
        assert fence is not None
        assert world.servers["redis"].seals.get(TOPIC) == (None if step is Step.FENCE else fence.epoch)
        assert world.migrate(Stage.SHADOW).reached
        assert world.route().fence is None and TOPIC not in world.servers["redis"].seals


def test_it_does_not_switch_back_after_the_opening() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        overtaken(world, Stage.SCALE, Step.WATCH)
        assert world.route().active == "kafka" and world.route().history[-1].to_stage is Stage.SHADOW
        assert world.migrate(Stage.SCALE).reached


def test_it_undoes_nothing_of_a_switch_back() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        overtaken(world, Stage.SCALE, Step.SEAL, failing_first=[Step.WATCH], at=2)
        fence = world.route().fence
        assert world.route().active == "kafka" and fence is not None
        assert world.servers["kafka"].seals[TOPIC] == fence.epoch
        assert world.migrate(Stage.SHADOW).reached

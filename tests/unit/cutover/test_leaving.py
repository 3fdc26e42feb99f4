"""A backend leaves: no group may lose what it has not read yet, on whichever side that lies."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn
from unittest import mock

import pytest

from adapters.event_bus.memory import MemoryLog
from contracts.stages import Stage
from cutover.plan import Step, StepMethod, Transition
from cutover.run import Runner
from tests.unit.cutover.world import QUICK, TOPIC, World

IMPATIENT = replace(QUICK, finish_groups=0.2)


def test_a_group_that_has_not_read_an_earlier_segment_of_the_staying_side_is_waited_for() -> None:
    with World(groups=("deaf",)) as world:
        assert world.migrate(Stage.MVP).reached
        world.publish(4)
        for stage in (Stage.SCALE, Stage.SHADOW, Stage.SCALE):
            assert world.migrate(stage).reached
            world.publish(4)
        redis, kafka = world.log("redis"), world.log("kafka")
        # Its watch was lost for two switches: in Redis it passed over the copies of what it never read in Kafka.
        redis.place_group(TOPIC, "deaf", redis.end(TOPIC))
        first_in_kafka = world.route().chain(TOPIC)[1]
        kafka.place_group(TOPIC, "deaf", first_in_kafka.start)
        outcome = world.migrate(Stage.COMPLETE, IMPATIENT)
        assert outcome.verdict == "does not hold" and "deaf in market_data" in outcome.message
        assert world.route().stage is Stage.SCALE
        position = next(state.position for state in kafka.groups(TOPIC) if state.group == "deaf")
        assert dict(position) == first_in_kafka.start


def test_a_group_that_comes_after_the_others_have_finished_keeps_the_leaving_side() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.MVP).reached
        world.publish(4)
        assert world.migrate(Stage.SCALE).reached
        context = world.context(IMPATIENT)
        steps = world.steps(context)
        retire: StepMethod = steps.steps[Step.RETIRE]

        def comes_first(transition: Transition) -> str:
            world.log("redis").place_group(TOPIC, "new", {})
            return retire(transition)

        steps.steps[Step.RETIRE] = comes_first
        outcome = Runner(context, steps, Stage.COMPLETE).run()
        steps.close()
        assert outcome.verdict == "does not hold" and "new in market_data" in outcome.message
        assert world.route().stage is Stage.SCALE
        assert world.route().retires is None  # it may begin to read there


class _Killed(BaseException):
    """No handler of the product sees it."""


def test_a_retirement_that_was_cut_off_keeps_no_group_from_beginning_once_the_next_run_came() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.MVP).reached
        assert world.migrate(Stage.SCALE).reached
        context = world.context(IMPATIENT)
        steps = world.steps(context)

        context.read()

        def killed(log: MemoryLog, topic: str) -> NoReturn:
            raise _Killed

        with pytest.raises(_Killed), mock.patch.object(MemoryLog, "groups", killed):
            steps.steps[Step.RETIRE](Transition(Stage.SCALE, Stage.COMPLETE, ()))
        steps.close()
        assert world.route().retires == "redis"
        assert world.migrate(Stage.SCALE).reached
        assert world.route().retires is None

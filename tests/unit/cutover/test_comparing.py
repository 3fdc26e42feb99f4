"""COMPARE goes on where the mirror has compared to, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.event_bus.base import ORIGIN_HEADER, EventLog
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.verified import Verified
from contracts.stages import Stage
from cutover.errors import CutoverError
from cutover.event_bus.work import _standing
from cutover.plan import Step, Transition
from tests.unit.cutover.world import TOPIC, World
from tests.unit.event_bus.test_routed import eventually

HERE = Transition(Stage.SHADOW, Stage.SHADOW, ())


def noted(world: World, count: int) -> Verified:
    """The mirror's note, once it says that `count` events are equal."""
    route = world.route()
    assert route.mirror is not None
    log = world.log(route.mirror.target)
    found: list[Verified] = []

    def there() -> bool:
        verified = log.verified(TOPIC, route.mirror.source) if route.mirror else None
        found[:] = [verified] if verified is not None and verified.of == route.copying_id(TOPIC) else []
        return bool(found) and found[0].compared >= count

    eventually(there)
    return found[0]


def compare(world: World) -> str:
    """What COMPARE says of the world as it is."""
    context = world.context()
    steps = world.steps(context)
    context.read()
    try:
        return steps.steps[Step.COMPARE](HERE)
    finally:
        steps.close()


def test_it_compares_the_rest_and_says_who_compared_what() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.publish(12)
        note = noted(world, 12)
        said = compare(world)
        assert said == f"0 events equal; 12 before them were found equal by mirror-1, at {note.at}"


def test_what_retention_took_after_it_was_compared_does_not_hinder_a_switch() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SCALE).reached
        world.publish(12)
        noted(world, 12)
        end = world.log("kafka").end(TOPIC)
        world.servers["kafka"].trim(TOPIC, end)
        world.publish(4)
        outcome = world.migrate(Stage.SHADOW)
        assert outcome.reached, "\n".join([outcome.message, *world.lines])


def test_what_retention_took_before_it_was_compared_could_not_be_checked() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.publish(12)
        noted(world, 12)
        world.servers["kafka"].verified.clear()
        world.servers["kafka"].trim(TOPIC, world.log("kafka").end(TOPIC))
        with pytest.raises(CutoverError, match="kafka lost entries") as caught:
            compare(world)
        assert caught.value.verdict == "could not be checked"


def test_a_difference_that_the_mirror_found_fails_it_and_is_named() -> None:
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.publish(4)
        noted(world, 4)
        world.servers["kafka"].append_raw(TOPIC, 0, {ORIGIN_HEADER: b"redis"}, b"forged")
        eventually(lambda: bool(noted(world, 4).differences))
        outcome = world.migrate(Stage.SCALE)
        assert outcome.verdict == "does not hold"
        assert "1 extra" in outcome.message and "found by mirror-1 at" in outcome.message
        assert world.route().active == "redis"


def test_what_was_found_in_an_earlier_direction_does_not_count() -> None:
    """There and back: the note of the first time in shadow still stands in Kafka while the second begins."""
    with World(groups=()) as world:
        assert world.migrate(Stage.SHADOW).reached
        world.publish(4)
        first = noted(world, 4)
        assert world.migrate(Stage.SCALE).reached
        world.publish(4)
        assert world.log("kafka").verified(TOPIC, "redis") is not None
        assert world.migrate(Stage.SHADOW).reached
        world.publish(4)
        second = noted(world, 4)
        assert second.of != first.of
        assert world.migrate(Stage.SCALE).reached


class Growing(MemoryLog):
    """A log into which a mirror copies, `times`, whenever somebody asks for its end."""

    def __init__(self, of: MemoryLog, times: int) -> None:
        super().__init__(of.name, of.settings, of.server)
        self.times = times

    def end(self, topic: str) -> Any:
        found = super().end(topic)
        if self.times:
            self.times -= 1
            copied = int((self.copied(topic, "redis") or {"0": "0"})["0"]) + 1
            self.server.append_raw(topic, 0, {ORIGIN_HEADER: b"redis"}, b"late")
            self.server.copied[topic, "redis"] = {"0": str(copied)}
        return found


def _target(times: int) -> EventLog:
    log = MemoryLog("kafka", World(groups=()).settings)
    log.ensure()
    return Growing(log, times)


def test_a_join_reads_how_far_copies_come_and_the_end_at_one_moment() -> None:
    """A mirror that missed that it is not wanted any more copies between the two."""
    target = _target(times=3)
    copied, end = _standing(TOPIC, target, "redis")
    assert (copied, end["0"]) == ({"0": "3"}, "3")


def test_a_join_into_which_a_mirror_copies_all_the_time_could_not_be_checked() -> None:
    with pytest.raises(CutoverError, match="gets copies of market_data all the time") as caught:
        _standing(TOPIC, _target(times=1000), "redis")
    assert caught.value.verdict == "could not be checked"

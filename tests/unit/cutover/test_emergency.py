"""Kafka is dead and traffic flees to Redis, on in-memory logs: what was acknowledged comes once, in the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adapters.event_bus.errors import BackendUnavailable
from contracts.routes import Stranded
from contracts.stages import Stage
from cutover.plan import Step
from tests.unit.cutover.test_faults import kill_at
from tests.unit.cutover.world import KEYS, TOPIC, World
from tests.unit.event_bus.test_routed import eventually


def copied_all(world: World) -> None:
    """Wait until the mirror has caught up."""
    redis, kafka = world.log("redis"), world.log("kafka")

    def caught_up() -> bool:
        copied = redis.copied(TOPIC, kafka.name)
        return copied is not None and kafka.reached(copied, kafka.end(TOPIC))

    eventually(caught_up)


def stop_mirror(world: World) -> None:
    """What comes from now on is not copied."""
    world.servers["redis"].faults.fail_next("copy", BackendUnavailable("as asked for"), times=1_000_000)


def let_mirror(world: World) -> None:
    world.servers["redis"].faults._errors.clear()


@contextmanager
def load(world: World) -> Iterator[None]:
    """Events of every key, a hundred times a second, for as long as the block lasts."""
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.01):
            world.publish(len(KEYS))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        yield
    finally:
        stop.set()
        publisher.join()


def flee(world: World, stage: Stage = Stage.SHADOW) -> None:
    world.servers["kafka"].faults.take_down()
    outcome = world.migrate(stage, emergency=True)
    assert outcome.reached, "\n".join([outcome.message, *world.lines])


def stranded(world: World) -> Stranded:
    return (world.route().stranded or {})[TOPIC]


def assert_each_once(world: World, seconds: float = 8.0) -> None:
    """Every group took effect of every acknowledged event once."""
    wanted = Counter(event for ids in world.sent.values() for event in ids)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_effects(world, g).keys() < wanted.keys() for g in world.effects):
        time.sleep(0.02)  # polling for the effects, with a deadline
    assert not world.errors, world.errors
    for group in world.effects:
        assert _effects(world, group) == wanted, f"group {group} differs"


def _effects(world: World, group: str) -> Counter[str]:
    return Counter(event for ids in world.effects[group].values() for event in ids)


def test_what_only_kafka_held_is_counted_and_comes_once_when_it_is_back() -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.publish(40)
        world.subscribe()
        world.assert_ledger()
        copied_all(world)
        stop_mirror(world)
        before = {key: len(ids) for key, ids in world.sent.items()}
        world.publish(12)
        only_kafka = sorted(e for key, ids in world.sent.items() for e in ids[before[key] :])
        flee(world)
        let_mirror(world)
        tail = stranded(world)
        assert (tail.count, tail.first, tail.last) == (12, only_kafka[0], only_kafka[-1])
        world.publish(40)
        assert world.migrate(Stage.SHADOW, emergency=True).reached
        refused = world.migrate(Stage.SCALE)
        assert not refused.reached and "does not answer" in refused.message
        assert world.route().stage is Stage.SHADOW
        world.servers["kafka"].faults.bring_up()
        assert world.migrate(Stage.SHADOW).reached, world.lines
        assert world.route().stranded is None and world.route().mirror is not None
        world.publish(8)
        assert_each_once(world)
        assert world.migrate(Stage.SCALE).reached, world.lines
        world.publish(8)
        assert_each_once(world)


def test_what_was_swept_is_among_what_the_topic_holds() -> None:
    """Dead letters are listed by it: one that only Kafka held must not vanish from them."""
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.publish(8)
        copied_all(world)
        stop_mirror(world)
        world.publish(8)
        flee(world)
        let_mirror(world)
        world.servers["kafka"].faults.bring_up()
        assert world.migrate(Stage.SHADOW).reached, world.lines
        held = Counter(entry.event.id for entry in world.bus.stored(world.topic) if entry.event is not None)
        assert held == Counter(event for ids in world.sent.values() for event in ids)


def test_a_group_that_never_came_to_kafka_gets_the_copies_in_its_place() -> None:
    with World(groups=("late",)) as world:
        assert world.migrate(Stage.MVP).reached
        world.publish(20)
        assert world.migrate(Stage.SCALE).reached
        world.publish(30)
        assert world.migrate(Stage.SHADOW).reached
        world.publish(10)
        assert world.migrate(Stage.SCALE).reached
        world.publish(30)
        redis, kafka = world.log("redis"), world.log("kafka")
        eventually(lambda: redis.copied(TOPIC, "kafka") == kafka.end(TOPIC))
        flee(world)
        world.publish(20)
        assert {segment.backend for segment in world.route().chain(TOPIC)} == {"redis"}
        world.subscribe()
        world.assert_ledger()


def test_under_load_traffic_moves_within_seconds_and_nothing_is_lost() -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.subscribe()
        with load(world):
            time.sleep(0.3)  # load
            world.servers["kafka"].faults.take_down()
            time.sleep(0.3)  # load that has nowhere to go
            began = time.monotonic()
            assert world.migrate(Stage.SHADOW, emergency=True).reached, world.lines
            assert time.monotonic() - began < 5
            time.sleep(0.3)  # load on the side that stands in
        world.servers["kafka"].faults.bring_up()
        assert world.migrate(Stage.SHADOW).reached, world.lines
        assert_each_once(world)


def test_a_kafka_that_serves_is_not_fled_from() -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        with load(world):
            outcome = world.migrate(Stage.SHADOW, emergency=True)
        assert not outcome.reached and "kafka serves" in outcome.message
        assert world.route().stage is Stage.SCALE


def test_mvp_moves_traffic_and_keeps_kafka_until_it_gave_what_only_it_holds() -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.subscribe()
        stop_mirror(world)
        world.publish(8)
        world.servers["kafka"].faults.take_down()
        outcome = world.migrate(Stage.MVP, emergency=True)
        let_mirror(world)
        assert not outcome.reached and "8 events" in outcome.message
        assert world.route().stage is Stage.SHADOW and world.route().active == "redis"
        world.servers["kafka"].faults.bring_up()
        assert world.migrate(Stage.MVP).reached, world.lines
        world.publish(8)
        assert_each_once(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [Step.BREAK_OFF, Step.FLEE, Step.COUNT])
def test_killed_at_any_step_of_the_emergency_the_next_run_converges(step: Step, after: bool) -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.subscribe()
        stop_mirror(world)
        world.publish(8)
        world.servers["kafka"].faults.take_down()
        kill_at(world, Stage.SHADOW, step, after=after, emergency=True)
        let_mirror(world)
        flee(world)
        world.publish(8)
        world.servers["kafka"].faults.bring_up()
        assert world.migrate(Stage.SHADOW).reached, world.lines
        assert_each_once(world)


def test_an_emergency_that_was_cut_off_before_it_fled_is_undone_by_a_plain_run() -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.subscribe()
        kill_at(world, Stage.SHADOW, Step.BREAK_OFF, after=True, emergency=True)
        assert world.route().fence is not None
        assert world.migrate(Stage.SCALE).reached, world.lines
        world.publish(8)
        assert world.migrate(Stage.SHADOW).reached, world.lines
        world.publish(8)
        world.assert_ledger()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [Step.SWEEP, Step.START_MIRROR, Step.COMPARE])
def test_killed_while_it_sweeps_the_next_run_goes_on(step: Step, after: bool) -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.subscribe()
        stop_mirror(world)
        world.publish(8)
        flee(world)
        let_mirror(world)
        world.publish(8)
        world.servers["kafka"].faults.bring_up()
        kill_at(world, Stage.SHADOW, step, after=after)
        assert world.migrate(Stage.SHADOW).reached, world.lines
        assert_each_once(world)

"""Topics come at any stage and never go; partitions never change: told before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.event_bus.errors import UnknownTopic
from contracts.envelope import Event
from contracts.names import all_topics
from contracts.routes import Mirror, Route, Segment
from contracts.stages import Component, Stage
from cutover.errors import StepFailed
from cutover.fitting import added_topics, refuse_other_partitions
from cutover.run import validate
from tests.unit.cutover.world import TOPIC, World

NEW = "orders"


def route(*topics: str, mirror: Mirror | None = None, kafka: int = 0) -> Route:
    chain = [Segment(backend="redis", epoch=1, start={"0": "0-0"})]
    if kafka:
        chain.append(Segment(backend="kafka", epoch=2, start={str(n): "0" for n in range(kafka)}))
    chains = dict.fromkeys(all_topics(topics), tuple(chain))
    return Route(component=Component.EVENT_BUS, stage=Stage.MVP, active="redis", epoch=1, chains=chains, mirror=mirror)


def test_what_config_has_and_the_route_has_not_is_added() -> None:
    assert added_topics(route("a"), all_topics(("a", "b"))) == ("b", "b.dead_letter")
    assert added_topics(route("a", "b"), all_topics(("b", "a"))) == ()


def test_a_topic_that_config_lacks_is_refused_by_name_with_the_fix() -> None:
    with pytest.raises(StepFailed, match=r"no longer names the topics b, .*topics to all of a, b again"):
        added_topics(route("a", "b"), all_topics(("a", "c")))


@pytest.mark.parametrize("there", [1, 3, 8])
def test_other_partitions_than_the_route_recorded_are_refused_by_name(there: int) -> None:
    refuse_other_partitions(route("a", kafka=there), there)
    with pytest.raises(StepFailed, match=rf"asks for 16 partitions, a at kafka has {there} .*partitions to {there}\."):
        refuse_other_partitions(route("a", kafka=there), 16)


def test_in_shadow_the_mirrors_places_tell_how_many_there_are() -> None:
    starts = {"a": {"0": "0-0"}}
    mirror = Mirror(source="redis", target="kafka", starts=starts, target_starts={"a": {"0": "0", "1": "0"}})
    refuse_other_partitions(route("a", mirror=mirror), 2)
    with pytest.raises(StepFailed, match="has 2"):
        refuse_other_partitions(route("a", mirror=mirror), 4)


def test_while_only_redis_was_ever_used_any_number_may_be_chosen() -> None:
    refuse_other_partitions(route("a"), 16)


def published(world: World, topic: str) -> bool:
    """Whether the bus has seen the route that knows `topic`, and took an event for it."""
    try:
        world.bus.publish(topic, "k", b"1")
    except UnknownTopic:
        return False
    return True


def subscribe(world: World, topic: str) -> list[bytes]:
    taken: list[bytes] = []

    def take(events: Sequence[Event]) -> None:
        taken.extend(event.payload for event in events)

    world.bus.subscribe([topic], "late", take)
    return taken


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("then", [None, Stage.SCALE, Stage.SHADOW], ids=["there", "to-scale", "to-shadow"])
def test_a_topic_added_at_any_stage_goes_the_rest_of_the_journey(stage: Stage, then: Stage | None) -> None:
    with World() as world:
        assert world.migrate(stage).reached
        world.subscribe()
        world.publish(10)
        with pytest.raises(UnknownTopic, match=r"event_bus\.topics"):
            world.bus.publish(NEW, "k", b"0")
        world.configure((TOPIC, NEW))
        outcome = world.migrate(then or stage)
        assert outcome.reached, "\n".join([outcome.message, *world.lines])
        assert NEW in world.route().chains and f"{NEW}.dead_letter" in world.route().chains
        world.eventually(lambda: published(world, NEW))
        for goal in (Stage.SCALE, Stage.SHADOW, Stage.MVP):
            outcome = world.migrate(goal)
            assert outcome.reached, "\n".join([outcome.message, *world.lines])
            world.bus.publish(NEW, "k", goal.value.encode())
        taken = subscribe(world, NEW)
        world.publish(10)
        world.assert_ledger()
        world.eventually(lambda: len(taken) >= 4)
        assert taken == [b"1", b"scale", b"shadow", b"mvp"]


def test_a_topic_that_leaves_config_stops_the_run_before_anything_is_touched() -> None:
    with World() as world:
        world.configure((TOPIC, NEW))
        assert world.migrate(Stage.SHADOW).reached
        before = world.route()
        world.configure((TOPIC,))
        for goal in (Stage.SHADOW, Stage.SCALE):
            outcome = world.migrate(goal)
            assert not outcome.reached and f"no longer names the topics {NEW}," in outcome.message
        assert world.route() == before
        world.eventually(lambda: published(world, NEW))  # still served


def test_changed_partitions_stop_the_run_also_where_nothing_has_to_be_done() -> None:
    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        before = world.route()
        world.configure((TOPIC,), partitions=5)
        for goal in (Stage.SCALE, Stage.SHADOW):
            outcome = world.migrate(goal)
            assert not outcome.reached and "asks for 5 partitions" in outcome.message
        assert world.route() == before


def test_a_check_names_topics_that_were_not_taken_up_yet() -> None:
    with World() as world:
        assert world.migrate(Stage.SHADOW).reached
        world.configure((TOPIC, NEW))
        context = world.context()
        steps = world.steps(context)
        found = validate(context, steps)
        steps.close()
        assert found.verdict == "does not hold" and f"the topics {NEW}, " in found.message


def test_a_run_that_is_killed_while_it_adds_a_topic_is_taken_up_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backends have the topic, the route has not: nobody sent to it, and the next run adds it."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with World() as world:
        assert world.migrate(Stage.SCALE).reached
        world.configure((TOPIC, NEW))
        with monkeypatch.context() as dying:
            dying.setattr(world.store, "write", kill)
            with pytest.raises(Killed):
                world.migrate(Stage.SCALE)
        assert NEW not in world.route().chains
        assert world.migrate(Stage.SCALE).reached
        world.eventually(lambda: published(world, NEW))

"""A backend is dead: what goes on and what is refused. Each test is a row of the table in docs/emergency.md."""

from __future__ import annotations

import pytest

from contracts.envelope import Event
from contracts.stages import Stage
from tests.unit.cutover.world import TOPIC, World


def goes_on(world: World) -> bool:
    """Whether an event that is published now is durable and consumed. One that is not waits."""
    event = Event.create(TOPIC, "K0", b"now", source="test")
    world.sent["K0"].append(event.id)
    try:
        world.bus.publish_event(event).result(1.0)
    except TimeoutError:
        return False
    world.assert_ledger()
    return True


ROWS = [
    ("kafka", Stage.MVP, True, {Stage.SHADOW: False}),
    ("kafka", Stage.SHADOW, True, {Stage.SCALE: False, Stage.MVP: False}),
    ("kafka", Stage.SCALE, False, {Stage.SHADOW: False}),
    ("redis", Stage.SHADOW, False, {Stage.SCALE: False, Stage.MVP: False}),
    ("redis", Stage.SCALE, True, {Stage.SHADOW: False, Stage.COMPLETE: False}),
]


@pytest.mark.parametrize(("dead", "stage", "serves", "switches"), ROWS)
def test_what_goes_on_and_what_is_refused(dead: str, stage: Stage, serves: bool, switches: dict[Stage, bool]) -> None:
    with World(groups=("a",)) as world:
        assert world.migrate(stage).reached
        world.subscribe()
        world.publish(8)
        world.assert_ledger()
        world.servers[dead].faults.take_down()
        assert goes_on(world) is serves
        for wanted, reached in switches.items():
            assert world.migrate(wanted).reached is reached
            assert world.route().stage is stage and world.route().fence is None
        assert goes_on(world) is serves
        world.servers[dead].faults.bring_up()
        assert goes_on(world)


def test_a_dead_redis_is_no_refuge() -> None:
    with World(groups=("a",)) as world:
        assert world.migrate(Stage.SCALE).reached
        world.subscribe()
        world.servers["redis"].faults.take_down()
        assert not world.migrate(Stage.SHADOW, emergency=True).reached
        assert world.route().stage is Stage.SCALE and world.route().fence is None
        assert goes_on(world)

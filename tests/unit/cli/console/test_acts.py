"""What the console does, and when it does not."""

from __future__ import annotations

import pytest

from cli.console.acts import Act, Desk, Unfit, offered
from cli.moving import FAILED
from cli.stack import Wish
from contracts.stages import Component, Stage
from cutover.tables import TABLES
from tests.browser.consoles import World
from tests.browser.histories import BUS


def test_an_act_is_a_command_and_what_config_is_to_ask_for() -> None:
    assert [(act.words(BUS), act.wish) for act in Act] == [
        (("migrate", "event_bus"), Wish(Stage.SCALE)),
        (("rollback", "event_bus"), Wish(Stage.SHADOW)),
        (("rollback", "event_bus", "--emergency"), Wish(Stage.SHADOW, emergency=True)),
    ]
    for component in Component:
        assert (Act.EMERGENCY in offered(component)) is bool(TABLES[component].emergencies)


def test_the_preview_is_that_of_the_command() -> None:
    found = World().desk().preview(BUS, Act.ROLLBACK)
    assert found.command == "crossover rollback event_bus" and "scale -> shadow" in found.steps
    assert any(line.split()[0] == "fence" for line in found.steps)


def test_it_is_begun_once_it_was_seen_and_named_and_by_whom_is_told() -> None:
    world = World()
    desk = world.desk()
    seen = desk.preview(BUS, Act.EMERGENCY).digest
    begun = desk.begin(BUS, Act.EMERGENCY, typed="event_bus", seen=seen, owner="ann")
    assert world.runner.begun == [
        (("rollback", "event_bus", "--emergency", "--stack", "live"), "ann by the console of ops@bastion")
    ]
    assert desk.last is begun and begun.running.code() is None
    assert world.runner.last is not None
    world.runner.last.end(FAILED)
    desk.begin(BUS, Act.EMERGENCY, typed="event_bus", seen=seen, owner="")
    assert world.runner.begun[-1][1] == "the console of ops@bastion"


def refused(desk: Desk, act: Act = Act.ROLLBACK, component: Component = BUS, **changes: str) -> Unfit:
    seen = desk.preview(BUS, Act.ROLLBACK).digest
    with pytest.raises(Unfit) as raised:
        desk.begin(component, act, **{"typed": component.value, "seen": seen, "owner": "ann"} | changes)
    return raised.value


def test_what_was_not_named_or_seen_or_is_under_way_is_not_begun() -> None:
    world = World()
    desk = world.desk()
    assert not refused(desk, typed="database").busy and not refused(desk, typed="").busy
    assert refused(desk, seen="").busy
    assert "are others now" in str(refused(desk, act=Act.MIGRATE))
    seen = desk.preview(BUS, Act.ROLLBACK).digest
    world.write(world.routes[BUS].model_copy(update={"stage": Stage.SHADOW, "active": "redis"}))
    assert "are others now" in str(refused(desk, seen=seen))
    assert "llm_service has no emergency" in str(refused(desk, Act.EMERGENCY, Component.LLM_SERVICE))
    world.runner.failure = OSError("no memory")
    assert "could not be begun: no memory" in str(refused(desk))
    world.runner.failure = None
    assert world.runner.begun == [] and desk.last is None
    desk.begin(BUS, Act.ROLLBACK, typed="event_bus", seen=desk.preview(BUS, Act.ROLLBACK).digest, owner="ann")
    again = refused(desk)
    assert again.busy and "rollback of event_bus is under way, begun by ann by the console of ops@bastion" in str(again)
    assert len(world.runner.begun) == 1

"""Hundreds of schedules of the protocol: no invariant breaks in any."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest
from hypothesis.stateful import run_state_machine_as_test

from contracts.stages import Stage
from tests.model.acts import Act, Interruption
from tests.model.ending import settle
from tests.model.ledger import Violation
from tests.model.machine import Protocol, bounded
from tests.model.mutations import Mutation, a_group_begins_without_asking_for_the_route, a_retirement_is_not_announced
from tests.model.world import World

EXAMPLES = 600


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the product logs of trouble that the model makes on purpose is of no use to anybody."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_no_schedule_breaks_an_invariant() -> None:
    run_state_machine_as_test(Protocol, settings=bounded(EXAMPLES))


def test_a_journey_without_trouble_reaches_every_stage() -> None:
    world = World()
    for stage in (Stage.SHADOW, Stage.SCALE, Stage.SHADOW, Stage.SCALE, Stage.COMPLETE, Stage.SCALE, Stage.MVP):
        for n in range(6):
            world.do(Act("publish", n))
            world.do(Act("move"))
        outcome = world.run(stage, [Interruption(2, (Act("publish", 1),), step=step) for step in ("seal", "open")])
        assert outcome is not None and outcome.reached
    settle(world, Stage.MVP)
    assert {len(group.effects) for group in world.ledger.groups.values()} == {len(world.ledger.sent)}


def test_a_group_that_begins_by_an_old_route_takes_nothing_from_a_backend_that_has_left() -> None:
    """Before the first event is in the hands of group h, a run goes all the way to `complete`; then Redis is deleted
    with what h would have acknowledged there."""
    world = World()
    world.do(Act("burst"))
    world.do(Act("consume", 2), [Interruption(1, (Act("run", 3),))])
    world.do(Act("wipe"))
    settle(world, Stage.SHADOW)


def begun_amid_a_retirement(at: int) -> None:
    """A new group's first step falls before the operation `at` of RETIRE."""
    world = World()
    for act in (Act("burst"), Act("run", 2), Act("move"), Act("move"), Act("join")):
        world.do(act)
    world.do(Act("frozen", world.actors.index(world.members[3])))  # but for that one step
    world.run(Stage.COMPLETE, [Interruption(at, (Act("consume", 3),), step="retire")])
    settle(world, Stage.COMPLETE)


OPERATIONS = range(1, 25)
"""All of RETIRE, and some more."""


@pytest.mark.parametrize("at", OPERATIONS)
def test_a_group_that_begins_while_a_backend_is_retired_takes_each_event_once(at: int) -> None:
    begun_amid_a_retirement(at)


@pytest.mark.parametrize("broken", [a_group_begins_without_asking_for_the_route, a_retirement_is_not_announced])
def test_neither_half_of_a_new_groups_admission_can_be_spared(broken: Mutation) -> None:
    found = []
    with broken():
        for at in OPERATIONS:
            with contextlib.suppress(Violation):
                begun_amid_a_retirement(at)
                continue
            found.append(at)
    assert found

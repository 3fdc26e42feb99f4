"""Hundreds of schedules of the protocol: no invariant breaks in any."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis.stateful import run_state_machine_as_test

from contracts.stages import Stage
from tests.model.acts import Act, Interruption
from tests.model.ending import settle
from tests.model.machine import Protocol, bounded
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

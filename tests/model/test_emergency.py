"""Hundreds of schedules in which Kafka dies while it serves, and traffic flees: no invariant breaks in any."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from adapters.event_bus.bookmarks import Bookmarks
from contracts.stages import Stage
from cutover.event_bus import fleeing
from cutover.event_bus.sweeping import Sweeping
from cutover.plan import Step
from tests.model.acts import Act, Interruption
from tests.model.machine import Found, Protocol, bounded, scripts, shown
from tests.model.mutations import Mutation

EXAMPLES = 200
SCALE = (Act("run", 1), *(Act("move"),) * 2, Act("run", 2), *(Act("move"),) * 2)
"""Kafka serves."""
STALLED = (*SCALE, Act("frozen", 5), *(Act("burst", n) for n in range(3)))
"""Kafka serves, and holds what the mirror has not copied."""
PLACES = [Step.BREAK_OFF, Step.FLEE, Step.COUNT, Step.SWEEP, Step.START_MIRROR, Step.RECORD]


class Emergency(Protocol):
    """Kafka dies, traffic flees, Kafka comes back, at any time and with any of the usual troubles."""

    beginnings = (SCALE, STALLED)

    def __init__(self) -> None:
        super().__init__()
        self.world.attentive = True  # docs/protocol.md says what a member breaks that was deaf before the emergency

    def wipe(self) -> None:
        """A backend that is made anew while something is stranded in it has lost that: left out."""

    @rule(script=scripts(PLACES, 2))
    @shown
    def flight(self, script: list[Interruption]) -> None:
        self.world.flight(script)

    @rule(before=st.binary(max_size=2))
    @shown
    def revive(self, before: bytes) -> None:
        for n in before:
            self.world.do(Act("burst", n))
        self.world.do(Act("revive"))

    @rule(script=scripts(PLACES, 2))
    @shown
    def sweep(self, script: list[Interruption]) -> None:
        self.last = Stage.SHADOW
        self.world.run(Stage.SHADOW, script)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_no_schedule_of_an_emergency_breaks_an_invariant() -> None:
    run_state_machine_as_test(Emergency, settings=bounded(EXAMPLES))


def what_groups_took_is_not_told() -> contextlib.AbstractContextManager[Any]:
    return patch.object(Bookmarks, "flush", lambda self, wanted=None: None)


def the_dead_backend_is_never_swept() -> contextlib.AbstractContextManager[Any]:
    return patch.object(Sweeping, "_append", lambda *_: None)


def copies_do_not_stand_in() -> contextlib.AbstractContextManager[Any]:
    real = fleeing.stood_in
    return patch.object(fleeing, "stood_in", lambda *a: [s.model_copy(update={"copies": False}) for s in real(*a)])


BROKEN: list[Mutation] = [
    what_groups_took_is_not_told,
    the_dead_backend_is_never_swept,
    copies_do_not_stand_in,
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_the_machine_finds(broken: Mutation) -> None:
    with broken(), pytest.raises(Found):
        run_state_machine_as_test(Emergency, settings=bounded(EXAMPLES))

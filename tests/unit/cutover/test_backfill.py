"""A long history is copied while events go on to come: the backfill ends close enough to the end for what follows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from contracts.stages import Stage
from cutover.event_bus.joining import Joining
from cutover.event_bus.work import BusWork
from cutover.plan import Transition
from cutover.timing import Timing

LIVE = 1050.0
"""Events a second that come."""
BACKFILL = Transition(Stage.MVP, Stage.SHADOW, ())


class Copied:
    """A topic, and a mirror that copies `rate` events a second of it. Counts events, has its own seconds."""

    def __init__(self, history: float, rate: float) -> None:
        self.seconds = 0.0
        self.copied = 0.0
        self._history = history
        self._rate = rate
        self.topics = ("t",)
        self.active = SimpleNamespace(end=lambda _: self.end)
        self.context = SimpleNamespace(timing=Timing(), now=lambda: self.seconds)

    @property
    def end(self) -> float:
        return self._history + LIVE * self.seconds

    @property
    def wait_for_the_rest(self) -> float:
        """Seconds until what is there now is copied: what a comparison waits for."""
        return (self.end - self.copied) / self._rate

    def await_copied(self, topic: str, goal: float, seconds: float) -> None:
        takes = (goal - self.copied) / self._rate
        assert takes <= seconds
        self.seconds += takes
        self.copied = goal


@pytest.mark.parametrize(
    ("history", "rate"),
    [(0.0, 1200.0), (1000.0, 1200.0), (100_000.0, 1200.0), (100_000.0, 2800.0), (1_000_000.0, 2800.0), (5e6, 20_000.0)],
)
def test_what_is_left_after_it_is_copied_within_a_comparisons_wait(history: float, rate: float) -> None:
    world = Copied(history, rate)
    Joining(cast(BusWork, world)).backfill(BACKFILL)
    assert world.wait_for_the_rest < Timing().drain


def test_a_mirror_that_never_keeps_up_does_not_hold_it_for_ever() -> None:
    world = Copied(100_000.0, LIVE)
    Joining(cast(BusWork, world)).backfill(BACKFILL)
    assert Timing().backfill < world.seconds < Timing().backfill + 2 * 100_000.0 / LIVE

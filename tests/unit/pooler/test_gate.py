"""What the pooler's agent decides (gate.py) under any order of events, the agent or PgBouncer killed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.event_bus.gate import FENCE_HOLD_SECONDS
from cutover.pooler.gate import (
    BLIND_SECONDS,
    NOWHERE,
    UNKNOWN,
    Action,
    Gate,
    Standing,
    next_action,
)
from cutover.timing import Timing

SIDES = ("hosted", "selfhosted")
LIMIT = 3.0


@dataclass(frozen=True)
class Route:
    """What counts here of the route."""

    active: str = "hosted"
    epoch: int = 1
    fence: int | None = None
    since: float = 0.0


@dataclass(frozen=True)
class Note:
    """What outlives an agent."""

    paused: bool = False
    epoch: int = 0
    at: float = 0.0
    refused: int = 0


class Pooler(RuleBasedStateMachine):
    """PgBouncer, its agent, the cutover and an operator. The agent's effects are those of acting.py, in its order; it
    may be killed before any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.truth = Route()
        self.told = 0  # the registry's record
        # PgBouncer
        self.paused_by = ""
        self.loaded = self.disk = "hosted"
        self.transaction = False
        # the agent
        self.view = Route()
        self.note = Note()
        self.acknowledged = 0
        self.seen = (0, 0.0)
        self.sure_of = 0
        self.paused_at = 0.0
        self.api = True
        self.given_up_blind = 0

    # -- the cutover

    @precondition(lambda self: self.truth.fence is None)
    @rule()
    def fences(self) -> None:
        self.truth = replace(self.truth, fence=self.truth.epoch + 1, since=self.now)

    @precondition(lambda self: self.truth.fence is not None and self.told == self.truth.fence)
    @rule()
    def opens(self) -> None:
        if self.now - self.truth.since <= Timing().pause:
            assert self.truth.fence is not None
            other = SIDES[1 - SIDES.index(self.truth.active)]
            self.truth = Route(other, self.truth.fence)

    @precondition(lambda self: self.truth.fence is not None)
    @rule()
    def undoes(self) -> None:
        assert self.truth.fence is not None
        self.truth = Route(self.truth.active, self.truth.fence)

    # -- the world

    @rule(seconds=st.sampled_from((0.1, 1.0, 5.0, 15.0, 40.0, 200.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.paused_by and self.loaded in SIDES)
    @rule()
    def a_transaction_begins(self) -> None:
        self.transaction = True

    @rule()
    def the_transaction_ends(self) -> None:
        self.transaction = False

    @rule(what=st.sampled_from(("operator", "operator", "pgbouncer", "agent", "kubernetes", "kubernetes")))
    def something_rare_happens(self, what: str) -> None:
        if what == "kubernetes":
            self.api = not self.api
        elif what == "agent":
            self._restart()
        elif what == "pgbouncer":
            self.paused_by, self.transaction, self.loaded = "", False, self.disk
        elif self.paused_by:
            self.paused_by = ""
        elif not self.note.paused:
            # A pause of ours that is over, without the agent having seen it, cannot be told from an operator's then.
            self.paused_by = "operator"

    # -- the agent

    @rule(actions=st.integers(1, 6), waits=st.booleans(), hears=st.booleans())
    def the_agent_acts(self, actions: int, waits: bool, hears: bool) -> None:
        if hears and self.api:
            self.view = self.truth
        for _ in range(actions):
            self._act(-1, waits)

    @rule(actions=st.integers(0, 3), effects=st.integers(0, 4), waits=st.booleans())
    def the_agent_is_killed(self, actions: int, effects: int, waits: bool) -> None:
        """After so many actions, in the midst of the next one."""
        for _ in range(actions):
            self._act(-1, waits)
        self._act(effects, waits)
        self._restart()

    def _restart(self) -> None:
        self.acknowledged = self.told = 0
        self.sure_of, self.paused_at = 0, self.now
        self.seen = (0, 0.0)
        if self.note.paused and self.note.epoch:
            self.seen = self.note.epoch, self.now - min(self.now - self.note.at, FENCE_HOLD_SECONDS)

    def _act(self, lives: int, waits: bool) -> None:
        at = self.standing()
        action = next_action(at)
        for effect in self.effects(action, at, waits)[: lives if lives >= 0 else None] if action else []:
            effect()

    def standing(self) -> Standing:
        fence = self.view.fence
        if fence is not None and self.seen[0] != fence:
            self.seen = fence, self.now
        gate = Gate.OPEN if not self.paused_by else Gate.HELD if self.note.paused else Gate.FOREIGN
        return Standing(
            gate=gate, active=self.view.active, loaded=self.loaded, written=self.disk == self.view.active,
            drained=not self.transaction, fence=fence, age=self.now - self.seen[1] if fence is not None else 0.0,
            refused=self.note.refused, acknowledged=self.acknowledged, noted=self.note.paused,
            waited=self.now - self.paused_at, limit=LIMIT, sure=self.sure_of == fence,
        )  # fmt: skip

    def effects(self, action: Action, at: Standing, waits: bool) -> list[Callable[[], None]]:
        active = self.view.active
        write, load = (lambda: self._write(active)), (lambda: self._load(active))
        forget = lambda: self._note(paused=False)  # noqa: E731
        pause: list[Callable[[], None]] = [lambda: self._begin_pause(at), self._pause]
        if at.obeyed and self.transaction and not waits:
            pause += [self._resume_what_it_paused, forget, lambda: self._refuse(at)]
        return {
            Action.PAUSE: pause,
            Action.BLOCK: [lambda: self._write(NOWHERE), lambda: self._load(NOWHERE)],
            Action.ACKNOWLEDGE: [lambda: self._acknowledge(at)],
            Action.LOOK: [self._look],
            Action.LAST_LOOK: [lambda: self._look() if self.api else self._refuse_blindly(at)],
            Action.GIVE_UP: [lambda: self._refuse(at)],
            Action.MOVE: [write, load, self._resume, forget],
            Action.POINT: [write, load],
            Action.TIDY: [write, load, forget],
            Action.AWAIT: list[Callable[[], None]](),
        }[action]

    def _note(self, **changed: object) -> None:
        self.note = replace(self.note, **changed)  # type: ignore[arg-type]

    def _begin_pause(self, at: Standing) -> None:
        again = self.note.paused and self.note.epoch == at.fence
        self._note(paused=True, epoch=at.fence or 0, at=self.note.at if again else self.now)
        self.paused_at = self.now

    def _pause(self) -> None:
        assert not self.paused_by
        self.paused_by = "agent"

    def _resume_what_it_paused(self) -> None:
        self.paused_by = ""

    def _refuse(self, at: Standing) -> None:
        self._note(refused=at.fence or 0)
        if self.acknowledged == at.fence:
            self.acknowledged = self.told = 0

    def _write(self, side: str) -> None:
        self.disk = side

    def _load(self, side: str) -> None:
        self.loaded = side

    def _acknowledge(self, at: Standing) -> None:
        assert self.paused_by == "agent", "acknowledged without a pause of ours"
        assert not self.transaction, "acknowledged with a transaction under way"
        assert self.loaded == self.disk == NOWHERE
        assert at.fence == self.view.fence
        self.acknowledged = self.told = at.fence or 0

    def _look(self) -> None:
        if self.api:
            self.sure_of = self.view.fence or 0
            self.view = self.truth

    def _refuse_blindly(self, at: Standing) -> None:
        assert at.age > FENCE_HOLD_SECONDS + BLIND_SECONDS
        self.given_up_blind = at.fence or 0
        self._refuse(at)

    def _resume(self) -> None:
        assert self.paused_by == "agent", "resumed what an operator had paused"
        blind = self.view.fence is not None and self.view.fence == self.given_up_blind
        assert self.loaded == self.truth.active or blind, "resumed at a side that the route does not name"
        self.paused_by = ""

    # -- what always holds

    @initialize()
    def begin(self) -> None:
        self.told = 1

    @invariant()
    def behind_an_acknowledged_fence_nothing_is_written_to_the_side_that_is_left(self) -> None:
        if self.truth.fence is not None and self.told == self.truth.fence:
            assert self.paused_by or self.loaded == NOWHERE
            assert not self.transaction

    def teardown(self) -> None:
        """Whatever happened: once all is quiet, PgBouncer serves from the side that the route names."""
        self.api = True
        if self.paused_by == "operator":
            self.paused_by = ""
        if self.truth.fence is not None:
            self.undoes()
        self.view = self.truth
        self.transaction = False
        for _ in range(20):
            self._act(-1, True)
        assert (self.paused_by, self.loaded, self.disk, self.note.paused) == ("", self.truth.active, self.loaded, False)


Pooler.TestCase.settings = settings(
    max_examples=400, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPooler = Pooler.TestCase


def held(**changed: object) -> Standing:
    """Paused by us for fence 2, nothing loaded, acknowledged."""
    at = Standing(gate=Gate.HELD, active="hosted", loaded=NOWHERE, fence=2, acknowledged=2, noted=True)
    return replace(at, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "action"),
    [
        (held(), None),
        (held(acknowledged=1), Action.ACKNOWLEDGE),
        (held(loaded="hosted", acknowledged=1), Action.BLOCK),
        (held(loaded=UNKNOWN, acknowledged=1), Action.BLOCK),
        (held(drained=False, loaded="hosted", acknowledged=1, waited=1), Action.AWAIT),
        (held(drained=False, loaded="hosted", acknowledged=1, waited=4), Action.GIVE_UP),
        (held(age=29), None),
        (held(age=31), Action.LOOK),
        (held(age=31, sure=True), Action.GIVE_UP),
        (held(age=31, acknowledged=1), Action.LOOK),
        (held(age=31, acknowledged=1, loaded="hosted"), Action.GIVE_UP),
        (held(age=31 + BLIND_SECONDS), Action.LAST_LOOK),
        (held(refused=2), Action.MOVE),
        (held(fence=None, active="selfhosted"), Action.MOVE),
        (held(fence=None, active="selfhosted", loaded="hosted", drained=False), Action.AWAIT),
        (held(fence=None, loaded="hosted", drained=False), Action.MOVE),
        (held(gate=Gate.OPEN), Action.PAUSE),
        (held(gate=Gate.OPEN, fence=None, loaded="hosted"), Action.TIDY),
        (held(gate=Gate.OPEN, fence=None, loaded="hosted", noted=False, written=False), Action.TIDY),
        (held(gate=Gate.OPEN, fence=None, loaded="hosted", noted=False), None),
        (held(gate=Gate.OPEN, fence=None, active="selfhosted", loaded="hosted", noted=False), Action.PAUSE),
        (held(gate=Gate.FOREIGN, noted=False), None),
        (held(gate=Gate.FOREIGN, noted=False, fence=None, active="selfhosted"), Action.POINT),
        (held(gate=Gate.AWAY), None),
        (held(active=None), None),
    ],
)
def test_what_follows_from_each_standing(at: Standing, action: Action | None) -> None:
    assert next_action(at) is action

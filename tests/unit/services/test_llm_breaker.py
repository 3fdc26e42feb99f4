"""The circuit breaker: when it opens, who passes, what closes it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.llm_orchestrator.breaker import Breaker, Rules, State

RULES = Rules(least=3, rate=0.5, window=10, rest=1, longest=4)


def failing(breaker: Breaker, times: int, now: float) -> Breaker:
    for _ in range(times):
        breaker, number = breaker.admit(now)
        assert number is not None
        breaker = breaker.fail(number, now)
    return breaker


def test_enough_failures_open_it_and_rest_lets_one_call_through() -> None:
    breaker = failing(Breaker(rules=RULES), 3, 100.0)
    assert breaker.state is State.OPEN
    assert breaker.admit(100.9) == (breaker, None)
    assert breaker.wait(100.5) == 0.5
    breaker, number = breaker.admit(101.0)
    assert (breaker.state, breaker.admit(101.0)[1]) == (State.HALF_OPEN, None)
    assert number is not None
    assert breaker.succeed(number, 101.5).state is State.CLOSED


def test_a_probe_that_fails_doubles_the_rest_up_to_the_longest() -> None:
    breaker, now, rests = failing(Breaker(rules=RULES), 3, 0.0), 0.0, []
    for _ in range(4):
        now += breaker.rest
        breaker, number = breaker.admit(now)
        assert number is not None
        breaker = breaker.fail(number, now)
        rests.append(breaker.rest)
    assert rests == [2, 4, 4, 4]


def test_a_probe_that_was_given_up_leaves_its_place_to_the_next() -> None:
    breaker, number = failing(Breaker(rules=RULES), 3, 0.0).admit(1.0)
    assert number is not None
    breaker, other = breaker.leave(number).admit(1.0)
    assert other is not None
    assert other != number


def test_a_straggler_of_an_earlier_round_decides_nothing() -> None:
    breaker, old = Breaker(rules=RULES).admit(0.0)
    assert old is not None
    probing, number = failing(breaker, 3, 0.0).admit(1.0)
    assert number is not None
    assert probing.succeed(old, 1.1) == probing
    assert probing.fail(old, 1.1) == probing
    closed = probing.succeed(number, 1.2)
    assert closed.fail(old, 1.3) == closed


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_it_never_opens_while_most_calls_succeed(outcomes: list[bool]) -> None:
    """Each failure comes after more successes than failures so far."""
    breaker, good, bad = Breaker(rules=RULES), 0, 0
    for wish in outcomes:
        fails = wish and bad + 1 < (good + bad + 1) * RULES.rate
        breaker = breaker.fail(0, 0.0) if fails else breaker.succeed(0, 0.0)
        good, bad = good + (not fails), bad + fails
        assert breaker.state is State.CLOSED


def test_failures_of_long_ago_do_not_count() -> None:
    breaker = Breaker(rules=RULES)
    for moment in (0.0, 20.0, 40.0, 60.0):
        breaker = breaker.fail(0, moment)
    assert breaker.state is State.CLOSED


class Life(RuleBasedStateMachine):
    """Any order of calls, outcomes and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(rules=RULES)
        self.now = 0.0
        self.open: list[int] = []

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        before = self.breaker
        self.breaker, number = before.admit(self.now)
        if number is None:
            assert before.state is not State.CLOSED
        else:
            assert before.wait(self.now) == 0
            self.open.append(number)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), how=st.sampled_from(["succeed", "fail", "leave"]))
    def outcome(self, data: st.DataObject, how: str) -> None:
        number = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        before = self.breaker
        if how == "leave":
            self.breaker = before.leave(number)
        else:
            self.breaker = getattr(before, how)(number, self.now)
        if number != before.round or before.state is State.OPEN:
            assert self.breaker == before

    @invariant()
    def one_probe_at_most(self) -> None:
        probes = self.open.count(self.breaker.round)
        assert self.breaker.state is State.CLOSED or probes <= 1

    @invariant()
    def nobody_is_locked_out_for_ever(self) -> None:
        assert self.breaker.rest <= RULES.longest
        # A probe whose outcome is never told would be: the lane tells of every call.
        if self.breaker.state is State.OPEN:
            assert self.breaker.admit(self.now + RULES.longest)[1] is not None
        if self.breaker.state is State.HALF_OPEN:
            assert self.breaker.round in self.open


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40)

"""Where a sequence is set at the other side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.catalog import SequenceState
from adapters.postgres.errors import Drift
from adapters.postgres.sequences import ahead, moved

UP = SequenceState("s", 'n"', 10, True, 1, 1)


def successor(state: SequenceState) -> int | None:
    """What nextval gives; None where it is at its end."""
    if not state.called:
        return state.last
    value = state.last + state.increment
    return value if state.minimum <= value <= state.maximum else None


@st.composite
def states(draw: st.DrawFn) -> SequenceState:
    low, high = sorted(draw(st.tuples(st.integers(-200, 200), st.integers(-200, 200))))
    increment = draw(st.integers(-40, 40).filter(bool))
    last = draw(st.integers(low, high))
    return SequenceState("s", "n", last, draw(st.booleans()), increment, draw(st.integers(1, 50)), low, high)


@given(states(), st.integers(0, 100))
def test_it_never_gives_out_again_what_was_given_and_never_ends_sooner(state: SequenceState, headroom: int) -> None:
    setting = ahead(state, headroom)
    assert state.minimum <= setting.value <= state.maximum
    after = replace(state, last=setting.value, called=setting.called)
    before = successor(state)
    assert (successor(after) is None) == (before is None)
    if before is not None:
        assert (setting.value - state.last) % state.increment == 0
        found = successor(after)
        assert found is not None
        assert (found - before) * (1 if state.increment > 0 else -1) >= 0


@given(states(), states(), st.integers(0, 100))
def test_it_never_goes_back(source: SequenceState, other: SequenceState, headroom: int) -> None:
    target = replace(source, last=min(max(other.last, source.minimum), source.maximum), called=other.called)
    setting = moved(source, target, headroom)
    after = target if setting is None else replace(target, last=setting.value, called=setting.called)
    sign = 1 if source.increment > 0 else -1
    edge = sign * (after.last + (after.increment if after.called else 0))
    assert edge >= sign * (target.last + (target.increment if target.called else 0))
    assert edge >= sign * (source.last + (source.increment if source.called else 0))


def test_head_room_is_counted_in_values() -> None:
    assert ahead(replace(UP, increment=5), 100).value == 510
    assert ahead(replace(UP, increment=-5, minimum=-(2**63), maximum=-1, last=-10), 100).value == -510
    assert ahead(UP, 0).value == 10
    assert ahead(replace(UP, cache=50), 0).value == 60


def test_one_that_was_not_called_gives_its_first_value() -> None:
    setting = ahead(replace(UP, called=False))
    assert (setting.value, setting.called) == (10, False)


def test_near_its_end_half_of_what_is_left_is_left() -> None:
    assert ahead(replace(UP, maximum=20), 1000).value == 15
    assert ahead(replace(UP, maximum=11), 1000).value == 10
    assert ahead(replace(UP, maximum=10), 1000).value == 10


def test_one_that_cycles_may_go_back() -> None:
    cycling = replace(UP, cycles=True, maximum=100)
    assert moved(cycling, replace(cycling, last=99), 0) == ahead(cycling, 0)
    assert moved(UP, replace(UP, last=99), 0) is None


def test_names_are_quoted_and_values_are_values() -> None:
    query, values = ahead(UP, 5).statement
    assert (query.count("%s"), values) == (3, ('"s"."n"""', 15, True))


def test_one_that_is_not_there_or_counts_otherwise_is_a_drift() -> None:
    with pytest.raises(Drift, match="not at the other side"):
        moved(UP, None)
    with pytest.raises(Drift, match="goes by 1"):
        moved(UP, replace(UP, increment=2))

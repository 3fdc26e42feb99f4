"""Where sequences go on in an emergency: beyond all that can have been given out, and never back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.catalog import SequenceState
from adapters.postgres.counting import SLACK_SECONDS, VALUES_A_SECOND, beyond


def state(last: int, increment: int = 1, *, called: bool = True, maximum: int = 2**63 - 1) -> SequenceState:
    return SequenceState("s", "q", last, called, increment, 1, minimum=-(2**63), maximum=maximum)


@given(
    here=st.integers(-(10**9), 10**9), noted=st.integers(-(10**9), 10**9), age=st.floats(0, 3600),
    increment=st.sampled_from([1, 7, -1, -3]), called=st.booleans(),
)  # fmt: skip
def test_it_goes_on_beyond_all_that_was_given_out_since(
    here: int, noted: int, age: float, increment: int, called: bool
) -> None:
    setting, enough = beyond(state(here, increment, called=called), noted, age)
    given_out = int(VALUES_A_SECOND * (age + SLACK_SECONDS))
    direction = 1 if increment > 0 else -1
    assert enough and setting.called
    assert direction * setting.value >= direction * (noted + given_out * increment)
    assert direction * setting.value >= direction * here


def test_one_that_is_near_its_end_does_not_end_and_is_told() -> None:
    setting, enough = beyond(state(100, maximum=1000), 900, 0.0)
    assert (setting.value, enough) == (950, False)

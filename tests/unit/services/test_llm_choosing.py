"""Who answers a conversation: the same side while the percent stands, and a higher percent only adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm import Failure
from contracts.routes import Route
from contracts.stages import Component, Stage
from services.llm_orchestrator.choosing import MOST_ATTEMPTS, NEW, OLD, after, place, plan_of

BOTH = (OLD, NEW)
CONVERSATIONS = [f"conversation {number}" for number in range(2000)]


@given(st.text(), st.integers(0, 100), st.integers(0, 100))
def test_a_higher_percent_moves_no_conversation_back(conversation: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    first, then = (plan_of(_scale(share), BOTH).chosen(conversation) for share in (low, high))
    assert then == NEW or first == OLD


def _scale(share: int | None, active: str = NEW) -> Route:
    return Route(component=Component.LLM_SERVICE, stage=Stage.SCALE, active=active, epoch=1, share=share)


@given(st.text(), st.integers(0, 100))
def test_it_makes_no_difference_which_side_the_route_calls_active(conversation: str, percent: int) -> None:
    new, old = _scale(percent), _scale(100 - percent, OLD)
    assert plan_of(new, BOTH).chosen(conversation) == plan_of(old, BOTH).chosen(conversation)


@pytest.mark.parametrize("share", [1, 10, 50, 90])
def test_the_percent_is_that_of_the_conversations(share: int) -> None:
    chosen = [plan_of(_scale(share), BOTH).chosen(one) for one in CONVERSATIONS]
    assert abs(100 * chosen.count(NEW) / len(chosen) - share) < 3
    assert {place(one) < 100 for one in CONVERSATIONS} == {True}


def test_without_a_share_the_active_side_answers_all() -> None:
    assert {plan_of(_scale(None), BOTH).chosen(one) for one in CONVERSATIONS} == {NEW}
    assert {plan_of(_scale(0), BOTH).chosen(one) for one in CONVERSATIONS} == {OLD}


@pytest.mark.parametrize(
    ("stage", "active", "more", "configured", "other", "mirror"),
    [
        (Stage.MVP, OLD, {}, BOTH, None, None),
        (Stage.MVP, OLD, {"sample": 5.0}, BOTH, None, NEW),
        (Stage.SHADOW, OLD, {"sample": 5.0}, BOTH, NEW, NEW),
        (Stage.SHADOW, NEW, {"share": 10}, BOTH, OLD, None),
        (Stage.SCALE, NEW, {}, BOTH, OLD, None),
        (Stage.COMPLETE, NEW, {}, BOTH, None, None),
        (Stage.COMPLETE, NEW, {"sample": 5.0}, BOTH, None, OLD),
        (Stage.SHADOW, OLD, {"sample": 5.0}, (OLD,), None, None),
        (Stage.SCALE, NEW, {"share": 10}, (NEW,), None, None),
    ],
)
def test_a_side_is_asked_only_where_the_route_and_the_environment_have_it(
    stage: Stage, active: str, more: dict[str, object], configured: tuple[str, ...], other: str | None, mirror: str
) -> None:
    route = Route(component=Component.LLM_SERVICE, stage=stage, active=active, epoch=3, **more)  # type: ignore[arg-type]
    made = plan_of(route, configured)
    assert (made.other, made.mirror) == (other, mirror)
    if other is None:
        assert not made.divided


def test_before_there_is_a_route_the_old_side_answers() -> None:
    made = plan_of(None, BOTH)
    assert (made.active, made.other, made.epoch, made.mirror) == (OLD, None, 0, None)


def test_a_sample_goes_to_the_side_that_did_not_answer() -> None:
    route = _scale(10).model_copy(update={"sample": 25.0})
    made = plan_of(route, BOTH)
    assert made.sampled_side(NEW, 24.9) == OLD
    assert made.sampled_side(OLD, 24.9) == NEW
    assert made.sampled_side(NEW, 25.0) is None


FAILURES = st.sampled_from(list(Failure))


@given(st.lists(FAILURES, min_size=MOST_ATTEMPTS, max_size=MOST_ATTEMPTS), st.sampled_from([None, OLD]))
def test_attempts_end_and_nobody_is_asked_without_need(failures: list[Failure], other: str | None) -> None:
    tried: list[tuple[str, Failure]] = []
    side: str | None = NEW
    while side is not None:
        tried.append((side, failures[len(tried)]))
        side = after(tried, NEW, other)
    asked = [one for one, _ in tried]
    assert len(asked) <= MOST_ATTEMPTS
    assert asked.count(OLD) <= (other is not None)
    assert asked.count(NEW) <= 2
    # Nobody who answered, or took its time, is asked again.
    assert asked.count(NEW) == 1 or tried[0][1] in (Failure.DROPPED, Failure.UNREACHABLE, Failure.NO_NAME)
    # Where there is another side, it is asked before the caller is told of a failure.
    assert other is None or OLD in asked


def test_an_old_connection_that_broke_is_tried_again_where_it_was() -> None:
    assert after([(NEW, Failure.DROPPED)], NEW, OLD) == NEW
    assert after([(NEW, Failure.DROPPED), (NEW, Failure.DROPPED)], NEW, OLD) == OLD
    assert after([(NEW, Failure.UNREACHABLE)], NEW, OLD) == OLD
    assert after([(NEW, Failure.UNREACHABLE)], NEW, None) == NEW

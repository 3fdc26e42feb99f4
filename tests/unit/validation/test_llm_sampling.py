"""A few questions show what is broken, however weak the old side, and take nothing from a side that is as good."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.llm.memory import MemoryChat
from tests.unit.validation.test_llm_gate import FAIR, GOOD, OTHER, Speaker, lost, noise, reply, right, weak
from validation.llm_service.asking import Side
from validation.llm_service.deciding import paired
from validation.llm_service.prompts import Prompt, few, load
from validation.llm_service.sampling import look, sample
from validation.llm_service.settings import Settings
from validation.llm_service.streams import Reply
from validation.result import Check, Verdict

EIGHT = few(load(), 8)


def looked(old: Speaker, new: Speaker, prompts: Sequence[Prompt] = EIGHT) -> Check:
    pairs = paired(prompts, [reply(old(one)) for one in prompts], [reply(new(one)) for one in prompts])
    return look(pairs, len(prompts), Settings())


def test_a_few_prompts_are_of_many_kinds_and_the_same_each_time() -> None:
    for count in (0, 1, 3, 8, 1000):
        found = few(load(), count)
        assert len(found) == min(count, len(load())) and found == few(load(), count)
    assert len({prompt.kind for prompt in EIGHT}) >= 6
    assert few((), 8) == ()


@pytest.mark.parametrize("speaker", [right, GOOD, FAIR, weak], ids=["right", "good", "fair", "weak"])
def test_the_same_answers_hold_however_weak(speaker: Speaker) -> None:
    assert looked(speaker, speaker).outcome is Verdict.HOLDS


def test_another_good_model_holds_and_a_better_one_too() -> None:
    for old, new in ((GOOD, OTHER), (OTHER, GOOD), (weak, right)):
        assert looked(old, new).outcome is Verdict.HOLDS


@pytest.mark.parametrize("old", [right, GOOD, weak], ids=["right", "good", "weak"])
@pytest.mark.parametrize("broken", [lost, noise, lambda _: ""], ids=["lost", "noise", "empty"])
@pytest.mark.parametrize("count", [3, 8])
def test_a_broken_side_does_not_hold(old: Speaker, broken: Speaker, count: int) -> None:
    found = looked(old, broken, few(load(), count))
    assert found.outcome is Verdict.DOES_NOT_HOLD
    assert f"of {count} right or in agreement" in found.found


def test_a_side_that_was_right_about_nearly_all_and_is_not_any_more_does_not_hold() -> None:
    """Where it says what the old side says, it does not agree by being alike: it was right."""
    assert looked(right, weak).outcome is Verdict.DOES_NOT_HOLD


def test_an_old_side_that_is_silent_shows_nothing_and_a_new_one_that_is_fails() -> None:
    silent = Reply(error="it is down")
    told = [reply(right(one)) for one in EIGHT]
    unknown = look(paired(EIGHT, [silent] * 8, told), 8, Settings())
    assert unknown.outcome is Verdict.COULD_NOT_CHECK and "none of 8" in unknown.detail
    assert look(paired(EIGHT, told, [silent] * 8), 8, Settings()).outcome is Verdict.DOES_NOT_HOLD


def test_both_sides_are_asked() -> None:
    sides = [MemoryChat(reply=text, models=("m",)) for text in ("one two three four", "something else altogether")]
    old, new = (Side("side", "m", lambda chat=chat: chat) for chat in sides)  # type: ignore[misc]
    assert sample(old, old, EIGHT, Settings()).outcome is Verdict.HOLDS
    assert sample(old, new, EIGHT, Settings()).outcome is Verdict.DOES_NOT_HOLD
    assert [len(chat.requests) for chat in sides] == [24, 8]

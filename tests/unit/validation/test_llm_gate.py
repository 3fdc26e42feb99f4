"""The gate passes two sides that answer alike, weak ones too, and refuses each way of being broken named here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from adapters.llm.memory import MemoryChat
from tests.unit.validation.test_llm_prompts import spelled
from validation.llm_service.asking import Answers, Price, Side
from validation.llm_service.deciding import decide
from validation.llm_service.gate import conclusion, judge
from validation.llm_service.paired import Comparison
from validation.llm_service.prompts import Prompt, load
from validation.llm_service.settings import Settings
from validation.llm_service.streams import Reply
from validation.result import Report, Verdict

PROMPTS = load()
Speaker = Callable[[Prompt], str]


def reply(text: str, **more: float) -> Reply:
    return Reply(text, "", "stop", 0.1, (0.01,), 0.2, 10, 50, **more)


def right(prompt: Prompt) -> str:
    return spelled(prompt)


def mostly(speaker: Speaker, share: float, seed: int, otherwise: Speaker) -> Speaker:
    """Says as `speaker` for a `share` of the prompts, chosen by `seed`."""
    names = [prompt.id for prompt in PROMPTS]
    chosen = set(random.Random(seed).sample(names, round(share * len(names))))
    return lambda prompt: (speaker if prompt.id in chosen else otherwise)(prompt)


def weak(prompt: Prompt) -> str:
    """As a small model does: it goes on talking of what it was asked, and is never right."""
    words = prompt.user.replace("\n", " ").split()
    return f"The question is about {' '.join(words[2:12])} and so it is."


def lost(prompt: Prompt) -> str:
    """As a model does whose template is wrong: fluent, and of something else."""
    return random.Random(prompt.id).choice(
        ["I am sorry, as an assistant I cannot see it.", "Once there was a king.", "Sure! What would you like to know?"]
    )


def noise(prompt: Prompt) -> str:
    chance = random.Random(prompt.id)
    return " ".join("".join(chance.choices("abcdefghij ", k=8)) for _ in range(6))


def decided(
    old: Speaker, new: Speaker, settings: Settings | None = None, prompts: Sequence[Prompt] = PROMPTS
) -> Report:
    answers = [Answers(tuple(reply(say(prompt)) for prompt in prompts), 10.0) for say in (old, new)]
    sides = Side("old", "m", MemoryChat), Side("new", "m", MemoryChat)
    return decide(sides, prompts, (answers[0], answers[1]), settings or Settings(), "llm_service")


def failing(report: Report) -> dict[str, Verdict]:
    return {check.name: check.outcome for check in report.failures()}


GOOD = mostly(right, 0.9, 1, weak)
OTHER = mostly(right, 0.9, 2, weak)
FAIR = mostly(right, 0.6, 1, weak)


@pytest.mark.parametrize("speaker", [right, GOOD, FAIR, weak], ids=["right", "good", "fair", "weak"])
def test_the_same_answers_hold_however_weak(speaker: Speaker) -> None:
    report = decided(speaker, speaker)
    assert failing(report) == {}
    assert conclusion(report) is Comparison.NOT_WORSE


def test_another_model_of_the_same_quality_holds_and_a_better_one_is_better() -> None:
    assert conclusion(decided(GOOD, OTHER)) is Comparison.NOT_WORSE
    assert conclusion(decided(GOOD, right)) is Comparison.BETTER
    assert conclusion(decided(weak, right)) is Comparison.BETTER


@pytest.mark.parametrize("old", [right, GOOD, FAIR, weak], ids=["right", "good", "fair", "weak"])
@pytest.mark.parametrize("broken", [lost, noise, lambda _: "", lambda _: "!" * 80, lambda _: "positive"])
def test_a_broken_side_does_not_hold_however_weak_the_old_one(old: Speaker, broken: Speaker) -> None:
    report = decided(old, broken)
    assert report.overall() is Verdict.DOES_NOT_HOLD
    assert failing(report)["agreement"] is Verdict.DOES_NOT_HOLD
    assert conclusion(report) is Comparison.WORSE


def test_a_side_that_is_a_little_worse_than_the_margin_does_not_hold() -> None:
    report = decided(right, mostly(right, 0.88, 3, weak))
    assert failing(report)["accuracy"] is Verdict.DOES_NOT_HOLD


ORDERS = {f"order_check-00{number}" for number in range(1, 6)}


def test_a_loss_in_one_kind_of_questions_is_told_by_its_name() -> None:
    report = decided(right, lambda prompt: weak(prompt) if prompt.id in ORDERS else right(prompt))
    assert failing(report) == {"no kind is worse": Verdict.DOES_NOT_HOLD}
    assert "order_check" in next(check.detail for check in report.failures())


@pytest.mark.parametrize("old", [right, weak], ids=["right", "weak"])
def test_a_context_that_is_cut_off_is_seen_by_the_long_prompts_alone(old: Speaker) -> None:
    report = decided(old, lambda prompt: lost(prompt) if prompt.kind == "context" else old(prompt))
    assert failing(report)["no kind is worse"] is Verdict.DOES_NOT_HOLD
    told = next(check.detail for check in report.checks if check.name == "no kind is worse")
    assert told.startswith("context: ")


def test_loops_and_lost_forms_are_each_told() -> None:
    looping = mostly(right, 0.85, 4, lambda prompt: "go on and " * 20)
    assert failing(decided(right, looping))["language"] is Verdict.DOES_NOT_HOLD
    chatty = mostly(right, 0.85, 4, lambda prompt: f"Sure, gladly! It is {right(prompt)} I hope that helps.")
    assert failing(decided(right, chatty))["format"] is Verdict.DOES_NOT_HOLD


def test_an_old_side_that_says_the_same_to_everything_proves_nothing() -> None:
    report = decided(lambda _: "I cannot help.", lambda _: "I cannot help.")
    assert failing(report) == {"control": Verdict.COULD_NOT_CHECK}
    assert conclusion(report) is Comparison.NOT_ENOUGH_DATA


def test_few_prompts_are_not_enough_data() -> None:
    few = [prompt for prompt in PROMPTS if prompt.id.endswith("1")][:24]
    report = decided(right, right, prompts=few)
    assert failing(report)["accuracy"] is Verdict.COULD_NOT_CHECK
    assert conclusion(report) is Comparison.NOT_ENOUGH_DATA
    assert decided(right, right, prompts=[]).overall() is Verdict.COULD_NOT_CHECK


def with_replies(before: Sequence[Reply], after: Sequence[Reply], settings: Settings, **prices: Price) -> Report:
    both = Side("old", "m", MemoryChat, prices.get("old")), Side("new", "m", MemoryChat, prices.get("new"))
    return decide(both, PROMPTS, (Answers(tuple(before), 10.0), Answers(tuple(after), 10.0)), settings, "llm_service")


WELL = [reply(right(prompt), logprob=-0.3) for prompt in PROMPTS]


def test_an_old_side_without_answers_cannot_be_compared_with_and_a_new_one_without_is_worse() -> None:
    gone = [replace(one, error="gone") if place % 10 == 0 else one for place, one in enumerate(WELL)]
    assert failing(with_replies(gone, WELL, Settings())) == {"answers of old": Verdict.COULD_NOT_CHECK}
    report = with_replies(WELL, gone, Settings())
    assert failing(report)["answers of new"] is Verdict.DOES_NOT_HOLD
    assert failing(report)["accuracy"] is Verdict.DOES_NOT_HOLD
    assert "26 x gone" in next(check.detail for check in report.failures())
    one = [replace(WELL[0], error="gone"), *WELL[1:]]
    assert failing(with_replies(one, WELL, Settings())) == failing(with_replies(WELL, one, Settings())) == {}


def test_a_side_that_is_unsure_of_its_own_words_is_told() -> None:
    unsure = [replace(one, logprob=-1.6) for one in WELL]
    assert failing(with_replies(WELL, unsure, Settings())) == {"log-probability": Verdict.DOES_NOT_HOLD}
    silent = [replace(one, logprob=None) for one in WELL]
    names = [check.name for check in with_replies(WELL, silent, Settings()).checks]
    assert "log-probability" not in names


def test_time_to_the_first_token_is_judged_where_it_was_measured() -> None:
    slow = [replace(one, first=0.5) for one in WELL]
    assert failing(with_replies(WELL, slow, Settings())) == {"time to the first token": Verdict.DOES_NOT_HOLD}
    assert failing(with_replies(WELL, slow, Settings(ttft_ratio=6))) == {}
    assert failing(with_replies(WELL, slow, Settings(ttft_ratio=None))) == {}
    untimed = [replace(one, first=None) for one in WELL]
    assert failing(with_replies(WELL, untimed, Settings())) == {"time to the first token": Verdict.COULD_NOT_CHECK}


def test_cost_is_judged_only_where_asked_and_where_both_sides_have_a_price() -> None:
    cheap, dear = Price(output_per_million=1), Price(output_per_million=3)
    report = with_replies(WELL, WELL, Settings(cost_ratio=2), old=cheap, new=dear)
    assert failing(report) == {"cost of 1,000 tokens": Verdict.DOES_NOT_HOLD}
    assert report.figures["old.cost_per_1000_tokens"] == pytest.approx(0.001)
    assert failing(with_replies(WELL, WELL, Settings(cost_ratio=2), old=cheap)) == {
        "cost of 1,000 tokens": Verdict.COULD_NOT_CHECK
    }
    assert failing(with_replies(WELL, WELL, Settings(), old=cheap, new=dear)) == {}


def test_the_report_has_the_figures_and_travels_as_json() -> None:
    report = decided(GOOD, OTHER)
    for name in ("old.accuracy", "new.accuracy.code", "accuracy_low", "agreement", "new.ttft_ms_p95", "old.gap_ms_p99"):
        assert name in report.figures
    assert report.figures["agreement_of_control"] < 0.5 < report.figures["agreement"]
    assert Report.from_json(report.to_json()) == report


def test_judging_asks_both_sides_and_says_what_it_found() -> None:
    old, new = MemoryChat("positive", ("m",)), MemoryChat("negative", ("m",))
    report = judge(Side("hosted", "m", lambda: old), Side("vllm", "m", lambda: new), PROMPTS, subject="trading")
    assert report.subject == "trading" and report.overall() is Verdict.DOES_NOT_HOLD
    assert len(old.requests) == len(new.requests) == len(PROMPTS)
    assert {"answers of hosted", "answers of vllm"} <= {check.name for check in report.checks}

"""The quality gate as config asks for it, from the step of a switch down to the prompts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, override

import pytest

from adapters.llm.memory import MemoryChat
from contracts.llm_moving import Cost, LlmMoving, Quality
from cutover.errors import StepFailed
from cutover.llm_service.judging import Judging
from tests.unit.cutover.llm_world import LlmWorld
from validation.llm_service.prompts import load
from validation.result import Verdict


class Attentive(MemoryChat):
    """Answers with words of the question: what says the same whatever it is asked proves nothing."""

    @override
    def _take(self, body: Mapping[str, Any], *, stream: bool) -> str:
        model = super()._take(body, stream=stream)
        self.reply = " ".join(str(body["messages"][-1]["content"]).split()[-12:])
        return model


KINDS = {prompt.kind for prompt in load()}


def _attentive() -> LlmWorld:
    world = LlmWorld()
    world.sides |= {name: Attentive(models=(f"{name}-model",)) for name in world.sides}
    return world


@pytest.mark.parametrize(("per_kind", "margin"), [(4, 0.15), (10, 0.05)])
def test_as_many_prompts_as_the_document_says_can_show_that_the_same_model_is_no_worse(
    per_kind: int, margin: float
) -> None:
    world = _attentive()
    old, new = world.model("hosted", "default"), world.model("vllm", "default")
    quality = Quality(per_kind=per_kind, margin=margin, concurrency=1)
    report = Judging(LlmMoving(quality=quality)).judge(old, new)
    asked = len(world.sides["vllm"].requests)
    assert asked == len(world.sides["hosted"].requests) == per_kind * len(KINDS)
    # Two fakes answer within microseconds: how many times as long one takes is chance.
    failed = [check for check in report.failures() if "first token" not in check.name]
    assert failed == [], failed


def test_another_answer_is_seen_and_too_few_prompts_say_nothing() -> None:
    world = _attentive()
    old, new = world.model("hosted", "default"), world.model("vllm", "default")
    few = Judging(LlmMoving(quality=Quality(per_kind=1, margin=0.01, concurrency=1))).judge(old, new)
    assert few.overall() is not Verdict.HOLDS
    world.sides["vllm"] = MemoryChat(reply="buy " * 40, models=("vllm-model",))
    broken = Judging(LlmMoving(quality=Quality(per_kind=10, concurrency=1))).judge(old, world.model("vllm", "default"))
    assert broken.overall() is Verdict.DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(None, None), (1e-9, Verdict.DOES_NOT_HOLD), (1e9, Verdict.HOLDS)]
)  # fmt: skip
def test_with_prices_cost_is_told_and_judged_where_config_says_by_how_much(
    ratio: float | None, verdict: Verdict | None
) -> None:
    world = _attentive()
    old, new = world.model("hosted", "default"), world.model("vllm", "default")
    cost = Cost(hosted_input=1.0, hosted_output=2.0, own_hour=3.0, ratio=ratio)
    report = Judging(LlmMoving(quality=Quality(per_kind=2, concurrency=1, cost=cost))).judge(old, new)
    assert report.figures["old.cost_per_1000_tokens"] >= 0.002  # two a million generated, and the prompts
    assert report.figures["new.cost_per_1000_tokens"] > 0
    found = [check.outcome for check in report.checks if check.name.startswith("cost")]
    assert found == ([verdict] if verdict else [])


def test_without_prices_no_cost_is_told() -> None:
    world = _attentive()
    quality = Quality(per_kind=1, concurrency=1)
    report = Judging(LlmMoving(quality=quality)).judge(world.model("hosted", "default"), world.model("vllm", "default"))
    assert not [name for name in report.figures if "cost" in name]


def test_a_file_of_prompts_that_are_none_is_refused_with_the_key_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("{}\n")
    world = LlmWorld()
    gate = Judging(LlmMoving(prompts=str(file))).judge
    with pytest.raises(StepFailed, match=r"mine\.jsonl.*crossover:llm_service\.quality\.prompts"):
        gate(world.model("hosted", "default"), world.model("vllm", "default"))

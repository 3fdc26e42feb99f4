"""The quality gate over a real small model: the same on both sides holds, and each way of breaking it does not.

SmolLM2-135M is right about nearly nothing here, which is what makes it hard: accuracy alone could not tell it from
noise. Prompts are few and answers short, for the time; the margins are as wide as so few need.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, override

import pytest

from adapters.llm import ChatBackend, ChatStream, open_backend
from adapters.llm.base import Answer
from adapters.llm.memory import MemoryChat
from tests.contract import hurt_models, llama_server
from validation.llm_service.asking import Answers, Side, ask
from validation.llm_service.deciding import decide, paired
from validation.llm_service.gate import Settings, judge
from validation.llm_service.prompts import Prompt, load
from validation.llm_service.sampling import look
from validation.result import Report, Verdict

pytestmark = pytest.mark.contract

SETTINGS = Settings(
    margin=0.2, format_margin=0.2, degenerate_margin=0.2, ttft_ratio=None, concurrency=1, timeout_seconds=300
)
"""One call at a time: what a model of this size says changes with what else is in the batch. Times are not judged, for
the machine has other work."""


def shortest(per_kind: int, kinds: Sequence[str], max_tokens: int = 8) -> tuple[Prompt, ...]:
    """The shortest prompts of each kind, with short answers."""
    chosen = []
    for kind in kinds:
        own = sorted((prompt for prompt in load() if prompt.kind == kind), key=lambda prompt: len(prompt.user))
        chosen += own[:per_kind]
    return tuple(prompt.model_copy(update={"max_tokens": max_tokens}) for prompt in chosen)


SHORT = ("classification", "code", "extraction", "sentiment")
PROMPTS = shortest(2, (*SHORT, "arithmetic", "order_check"))
FEWER = shortest(2, SHORT)
"""Enough to refuse by."""


@contextmanager
def serving(parts: Path, folder: Path, *options: str) -> Iterator[Side]:
    """A side that one thread serves: two would wait for each other where the machine is full."""
    with llama_server.serving(parts, folder, "--threads", "1", "--parallel", "1", *options) as (_, url):
        yield Side(
            "real", llama_server.MODEL, partial(open_backend, "real", url, llama_server.API_KEY, timeout=300)
        )  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "vllm"])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    if request.param == "vllm":
        url = request.getfixturevalue("vllm")
        yield Side("real", llama_server.MODEL, partial(open_backend, "real", url, llama_server.API_KEY))
        return
    with serving(request.getfixturevalue("parts"), tmp_path_factory.mktemp("good"), "--ctx-size", "2048") as side:
        yield side


@pytest.fixture(scope="module")
def answers(good: Side) -> Answers:
    """What the old side says to FEWER, asked once."""
    return answered(good, FEWER)


def answered(side: Side, prompts: Sequence[Prompt]) -> Answers:
    return asyncio.run(ask(side, prompts, SETTINGS.manner))


def judged(old: tuple[Side, Answers], new: Side) -> Report:
    """The gate's report on the answers to FEWER, which show that much to the watch of a switch, too."""
    answers = answered(new, FEWER)
    sampled = look(paired(FEWER, old[1].replies, answers.replies), len(FEWER), SETTINGS)
    assert sampled.outcome is Verdict.DOES_NOT_HOLD, sampled
    return decide((old[0], new), FEWER, (old[1], answers), SETTINGS, "llm_service")


def test_a_sample_takes_nothing_from_the_same_model(good: Side, answers: Answers) -> None:
    again = answered(good, FEWER[:4])
    sampled = look(paired(FEWER[:4], answers.replies[:4], again.replies), 4, SETTINGS)
    assert sampled.outcome is Verdict.HOLDS, sampled


def verdicts(report: Report) -> dict[str, Verdict]:
    return {check.name: check.outcome for check in report.checks}


def test_the_same_model_on_both_sides_holds(good: Side) -> None:
    report = judge(good, good, PROMPTS, SETTINGS)
    assert report.failures() == ()
    assert verdicts(report)["control"] is Verdict.HOLDS
    assert report.figures["old.logprob"] == pytest.approx(report.figures["new.logprob"], abs=0.05)
    assert report.figures["new.ttft_ms_p95"] > 0 and report.figures["new.tokens"] > len(PROMPTS)


@pytest.mark.parametrize("hurt", [hurt_models.with_wrong_template, hurt_models.with_one_bit])
def test_a_model_that_is_broken_in_its_file_does_not_hold(
    good: Side, answers: Answers, parts: Path, tmp_path: Path, hurt: Callable[[bytes], bytes]
) -> None:
    model = tmp_path / "hurt.gguf"
    model.write_bytes(hurt((parts / "model.gguf").read_bytes()))
    try:
        with serving(parts, tmp_path, "--model", str(model)) as broken:
            report = judged((good, answers), broken)
    finally:
        model.unlink()  # pytest keeps folders of earlier runs
    assert report.overall() is Verdict.DOES_NOT_HOLD
    assert verdicts(report)["agreement"] is Verdict.DOES_NOT_HOLD
    assert verdicts(report)["answers of real"] is Verdict.HOLDS  # it answers, and that is not enough


def test_a_context_that_is_too_small_does_not_hold(good: Side, parts: Path, tmp_path: Path) -> None:
    prompts = shortest(2, ("context", "sentiment"))
    old = answered(good, prompts)
    with serving(parts, tmp_path, "--ctx-size", "256") as small:
        report = decide((good, small), prompts, (old, answered(small, prompts)), SETTINGS, "llm_service")
    assert report.overall() is Verdict.DOES_NOT_HOLD
    assert verdicts(report)["answers of real"] is Verdict.DOES_NOT_HOLD


class CutOff(ChatBackend):
    """A real backend behind something that silently keeps the first few characters of each message."""

    def __init__(self, inner: ChatBackend, kept: int) -> None:
        self.name = inner.name
        self._inner = inner
        self._kept = kept

    def _cut(self, body: Mapping[str, Any]) -> dict[str, Any]:
        messages = [{**message, "content": message["content"][: self._kept]} for message in body["messages"]]
        return {**body, "messages": messages}

    @override
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        return await self._inner.complete(self._cut(body))

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        return await self._inner.stream(self._cut(body))

    @override
    async def models(self) -> Sequence[str]:
        return await self._inner.models()

    @override
    async def close(self) -> None:
        await self._inner.close()


def test_prompts_that_are_silently_cut_off_do_not_hold(good: Side, answers: Answers) -> None:
    cut = Side("cut", good.model, lambda: CutOff(good.open(), kept=12))
    report = judged((good, answers), cut)
    assert verdicts(report)["agreement"] is Verdict.DOES_NOT_HOLD


WORDS = ("market", "order", "profit", "the", "a", "of", "buy", "sell", "12", "7.5", "price", "news")


class RandomText(MemoryChat):
    """Says some words, whatever it is asked."""

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        chance = random.Random(str(body["messages"]))
        self.reply = " ".join(chance.choices(WORDS, k=8))
        return await super().stream(body)


def test_random_words_do_not_hold(good: Side, answers: Answers) -> None:
    words = Side("words", good.model, lambda: RandomText(models=(good.model,)))
    report = judged((good, answers), words)
    assert verdicts(report)["agreement"] is Verdict.DOES_NOT_HOLD

"""A user of the language model: I ask, and an answer comes, whoever gives it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.routes.service_calls import ServiceCalls
from contracts.llm import REQUIRED_ALIASES
from contracts.names import LLM_ORCHESTRATOR_NAME, TRADING_ENGINE_NAME
from tests.integration.user_acceptance.conftest import Services

ANSWER_SECONDS = 120.0


@pytest.fixture
def models(service: Services) -> ServiceCalls:
    return service(LLM_ORCHESTRATOR_NAME)


def test_the_names_of_models_are_the_same(models: ServiceCalls) -> None:
    """The models that I have always asked for are offered."""
    answer = models.ask("GET", "/v1/models")
    assert answer.status == 200, answer
    assert set(REQUIRED_ALIASES) <= {model["id"] for model in answer.content["data"]}


@pytest.mark.parametrize("alias", sorted(REQUIRED_ALIASES))
def test_a_question_is_answered(models: ServiceCalls, alias: str) -> None:
    """A question is answered in words, with what it cost."""
    body: dict[str, Any] = {
        "model": alias, "max_tokens": 24, "temperature": 0,
        "messages": [{"role": "user", "content": "Is a fast average that crosses a slow one a signal? One sentence."}],
    }  # fmt: skip
    answer = models.ask("POST", "/v1/chat/completions", body, seconds=ANSWER_SECONDS)
    assert answer.status == 200, answer
    assert answer.content["choices"][0]["message"]["content"].strip(), answer.content
    assert answer.content["usage"]["completion_tokens"] > 0


def test_a_model_that_there_is_not_is_told_in_openai_s_form(models: ServiceCalls) -> None:
    """A model that there is not is an error that my client understands."""
    answer = models.ask("POST", "/v1/chat/completions", {"model": "no-such-model", "messages": []})
    assert 400 <= answer.status < 500, answer
    assert answer.content["error"]["message"], answer


def test_signals_are_commented(service: Services) -> None:
    """A commentary of the model stands beside signals."""
    answer = service(TRADING_ENGINE_NAME).ask("GET", "/signals?limit=1000")
    assert answer.status == 200, answer
    signals = answer.content["items"]
    assert signals, "there is no signal: nothing was traded yet"
    assert any(signal["comment"] for signal in signals), f"none of the newest {len(signals)} signals has a comment"

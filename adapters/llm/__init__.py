"""Language models as services see them: one chat API, whoever answers."""

from __future__ import annotations

import json
from typing import Any

from adapters.llm.base import Answer, ChatBackend, ChatStream
from adapters.llm.errors import (
    Failure,
    LLMError,
    LLMGarbled,
    LLMRefused,
    LLMTimeout,
    LLMUnavailable,
    RetryableLLMError,
)

__all__ = [
    "Answer",
    "ChatBackend",
    "ChatStream",
    "Failure",
    "LLMError",
    "LLMGarbled",
    "LLMRefused",
    "LLMTimeout",
    "LLMUnavailable",
    "RetryableLLMError",
    "ask",
    "open_backend",
]


def open_backend(
    name: str,
    base_url: str,
    api_key: str | None,
    *,
    timeout: float = 60.0,
    connect_timeout: float = 5.0,
    connecting: int = 64,
) -> ChatBackend:
    """The backend at `base_url`. Times in seconds; see OpenAICompatible."""
    from adapters.llm.openai_compatible import OpenAICompatible

    return OpenAICompatible(
        name, base_url, api_key, timeout=timeout, connect_timeout=connect_timeout, connecting=connecting
    )


async def ask(backend: ChatBackend, model: str, system: str, question: str, *, max_tokens: int) -> str:
    """One question, one answer as text. Raises LLMError; an answer that is none is LLMUnavailable."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0}
    answer = await backend.complete(body)
    try:
        text = json.loads(answer.body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise LLMUnavailable(f"{backend.name} answered, but not with a chat completion") from error
    if not isinstance(text, str) or not text.strip():
        raise LLMUnavailable(f"{backend.name} answered with an empty message")
    return text.strip()

"""What can go wrong with a language model's backend, as callers see it.

    LLMError
    ├── LLMRefused           the backend answered with an error: its status and body are kept
    └── RetryableLLMError    nothing has been answered yet
        ├── LLMUnavailable   the backend cannot be reached, or broke the connection
        └── LLMTimeout       no answer, or no next part of it, in time

httpx2's exceptions never leave adapters/llm/openai_compatible.py.
"""

from __future__ import annotations


class LLMError(Exception):
    """The root of all errors of language models."""


class LLMRefused(LLMError):
    """The backend answered with an error. `body` is what it said, as it said it; `retry_after` its header."""

    def __init__(
        self, backend: str, status: int, body: bytes, content_type: str, retry_after: str | None = None
    ) -> None:
        super().__init__(f"{backend} answered {status}: {body[:300].decode(errors='replace')}")
        self.status = status
        self.body = body
        self.content_type = content_type
        self.retry_after = retry_after


class RetryableLLMError(LLMError):
    """Nothing has been answered yet; the same request may be sent again, here or elsewhere."""


class LLMUnavailable(RetryableLLMError):
    """The backend cannot be reached, or broke the connection."""


class LLMTimeout(RetryableLLMError):
    """No answer, or no next part of it, in time."""

"""What can go wrong with a language model's backend, as callers see it.

    LLMError
    ├── LLMRefused           the backend answered with an error: its status and body are kept
    └── RetryableLLMError    nothing has been answered yet
        ├── LLMUnavailable   the backend cannot be reached, or broke the connection
        │   └── LLMGarbled   what it answers is no chat completion
        └── LLMTimeout       no answer, or no next part of it, in time

Each tells its Failure: one word for decisions and metrics. aiohttp's exceptions never leave
adapters/llm/openai_compatible.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Failure(StrEnum):
    """How a call can fail. The values are labels of metrics."""

    NO_NAME = "no_name"
    """The host's name is not known: DNS is gone, or the URL is wrong."""
    UNREACHABLE = "unreachable"
    DROPPED = "dropped"
    """The connection was closed before an answer began: often one that was kept too long."""
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 - no password
    STALLED = "stalled"
    """Nothing came for too long, in the middle of an answer or instead of a whole one."""
    WHOLE_TIMEOUT = "whole_timeout"
    CLOSED_EARLY = "closed_early"
    """The answer ended before its end."""
    GARBAGE = "garbage"
    ERROR_EVENT = "error_event"
    """The stream holds an error instead of an answer, as vLLM says that its engine died."""
    LIMITED = "limited"
    SERVER = "server"
    CREDENTIALS = "credentials"
    NOT_FOUND = "not_found"
    """No such path or model there: the address that we were given is wrong."""
    REFUSED = "refused"
    """The request does not please it. The only one that may be the caller's doing."""


_OF_STATUS: Mapping[int, Failure] = {
    401: Failure.CREDENTIALS,
    403: Failure.CREDENTIALS,
    404: Failure.NOT_FOUND,
    405: Failure.NOT_FOUND,
    408: Failure.SERVER,
    429: Failure.LIMITED,
}


class LLMError(Exception):
    """The root of all errors of language models."""

    failure: Failure = Failure.UNREACHABLE


class LLMRefused(LLMError):
    """The backend answered with an error. `body` is what it said, as it said it; `retry_after` its header, in seconds
    where it was a date; `headers` those that a caller may see. What it says of a key stands in no text of ours: it may
    repeat it."""

    def __init__(
        self,
        backend: str,
        status: int,
        body: bytes,
        content_type: str,
        retry_after: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # A redirect is not followed: it would take the key along to wherever it leads.
        otherwise = Failure.SERVER if status >= 500 else Failure.REFUSED if status >= 400 else Failure.NOT_FOUND
        self.failure = _OF_STATUS.get(status, otherwise)
        told = "" if self.failure is Failure.CREDENTIALS else body[:300].decode(errors="replace")
        super().__init__(f"{backend} answered {status}{': ' if told else ''}{told}")
        self.backend = backend
        self.status = status
        self.body = body
        self.content_type = content_type
        self.retry_after = retry_after
        self.headers = headers or {}


class RetryableLLMError(LLMError):
    """Nothing has been answered yet; the same request may be sent again, here or elsewhere."""

    def __init__(self, message: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        if failure is not None:
            self.failure = failure


class LLMUnavailable(RetryableLLMError):
    """The backend cannot be reached, or broke the connection."""


class LLMGarbled(LLMUnavailable):
    """What the backend answers is no chat completion."""

    failure = Failure.GARBAGE


class LLMTimeout(RetryableLLMError):
    """No answer, or no next part of it, in time."""

    failure = Failure.STALLED

"""Errors in the form that clients of OpenAI's API know: {"error": {message, type, param, code}}."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from fastapi import Response
from pydantic import BaseModel

from adapters.llm import Failure, LLMError, LLMRefused, LLMTimeout
from contracts.names import ENV_LLM_API_KEY, ENV_LLM_ENDPOINTS, ENV_LLM_OWN_API_KEY
from services.llm_orchestrator.choosing import NEW

_RETRY_AFTER_SECONDS = 1.0
_OURS = (Failure.CREDENTIALS, Failure.NOT_FOUND)
"""What a provider refuses because of how we are configured: no caller can change it."""


class ErrorDetail(BaseModel):
    """What went wrong. `type` and `code` are OpenAI's, `param` the field of the request, if one is to blame."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


class BadRequest(Exception):
    """A request that no backend could answer: the caller must change it."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(error=ErrorDetail(message=message, type="invalid_request_error", param=param, code=code))


class Unanswered(LLMError):
    """Nobody could be asked, or nobody answered: all that there is failed. `wait`: when to come again, in seconds;
    `limited`: it is a provider that limits us."""

    def __init__(self, message: str, wait: float = 0.0, *, limited: bool = False) -> None:
        super().__init__(message)
        self.wait = max(wait, _RETRY_AFTER_SECONDS)
        self.limited = limited


class Overloaded(Unanswered):
    """There is more to do than this replica can hold."""


def describe(error: LLMError) -> tuple[int, ErrorDetail]:
    """The status and the detail for what a backend's failure means to a caller."""
    if isinstance(error, LLMRefused) and error.failure is Failure.CREDENTIALS:
        # The caller's credentials are not at fault, and the provider's text may show part of the key.
        key = ENV_LLM_OWN_API_KEY if error.backend == NEW else ENV_LLM_API_KEY
        text = f"{error.backend} refuses this service's credentials ({error.status}): {key} of llm-orchestrator is"
        return 502, ErrorDetail(
            message=f"{text} missing, wrong or revoked", type="api_error", code="provider_credentials"
        )
    if isinstance(error, LLMRefused) and error.failure is Failure.NOT_FOUND:
        text = f"{error.backend} has no such path or model: {ENV_LLM_ENDPOINTS} of llm-orchestrator is wrong. {error}"
        return 502, ErrorDetail(message=text, type="api_error", code="provider_configuration")
    if isinstance(error, LLMTimeout):
        return 504, ErrorDetail(message=str(error), type="api_error", code="timeout")
    if isinstance(error, LLMRefused):
        return error.status, ErrorDetail(message=str(error), type="api_error", code="provider_error")
    if isinstance(error, Unanswered) and error.limited:
        return 429, ErrorDetail(message=str(error), type="requests", code="rate_limit_exceeded")
    code = "overloaded" if isinstance(error, Overloaded) else "provider_unavailable"
    return 503, ErrorDetail(message=str(error), type="api_error", code=code)


def answer(error: LLMError) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers for `error`: what the backend said, unchanged, wherever the caller can use it."""
    if isinstance(error, LLMRefused) and error.failure not in _OURS:
        headers: Mapping[str, str] = {"retry-after": error.retry_after} if error.retry_after else {}
        return error.status, error.body, {"content-type": error.content_type, **error.headers, **headers}
    status, detail = describe(error)
    headers = {"content-type": "application/json"}
    if status in (429, 503, 504):
        wait = error.wait if isinstance(error, Unanswered) else _RETRY_AFTER_SECONDS
        headers["retry-after"] = str(math.ceil(wait))
    return status, ErrorBody(error=detail).model_dump_json().encode(), headers


def response(error: LLMError) -> Response:
    """The whole answer for `error`."""
    status, body, headers = answer(error)
    return Response(body, status_code=status, headers=headers)


def event(error: LLMError) -> bytes:
    """The server-sent event that ends a stream which broke off: without it, a client would take the
    part that came for the whole. It stands alone: no half of an event comes before it."""
    _, detail = describe(error)
    return b"data: " + json.dumps({"error": detail.model_dump()}).encode() + b"\n\n"

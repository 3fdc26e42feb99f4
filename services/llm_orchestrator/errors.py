"""Errors in the form that clients of OpenAI's API know: {"error": {message, type, param, code}}."""

from __future__ import annotations

import json

from fastapi import Response
from pydantic import BaseModel

from adapters.llm import LLMError, LLMRefused, LLMTimeout

_RETRY_AFTER_SECONDS = "1"
_CREDENTIALS = (401, 403)


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


def describe(error: LLMError) -> tuple[int, ErrorDetail]:
    """The status and the detail for what a backend's failure means to a caller."""
    if isinstance(error, LLMRefused) and error.status in _CREDENTIALS:
        # The caller's credentials are not at fault, and the provider's text may show part of the key.
        text = f"the provider refuses this service's credentials ({error.status}): see LLM_API_KEY of llm-orchestrator"
        return 502, ErrorDetail(message=text, type="api_error", code="provider_credentials")
    if isinstance(error, LLMTimeout):
        return 504, ErrorDetail(message=str(error), type="api_error", code="timeout")
    if isinstance(error, LLMRefused):
        return error.status, ErrorDetail(message=str(error), type="api_error", code="provider_error")
    return 503, ErrorDetail(message=str(error), type="api_error", code="provider_unavailable")


def response(error: LLMError) -> Response:
    """The answer for `error`: what the backend said, unchanged, wherever the caller can use it."""
    if isinstance(error, LLMRefused) and error.status not in _CREDENTIALS:
        headers = {"retry-after": error.retry_after} if error.retry_after else None
        return Response(error.body, status_code=error.status, media_type=error.content_type, headers=headers)
    status, detail = describe(error)
    body = ErrorBody(error=detail).model_dump_json()
    retry = {"retry-after": _RETRY_AFTER_SECONDS} if status in (503, 504) else None
    return Response(body, status_code=status, media_type="application/json", headers=retry)


def event(error: LLMError) -> bytes:
    """The server-sent event that ends a stream which broke off: without it, a client would take the
    part that came for the whole."""
    _, detail = describe(error)
    return b"data: " + json.dumps({"error": detail.model_dump()}).encode() + b"\n\n"

"""How the service says over HTTP what went wrong."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from pydantic import BaseModel


class ErrorModel(BaseModel):
    """What went wrong, and whether to try again."""

    error: str
    retryable: bool


def error_answer(status: int, message: str, *, retryable: bool = False) -> JSONResponse:
    """The answer that says so."""
    headers = {"retry-after": "5"} if retryable else None
    return JSONResponse(ErrorModel(error=message, retryable=retryable).model_dump(), status, headers)

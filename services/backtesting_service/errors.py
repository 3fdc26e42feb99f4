"""How the service says over HTTP what went wrong."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel


class ErrorModel(BaseModel):
    """What went wrong, and whether to try again."""

    error: str
    retryable: bool


class Problem(BaseModel):
    """What is wrong with one part of a request; `loc` says where, from the outside inwards."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any = None
    ctx: dict[str, Any] = {}


class InvalidModel(BaseModel):
    """A request that does not have the form that this document gives it."""

    detail: list[Problem]


class UnreadableModel(BaseModel):
    """A body that could not be read at all."""

    detail: str


UNREADABLE: dict[int | str, dict[str, Any]] = {
    400: {"model": UnreadableModel, "description": "The body is no text in UTF-8."}
}
REFUSED: dict[int | str, dict[str, Any]] = {
    422: {"model": InvalidModel | ErrorModel, "description": "It has another form, or asks for what cannot be done."}
}
"""Of requests that are refused for what they say as well as for their form."""


def error_answer(status: int, message: str, *, retryable: bool = False) -> JSONResponse:
    """The answer that says so."""
    headers = {"retry-after": "5"} if retryable else None
    return JSONResponse(ErrorModel(error=message, retryable=retryable).model_dump(), status, headers)

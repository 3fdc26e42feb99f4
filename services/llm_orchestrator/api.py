"""The orchestrator's HTTP API: OpenAI's chat completions and models, bodies passed through."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from adapters.llm import Answer, ChatBackend, ChatStream, LLMError, LLMUnavailable
from contracts.names import LLM_ORCHESTRATOR_NAME
from services.common import metrics
from services.common.web import Health, create_app
from services.llm_orchestrator import errors
from services.llm_orchestrator.errors import BadRequest, ErrorBody

MAX_BODY_BYTES = 4 << 20
"""The largest request: far above a model's context, far below what would fill the pod's memory."""
_DESCRIPTION = (
    "OpenAI's chat completions over whichever provider serves now. `model` is an alias (GET /v1/models lists them) "
    "or a model that an alias stands for. Fields that are not described here travel unchanged, both ways."
)
_log = logging.getLogger(__name__)


class Model(BaseModel):
    """A model that can be asked for, as OpenAI's API lists it."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str


class ModelList(BaseModel):
    """What GET /v1/models answers."""

    object: str = "list"
    data: list[Model]


_REQUEST_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "messages"],
                    "additionalProperties": True,
                    "properties": {
                        "model": {"type": "string", "description": "An alias, such as `default` or `trading`."},
                        "messages": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
                        "stream": {"type": "boolean", "default": False},
                    },
                }
            }
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request cannot be read."},
    404: {"model": ErrorBody, "description": "No such model."},
    413: {"model": ErrorBody, "description": "The request is too large."},
    429: {"model": ErrorBody, "description": "The provider's limit; see Retry-After."},
    502: {"model": ErrorBody, "description": "The provider refuses this service's credentials."},
    503: {"model": ErrorBody, "description": "The provider cannot be reached."},
    504: {"model": ErrorBody, "description": "No answer in time."},
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A chat completion, or its chunks as server-sent events where `stream` is true.",
        "content": {
            "application/json": {"schema": {"type": "object", "additionalProperties": True}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
}


class Orchestrator:
    """Resolves aliases and passes requests on. One retry where the backend broke off before it answered:
    a kept connection may have been closed by the other side meanwhile."""

    def __init__(self, backend: ChatBackend, aliases: Mapping[str, str]) -> None:
        self._backend = backend
        self._aliases = aliases
        self._models = frozenset(aliases.values())

    @property
    def models(self) -> list[Model]:
        """Aliases first, then the models that they stand for."""
        names = [*self._aliases, *sorted(self._models - set(self._aliases))]
        return [Model(id=name, owned_by=self._backend.name) for name in names]

    def resolve(self, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The label for metrics, and the body for the backend. Raises BadRequest."""
        asked = body.get("model")
        if not isinstance(asked, str) or not asked:
            raise BadRequest(f"model is {asked!r}: name a model, such as 'default'", param="model")
        if asked in self._aliases:
            return asked, {**body, "model": self._aliases[asked]}
        if asked in self._models:
            return "by name", dict(body)
        known = ", ".join(self._aliases)
        raise BadRequest(
            f"there is no model {asked!r} here: nothing was asked. Use one of {known} (GET /v1/models)",
            param="model",
            code="model_not_found",
            status=404,
        )

    async def complete(self, body: Mapping[str, Any]) -> Answer:
        """The whole answer. Raises LLMError."""
        try:
            return await self._backend.complete(body)
        except LLMUnavailable:
            return await self._backend.complete(body)

    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        """The answer as it comes. Raises LLMError."""
        try:
            return await self._backend.stream(body)
        except LLMUnavailable:
            return await self._backend.stream(body)


async def _read(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise BadRequest(f"the request has more than {MAX_BODY_BYTES} bytes: send less", status=413)
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest(f"the body is a JSON {type(body).__name__}, not an object")
    if not isinstance(body.get("stream", False), bool | None):
        raise BadRequest(f"stream is {body['stream']!r}, not true or false", param="stream")
    return body


async def _relay(stream: ChatStream, alias: str) -> AsyncIterator[bytes]:
    """The chunks as they come. Ends the backend's work where the client went away."""
    outcome = "abandoned"
    try:
        async for chunk in stream:
            yield chunk
        outcome = "ok"
    except LLMError as error:
        outcome = "broken"
        _log.warning("a stream broke off: %s", error)
        yield errors.event(error)
    finally:
        metrics.LLM_REQUESTS.labels(alias, outcome).inc()
        await stream.close()


def create_api(orchestrator: Orchestrator, health: Health, backend: ChatBackend) -> FastAPI:
    """The app of the orchestrator; it closes `backend` at the end."""
    app = create_app(
        LLM_ORCHESTRATOR_NAME, "LLM orchestrator", _DESCRIPTION, health=health, lifecycle=None, closing=backend.close
    )

    @app.exception_handler(BadRequest)
    async def bad_request(request: Request, error: BadRequest) -> JSONResponse:
        del request
        return JSONResponse(error.body.model_dump(), status_code=error.status)

    @app.exception_handler(LLMError)
    async def failed(request: Request, error: LLMError) -> Response:
        del request
        return errors.response(error)

    @app.post(
        "/v1/chat/completions",
        tags=["chat"],
        response_class=Response,
        responses={**_ANSWER, **_ERRORS},
        openapi_extra=_REQUEST_SCHEMA,
    )
    async def chat_completions(request: Request) -> Response:
        """A chat completion, whole or as a stream."""
        asked = await _read(request)
        alias, body = orchestrator.resolve(asked)
        begun = time.perf_counter()
        try:
            if asked.get("stream"):
                stream = await orchestrator.stream(body)
                metrics.LLM_FIRST_BYTE.labels(alias).observe(time.perf_counter() - begun)
                return StreamingResponse(
                    _relay(stream, alias), media_type=stream.content_type, headers={"cache-control": "no-cache"}
                )
            answer = await orchestrator.complete(body)
        except LLMError as error:
            metrics.LLM_REQUESTS.labels(alias, type(error).__name__).inc()
            raise
        metrics.LLM_FIRST_BYTE.labels(alias).observe(time.perf_counter() - begun)
        metrics.LLM_REQUESTS.labels(alias, "ok").inc()
        return Response(answer.body, media_type=answer.content_type)

    @app.get("/v1/models", tags=["chat"])
    async def models() -> ModelList:
        """What can be asked for."""
        return ModelList(data=orchestrator.models)

    @app.get("/v1/models/{name:path}", tags=["chat"], responses={404: {"model": ErrorBody}})
    async def model(name: Annotated[str, Path(description="An alias or a model.")]) -> Model:
        """One model."""
        found = next((entry for entry in orchestrator.models if entry.id == name), None)
        if found is None:
            raise BadRequest(f"there is no model {name!r} here", param="model", code="model_not_found", status=404)
        return found

    return app

"""The orchestrator's HTTP API: OpenAI's chat completions and models, bodies passed through."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from adapters.llm import LLMError
from contracts.names import HEADER_CONVERSATION, LLM_ORCHESTRATOR_NAME
from services.common.web import Health, Lifecycle, create_app
from services.llm_orchestrator import errors
from services.llm_orchestrator.admission import Admission
from services.llm_orchestrator.errors import BadRequest, ErrorBody, ErrorDetail
from services.llm_orchestrator.relaying import Relay
from services.llm_orchestrator.requests import parse
from services.llm_orchestrator.router import Call, Router

MAX_BODY_BYTES = 4 << 20
"""The largest request: far above a model's context, far below what would fill the pod's memory."""
_DESCRIPTION = (
    "OpenAI's chat completions over whichever provider serves now. `model` is an alias (GET /v1/models lists them) "
    "or a model that an alias stands for. Fields that are not described here travel unchanged, both ways."
)
IDEMPOTENCY_HEADER = "idempotency-key"
_PASSED = (IDEMPOTENCY_HEADER, "x-request-id", "x-client-request-id", "traceparent", "tracestate")


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
                        "model": {
                            "type": "string",
                            "minLength": 1,
                            "description": "An alias, such as `default` or `trading`.",
                            "examples": ["default"],
                        },
                        "messages": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
                        "stream": {"type": ["boolean", "null"], "default": False},
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
    502: {"model": ErrorBody, "description": "The provider refuses this service's credentials, or address."},
    503: {"model": ErrorBody, "description": "Nobody can be reached, or there is too much to do; see Retry-After."},
    504: {"model": ErrorBody, "description": "No answer in time."},
    "4XX": {"description": "The provider refuses the request: its own status and words, unchanged."},
    "5XX": {"description": "The provider failed: its own status and words, unchanged."},
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A chat completion, or its chunks as server-sent events where `stream` is true.",
        "content": {
            "application/json": {"schema": {"type": "object", "additionalProperties": True}},
            "text/event-stream": {},
        },
    }
}


class Orchestrator:
    """What the API stands on. `owner`: who /v1/models says the models are of, the same at every stage; `whole`: the
    longest that a call may take, in seconds."""

    def __init__(self, router: Router, admission: Admission, *, owner: str, whole: float) -> None:
        self._router = router
        self._admission = admission
        self._owner = owner
        self._whole = whole

    @property
    def models(self) -> list[Model]:
        """Aliases first, then the models that they stand for."""
        return [Model(id=name, owned_by=self._owner) for name in self._router.lanes.names]

    def resolve(self, asked: Any) -> str:
        """The alias that was asked for, by its own name or by a model's. Raises BadRequest."""
        if not isinstance(asked, str) or not asked:
            raise BadRequest(f"model is {asked!r}: name a model, such as 'default'", param="model")
        lanes = self._router.lanes
        alias = lanes.alias(asked)
        if alias is None:
            raise BadRequest(
                f"there is no model {asked!r} here: nothing was asked. Use one of {', '.join(lanes.aliases)} "
                "(GET /v1/models)",
                param="model",
                code="model_not_found",
                status=404,
            )
        return alias

    async def relay(self, request: Request) -> Response:
        """The answer to a chat completion. Raises BadRequest, LLMError."""
        admission, held = self._admission, 0
        try:
            raw = bytearray()
            async for chunk in request.stream():
                admission.hold(len(chunk))
                held += len(chunk)
                raw += chunk
                if held > MAX_BODY_BYTES:
                    raise BadRequest(f"the request has more than {MAX_BODY_BYTES} bytes: send less", status=413)
            asked = parse(raw)
            alias = self.resolve(asked.model)
            if not asked.converses:
                # Not left to the backends, which refuse it too, but each in words of its own.
                text = "messages is no list of objects: give the conversation, oldest first"
                raise BadRequest(text, param="messages")
            passed = _passed(request.headers)
            if request.app.state.tracing is not None:
                request.app.state.tracing.carry(passed)
            call = Call(alias, asked, passed, request.headers.get(HEADER_CONVERSATION))
        except BaseException:
            admission.let_go(held)
            raise
        return Relay(self._router, admission, call, held, self._whole)


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    """What goes along to the backend, with every attempt. A retried call has the key of the first, so that a provider
    that knows it does the work once."""
    passed = {name: value for name in _PASSED if (value := headers.get(name))}
    passed.setdefault(IDEMPOTENCY_HEADER, f"crossover-{uuid.uuid4().hex}")
    return passed


def create_api(
    orchestrator: Orchestrator,
    health: Health,
    *,
    lifecycle: Lifecycle | None = None,
    closing: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The app of the orchestrator."""
    app = create_app(
        LLM_ORCHESTRATOR_NAME, "LLM orchestrator", _DESCRIPTION, health=health, lifecycle=lifecycle, closing=closing
    )

    @app.exception_handler(BadRequest)
    async def bad_request(request: Request, error: BadRequest) -> JSONResponse:
        del request
        return JSONResponse(error.body.model_dump(), status_code=error.status)

    @app.exception_handler(LLMError)
    async def failed(request: Request, error: LLMError) -> Response:
        del request
        return errors.response(error)

    @app.exception_handler(HTTPException)
    async def no_such_path(request: Request, error: HTTPException) -> JSONResponse:
        """A path or a method that is not here: clients of the API know errors in its form alone."""
        text = f"{request.method} {request.url.path} is not offered here: {error.detail}"
        detail = ErrorDetail(message=text, type="invalid_request_error", code="unknown_url")
        return JSONResponse(ErrorBody(error=detail).model_dump(), error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        """The caller hung up before it had asked: nobody reads this."""
        del request, error
        return Response(status_code=400)

    @app.post(
        "/v1/chat/completions",
        tags=["chat"],
        response_class=Response,
        responses={**_ANSWER, **_ERRORS},
        openapi_extra=_REQUEST_SCHEMA,
    )
    async def chat_completions(request: Request) -> Response:
        """A chat completion, whole or as a stream."""
        return await orchestrator.relay(request)

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

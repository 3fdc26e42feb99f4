"""The HTTP side that every service has: an app with health, readiness, metrics and a version."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from adapters.tracing import tracing_from_env
from contracts.names import HEADER_BACKEND
from services.common import metrics

_UNTRACED = ("/healthz", "/readyz", "/metrics")
"""What is asked every second, of which nobody wants a trace."""
Probe = Callable[[], str | None]
"""None where all is well, else what is wrong, in words."""

_METHOD_NOT_ALLOWED = 405
API_VERSION = "1.0.0"
"""The version of the HTTP APIs. The same at every stage: callers never see a switch."""


class Lifecycle(Protocol):
    """What a service starts and stops around its HTTP server."""

    def start(self) -> None:
        """Begin work in threads; returns at once."""

    def stop(self) -> None:
        """Finish what is in flight, then give up connections."""


@dataclass(frozen=True, slots=True)
class Health:
    """The probes of a service. A failing `live` probe asks for a restart, a failing `ready`
    probe only keeps traffic away."""

    ready: Mapping[str, Probe] = field(default_factory=dict)
    live: Mapping[str, Probe] = field(default_factory=dict)


class HealthAnswer(BaseModel):
    """What /healthz and /readyz say: `reasons` maps what is wrong to why."""

    status: str
    reasons: dict[str, str] = {}


class Version(BaseModel):
    """Which service answers, and which version of its API."""

    service: str
    version: str


def cached(probe: Probe, seconds: float) -> Probe:
    """`probe`, asked at most once in `seconds`: probes come often and from many sides."""
    lock = threading.Lock()
    answer: str | None = None
    asked = -seconds

    def ask() -> str | None:
        nonlocal answer, asked
        with lock:
            if time.monotonic() - asked >= seconds:
                answer = probe()
                asked = time.monotonic()
            return answer

    return ask


def _check(probes: Mapping[str, Probe], good: str, bad: str, response: Response) -> HealthAnswer:
    reasons = {}
    for name, probe in probes.items():
        try:
            reason = probe()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        if reason is not None:
            reasons[name] = reason
    if reasons:
        response.status_code = 503
    return HealthAnswer(status=bad if reasons else good, reasons=reasons)


def _methods(app: FastAPI, request: Request) -> str:
    """The methods that the path of `request` is offered with: a path may have a route for each."""
    found: set[str] = set()
    for route in app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(found))


def create_app(
    service: str,
    title: str,
    description: str,
    *,
    health: Health,
    lifecycle: Lifecycle | None,
    closing: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """A FastAPI app with /healthz, /readyz, /metrics and /version; `lifecycle` runs around it, and `closing`
    ends what belongs to the server's own event loop."""
    stopping, tracing = threading.Event(), tracing_from_env(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        if lifecycle is not None:
            await run_in_threadpool(lifecycle.start)
        try:
            yield
        finally:
            stopping.set()
            if lifecycle is not None:
                await run_in_threadpool(lifecycle.stop)
            if closing is not None:
                await closing()
            if tracing is not None:
                await run_in_threadpool(tracing.flush)

    app = FastAPI(title=title, description=description, version=API_VERSION, lifespan=lifespan)
    app.add_middleware(metrics.RequestMetrics)
    if tracing is not None:
        app.add_middleware(tracing.served, excluded=_UNTRACED, shown=(HEADER_BACKEND,))
    app.state.tracing = tracing

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        """As by default; a method that is not offered is told of all that are, not of the first route's alone."""
        if error.status_code == _METHOD_NOT_ALLOWED:
            error.headers = {**(error.headers or {}), "Allow": _methods(app, request)}
        return await http_exception_handler(request, error)

    ready = {"shutdown": lambda: "the service is stopping" if stopping.is_set() else None, **health.ready}

    @app.get("/healthz", tags=["health"], responses={503: {"model": HealthAnswer}})
    def healthz(response: Response) -> HealthAnswer:
        """Whether the process can go on; 503 asks for a restart."""
        return _check(health.live, "alive", "not alive", response)

    @app.get("/readyz", tags=["health"], responses={503: {"model": HealthAnswer}})
    def readyz(response: Response) -> HealthAnswer:
        """Whether the service can do its work now, and if not, why not."""
        return _check(ready, "ready", "not ready", response)

    @app.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def get_metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)

    @app.get("/version", tags=["health"])
    def version() -> Version:
        """The service's name and the version of its API."""
        return Version(service=service, version=API_VERSION)

    return app

"""The metrics of the services. Adapters keep theirs in adapters/metrics.py, in the same registry."""

from __future__ import annotations

import time
from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

HTTP_REQUESTS = Counter("crossover_http_requests_total", "Requests answered.", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "crossover_http_request_seconds", "From request to the answer's last byte.", ["route"], buckets=_BUCKETS
)
EVENTS_TAKEN = Counter("crossover_engine_events_total", "Events that took effect.", ["group"])
EVENTS_REPEATED = Counter("crossover_engine_repeated_total", "Events delivered again, without effect.", ["group"])
EVENTS_REJECTED = Counter("crossover_engine_rejected_total", "Events refused as malformed.", ["group"])
BATCH_SECONDS = Histogram("crossover_engine_batch_seconds", "One batch, its transaction included.", buckets=_BUCKETS)
SIGNALS = Counter("crossover_engine_signals_total", "Signals made.", ["side"])
OUTBOX_SENT = Counter("crossover_engine_outbox_sent_total", "Outbox events that became durable on the bus.")
OUTBOX_FAILED = Counter("crossover_engine_outbox_failed_total", "Outbox events to be tried again.")
OUTBOX_WAITING = Gauge("crossover_engine_outbox_waiting", "Outbox events not sent yet.")
COMMENTS = Counter("crossover_engine_comments_total", "Comments on signals, by outcome.", ["outcome"])
FEED_PUBLISHED = Counter("crossover_feed_published_total", "Bars durable on the bus.", ["symbol"])
FEED_FAILED = Counter("crossover_feed_failed_total", "Bars given up after the bus refused them.", ["symbol"])
LLM_REQUESTS = Counter("crossover_llm_requests_total", "Chat requests, by alias and outcome.", ["alias", "outcome"])
LLM_FIRST_BYTE = Histogram(
    "crossover_llm_first_byte_seconds", "From asking a side to its first byte.", ["alias", "backend"], buckets=_BUCKETS
)
LLM_FAILURES = Counter("crossover_llm_failures_total", "Attempts that failed, by how.", ["backend", "failure"])
LLM_FALLBACKS = Counter(
    "crossover_llm_fallbacks_total", "Calls that the other side answered.", ["backend", "answered", "failure"]
)
LLM_RETRIES_DENIED = Counter("crossover_llm_retries_denied_total", "Retries that the budget forbade.", ["backend"])
LLM_BREAKER = Gauge("crossover_llm_breaker", "0 closed, 1 half open, 2 open.", ["backend", "model"])
LLM_IN_FLIGHT = Gauge("crossover_llm_in_flight", "Calls that a side is answering.", ["backend"])
LLM_QUEUED = Gauge("crossover_llm_queued", "Calls that wait for a place.")
LLM_SHED = Counter("crossover_llm_shed_total", "Calls turned away unasked, by reason.", ["reason"])
LLM_SAMPLES = Counter("crossover_llm_samples_total", "Samples, by what became of them.", ["backend", "outcome"])
LLM_EPOCH = Gauge("crossover_llm_epoch", "The route's epoch that this orchestrator follows.")
RUNS = Counter("crossover_backtests_total", "Backtests that ended, by state.", ["state"])
RUN_SECONDS = Histogram("crossover_backtest_seconds", "Run time of a backtest.", ["engine"], buckets=_BUCKETS)


@cache
def llm_first_byte(alias: str, backend: str) -> Histogram:
    """LLM_FIRST_BYTE with its labels: looked up once, for it is observed with every call."""
    return LLM_FIRST_BYTE.labels(alias, backend)


@cache
def llm_breaker(backend: str, model: str) -> Gauge:
    """LLM_BREAKER with its labels."""
    return LLM_BREAKER.labels(backend, model)


def exposition() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)


class RequestMetrics:
    """ASGI middleware that counts and times requests by route template, without touching bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        begun = time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            # The router leaves the matched route here; paths as asked for would be unbounded labels.
            route = getattr(scope.get("route"), "path", "unmatched")
            HTTP_REQUESTS.labels(scope["method"], route, str(status)).inc()
            HTTP_SECONDS.labels(route).observe(time.perf_counter() - begun)

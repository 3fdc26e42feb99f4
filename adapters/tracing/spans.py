"""The spans of events and requests. All of OpenTelemetry is imported here."""

from __future__ import annotations

import threading
import uuid
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, override

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.http import parse_excluded_urls

from contracts.envelope import Event

EXPORT_SECONDS = 5.0
"""How long a collector may take to answer. What it does not take is dropped: traces hold up nothing."""
FLUSH_MILLISECONDS = 3000
"""How long the last spans may take to go, at the end of a process."""
_RANDOM = (1 << 56) - 1
"""The bits of a trace id that are random: W3C Trace Context, level 2, and those of a UUIDv7 among others."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_SCOPE = "dev.crossover"
_propagator = TraceContextTextMapPropagator()


def exporter(endpoint: str) -> SpanExporter:
    """Sends spans to a collector, OTLP over HTTP."""
    return OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was published. `size`: bytes of its payload; `backend` and `epoch`: where and under which it
    became durable."""

    topic: str
    event_id: str
    size: int
    backend: str = ""
    epoch: int = 0


def trace_of(event_id: str) -> tuple[int, int]:
    """The trace id of an event, and the id of the span that published it. Raises ValueError where its id is no UUID."""
    value = uuid.UUID(event_id).int
    return value, value & (1 << 64) - 1


class ByTraceId(Sampler):
    """Takes a part of all traces, by the random bits of their ids: every process takes the same ones.

    OpenTelemetry's own looks at the upper of them, which are the same in each UUID.
    """

    def __init__(self, ratio: float) -> None:
        self._bound = round(ratio * (_RANDOM + 1))

    def takes(self, trace_id: int) -> bool:
        """Whether it is one of that part."""
        return trace_id & _RANDOM < self._bound

    @override
    def should_sample(
        self, parent_context: Context | None, trace_id: int, *args: Any, attributes: Any = None, **named: Any
    ) -> SamplingResult:
        """See Sampler."""
        if not self.takes(trace_id):
            return SamplingResult(Decision.DROP)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    @override
    def get_description(self) -> str:
        return f"ByTraceId{{{self._bound / (_RANDOM + 1):g}}}"


class _Ids(RandomIdGenerator):
    """Random ids, but for what is published: there the event's own."""

    def __init__(self) -> None:
        self._given = threading.local()

    def give(self, trace_id: int, span_id: int) -> None:
        """The ids of the next span that this thread makes."""
        self._given.ids = [trace_id, span_id]

    @override
    def generate_span_id(self) -> int:
        given: list[int] = getattr(self._given, "ids", [])
        return given.pop() if given else super().generate_span_id()

    @override
    def generate_trace_id(self) -> int:
        given: list[int] = getattr(self._given, "ids", [])
        # A span asks for its trace's id first.
        return given.pop(0) if given else super().generate_trace_id()

    @override
    def is_trace_id_random(self) -> bool:
        return True


class Tracing:
    """The traces of one process. Thread-safe."""

    def __init__(self, service: str, ratio: float, exporter: SpanExporter) -> None:
        self._ids, self._sampler = _Ids(), ByTraceId(ratio)
        self._provider = TracerProvider(
            sampler=ParentBased(self._sampler),
            resource=Resource.create({SERVICE_NAME: service}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(_SCOPE)

    def takes(self, event_id: str) -> bool:
        """Whether a trace is made of an event; of none whose id is no UUID."""
        try:
            return self._sampler.takes(int(event_id[21:23] + event_id[24:36], 16))  # its last 56 bits, if it is one
        except ValueError:
            return False

    def here(self) -> SpanContext:
        """The span of the request that this thread or task works for; not valid where there is none."""
        return trace.get_current_span().get_span_context()

    def published(self, sent: Sent, within: SpanContext, began: int, ended: int, *, failed: str = "") -> None:
        """An event was made durable, or not. `within`: what `here` was as it was published, which is linked. `began`
        and `ended` in ns since 1970."""
        if not self.takes(sent.event_id):
            return
        self._ids.give(*trace_of(sent.event_id))
        span = self._tracer.start_span(
            f"send {sent.topic}", Context(), SpanKind.PRODUCER, _attributes(sent, "send"),
            links=[Link(within)] if within.is_valid else (), start_time=began,
        )  # fmt: skip
        _end(span, ended, failed)

    def handled(self, events: Sequence[Event], group: str, began: int, ended: int, *, failed: str = "") -> None:
        """A consumer group had a batch in hand from `began` to `ended`. A span for each event that is traced, as a
        child of what published it."""
        for event in events:
            if not self.takes(event.id):
                continue
            parent = NonRecordingSpan(SpanContext(*trace_of(event.id), is_remote=True, trace_flags=_SAMPLED))
            sent = Sent(event.topic, event.id, len(event.payload), epoch=event.epoch)
            attributes = _attributes(sent, "process")
            attributes |= {"messaging.consumer.group.name": group, "messaging.batch.message_count": len(events)}
            span = self._tracer.start_span(
                f"process {event.topic}", trace.set_span_in_context(parent, Context()), SpanKind.CONSUMER, attributes,
                start_time=began,
            )  # fmt: skip
            _end(span, ended, failed)

    def served(self, app: Any, excluded: Sequence[str], shown: Sequence[str]) -> Any:
        """`app`, an ASGI application, with a span a request, as a child of what its caller says. `excluded`: paths that
        have none; `shown`: headers of answers that stand in it."""
        return OpenTelemetryMiddleware(
            _Named(app), excluded_urls=parse_excluded_urls(",".join(f"{path}$" for path in excluded)),
            tracer_provider=self._provider, http_capture_headers_server_response=list(shown),
            default_span_details=lambda scope: (scope.get("method", "HTTP"), {}),
            exclude_spans=["receive", "send"],  # a streamed answer has thousands
        )  # fmt: skip

    def carry(self, headers: MutableMapping[str, str]) -> None:
        """Put the trace of the request that this task works for into the headers of another."""
        _propagator.inject(headers)

    def flush(self) -> None:
        """Send what there is, for some seconds."""
        self._provider.force_flush(FLUSH_MILLISECONDS)


class _Named:
    """Names the span of a request by its route, which the router finds: paths as asked for would be names without
    bound."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def named(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span = trace.get_current_span()
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
            await send(message)

        await self._app(scope, receive, named if scope["type"] == "http" else send)


def _attributes(sent: Sent, operation: str) -> dict[str, str | int]:
    """By OpenTelemetry's conventions for messaging; `crossover.epoch` is ours."""
    found: dict[str, str | int] = {
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": sent.topic,
        "messaging.message.id": sent.event_id,
        "messaging.message.body.size": sent.size,
    }
    if sent.backend:
        found["messaging.system"] = sent.backend
    if sent.epoch:
        found["crossover.epoch"] = sent.epoch
    return found


def _end(span: trace.Span, ended: int, failed: str) -> None:
    if failed:
        span.set_status(Status(StatusCode.ERROR, failed))
        span.set_attribute("error.type", failed.partition(":")[0])
    span.end(ended)

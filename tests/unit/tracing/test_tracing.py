"""Which traces are made, under which ids, and that a process in which none are made knows nothing of them."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from adapters.tracing import BadTracing, tracing_from_env
from adapters.tracing.spans import ByTraceId, Sent, Tracing, trace_of
from contracts.envelope import Event, new_event_id
from contracts.names import ENV_TRACES_ENDPOINT as ENDPOINT
from contracts.names import ENV_TRACES_RATIO as RATIO


def traced(ratio: float) -> tuple[Tracing, InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    return Tracing("x", ratio, kept), kept


def event() -> Event:
    return Event.create("market-data", "K", b"{}", source="test")


def test_none_are_made_where_no_collector_is_named() -> None:
    assert tracing_from_env("x", {}) is None
    code = (
        "import sys, adapters.event_bus.factory, services.common.web;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'adapters.tracing.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({ENDPOINT: "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT is 'collector:4318': no trace could be sent"),
        ({ENDPOINT: "http://c:4318", RATIO: "2"}, "OTEL_TRACES_SAMPLER_ARG is '2'"),
        ({ENDPOINT: "http://c:4318", RATIO: "some"}, "OTEL_TRACES_SAMPLER_ARG is 'some'"),
        ({ENDPOINT: "http://c:4318", RATIO: "nan"}, "Give a part, 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_refused(env: dict[str, str], told: str) -> None:
    with pytest.raises(BadTracing, match=told.replace(".", r"\.")):
        tracing_from_env("x", env)


def test_all_parts_of_a_process_have_one() -> None:
    env = {ENDPOINT: "http://127.0.0.1:1/", RATIO: "0.5"}
    assert tracing_from_env("x", env) is tracing_from_env("x", env)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
def test_of_events_that_part_is_taken_that_was_asked_for_and_the_same_everywhere(ratio: float) -> None:
    tracing, kept = traced(ratio)
    events = [event() for _ in range(4000)]
    taken = [one for one in events if tracing.takes(one.id)]
    assert len(taken) / len(events) == pytest.approx(ratio, abs=0.04)  # five standard deviations
    sampler = ByTraceId(ratio)
    assert taken == [one for one in events if sampler.takes(trace_of(one.id)[0])]
    tracing.handled(events, "g", 1, 2)
    tracing.flush()
    assert len(kept.get_finished_spans()) == len(taken)


def test_an_event_is_found_by_its_own_id() -> None:
    tracing, kept = traced(1.0)
    one = event()
    tracing.handled([one], "engine", 30, 40)  # by another process, and told first
    tracing.published(Sent(one.topic, one.id, 2, "redis", 7), tracing.here(), 10, 20)
    tracing.flush()
    handled, sent = kept.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in (handled, sent)} == {one.id.replace("-", "")}
    assert (sent.parent, sent.kind, handled.kind) == (None, SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert handled.parent is not None
    assert handled.parent.span_id == sent.context.span_id != handled.context.span_id
    assert (sent.start_time, sent.end_time, handled.start_time, handled.end_time) == (10, 20, 30, 40)
    assert sent.attributes is not None
    assert (sent.attributes["messaging.system"], sent.attributes["crossover.epoch"]) == ("redis", 7)
    assert sent.attributes["messaging.message.id"] == one.id


def test_ids_that_were_given_are_used_once() -> None:
    tracing, kept = traced(1.0)
    for _ in range(2):
        tracing.published(Sent("t", new_event_id(), 0), tracing.here(), 1, 2)
    tracing.flush()
    first, second = kept.get_finished_spans()
    assert first.context.trace_id != second.context.trace_id
    assert first.context.span_id != second.context.span_id


def test_an_event_with_an_id_of_another_kind_has_no_trace() -> None:
    tracing, kept = traced(1.0)
    for name in ("order-17", "", "x" * 36):
        assert not tracing.takes(name)
        tracing.published(Sent("t", name, 0), tracing.here(), 1, 2)
    tracing.handled([event()._replace(id="order-17")], "g", 1, 2)
    tracing.flush()
    assert kept.get_finished_spans() == ()


def test_failures_stand_in_the_span() -> None:
    tracing, kept = traced(1.0)
    tracing.handled([event()], "g", 1, 2, failed="RetryableError: the batch waits for the database")
    tracing.flush()
    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert (span.status.is_ok, span.attributes["error.type"]) == (False, "RetryableError")
    assert uuid.UUID(int=span.context.trace_id)

"""Traces as a collector gets them: of events over a real Redis by two buses, and of requests to the orchestrator and on
to its backend; and that a collector that is away holds up nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from adapters.event_bus import open_bus
from adapters.tracing import tracing_from_env
from contracts import names
from contracts.envelope import Event
from contracts.names import MARKET_DATA
from tests.contract.bus_servers import REDIS_PASSWORD, free_port
from tests.contract.faulty_llm import Faulty
from tests.contract.orchestrated import environment, orchestrated
from tests.contract.own_servers import own_redis

pytestmark = [pytest.mark.contract, pytest.mark.timeout(60)]

SECONDS = 15.0


class Collector:
    """What came, by the name of the service that sent it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.got: list[tuple[str, Span]] = []
        self.came = threading.Condition()

    def take(self, body: bytes) -> None:
        """An export."""
        with self.came:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                self.got += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
            self.came.notify_all()

    def wait(self, count: int) -> dict[tuple[str, str], Span]:
        """The spans by service and name, once there are so many."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= count, SECONDS), self.got
            return {(service, span.name): span for service, span in self.got}


@contextmanager
def a_collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.take(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *told: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def bus_env(redis: str, collector: str) -> dict[str, str]:
    return {
        names.ENV_EVENT_BUS_TYPE: "redis", "REDIS_URL": redis, "REDIS_PASSWORD": REDIS_PASSWORD,
        names.ENV_TRACES_ENDPOINT: collector, names.ENV_TRACES_RATIO: "1",
    }  # fmt: skip


def attributes(span: Span) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_an_event_is_one_trace_from_publisher_to_consumer(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis, a_collector() as collector:
        env = bus_env(redis.url, collector.url)
        taken = threading.Event()

        def handle(events: Sequence[Event]) -> None:
            taken.set()

        with closing(open_bus("publisher", env)) as publisher, closing(open_bus("engine", env)) as consumer:
            subscription = consumer.subscribe([MARKET_DATA], "engine", handle)
            receipt = publisher.publish(MARKET_DATA, "K", b"{}")
            assert taken.wait(SECONDS)
            subscription.close()
        found = collector.wait(2)
    sent, handled = found["publisher", f"send {MARKET_DATA}"], found["engine", f"process {MARKET_DATA}"]
    assert sent.trace_id.hex() == handled.trace_id.hex() == receipt.event_id.replace("-", "")
    assert (sent.parent_span_id, handled.parent_span_id) == (b"", sent.span_id)
    assert sent.start_time_unix_nano < sent.end_time_unix_nano
    assert handled.start_time_unix_nano < handled.end_time_unix_nano
    told = attributes(handled)
    assert (told["messaging.consumer.group.name"], told["messaging.batch.message_count"]) == ("engine", 1)
    assert attributes(sent)["messaging.system"] == "redis"
    assert attributes(sent)["crossover.epoch"] == receipt.epoch


def test_batches_and_futures_are_traced_and_a_handler_that_fails_is_told(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis, a_collector() as collector:
        env = bus_env(redis.url, collector.url)
        failed = threading.Event()
        seen: set[str] = set()

        def handle(events: Sequence[Event]) -> None:
            if not failed.is_set():
                failed.set()
                raise ValueError("not yet")
            seen.update(event.id for event in events)

        events = [Event.create(MARKET_DATA, "K", b"{}", source="test") for _ in range(3)]
        with closing(open_bus("publisher-2", env)) as bus:
            bus.publish_batch(events[:2]).result(SECONDS)
            bus.publish_event(events[2]).result(SECONDS)
            made = bus.publish_future(MARKET_DATA, "K", b"{}").result(SECONDS)
            bus.subscribe([MARKET_DATA], "engine", handle)
            deadline = time.monotonic() + SECONDS
            while len(seen) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.01)  # polling with a deadline
        collector.wait(4 + 4)
    sent = {span.trace_id.hex() for _, span in collector.got if span.name.startswith("send")}
    assert sent == {one.replace("-", "") for one in (*(event.id for event in events), made.event_id)}
    handled = [span for _, span in collector.got if span.name.startswith("process")]
    assert [attributes(span)["error.type"] for span in handled if span.status.code == 2][:1] == ["ValueError"]
    assert {span.trace_id.hex() for span in handled if span.status.code != 2} == sent


def test_a_collector_that_is_away_holds_up_nothing(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        bus = open_bus("lonely", bus_env(redis.url, f"http://127.0.0.1:{free_port()}"))
        began = time.monotonic()
        for _ in range(200):
            bus.publish(MARKET_DATA, "K", b"{}")
        assert time.monotonic() - began < SECONDS
        bus.close()
        assert time.monotonic() - began < SECONDS


def test_a_request_is_a_child_of_its_callers_and_the_backends_parent() -> None:
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Faulty("m") as upstream, a_collector() as collector:
        more = {names.ENV_TRACES_ENDPOINT: collector.url, names.ENV_TRACES_RATIO: "0"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            with orchestrated(environment({"hosted": upstream.url}, "m", more)) as one:
                asked = {"model": "default", "messages": [{"role": "user", "content": "buy?"}]}
                url = f"{one.url}/chat/completions"
                assert requests.post(url, json=asked, timeout=SECONDS).status_code == 200  # not sampled
                answer = requests.post(url, json=asked, headers={"traceparent": caller}, timeout=SECONDS)
                assert answer.status_code == 200
                requests.get(one.url.replace("/v1", "/healthz"), headers={"traceparent": caller}, timeout=SECONDS)
            tracing = tracing_from_env(names.LLM_ORCHESTRATOR_NAME)
        assert tracing is not None
        tracing.flush()
        collector.wait(1)
        ((service, span),) = collector.got
    assert (service, span.name) == (names.LLM_ORCHESTRATOR_NAME, "POST /v1/chat/completions")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (caller.split("-")[1], caller.split("-")[2])
    assert attributes(span)["http.route"] == "/v1/chat/completions"
    passed = upstream.headers[-1]["traceparent"].split("-")
    assert passed[1:3] == [span.trace_id.hex(), span.span_id.hex()]

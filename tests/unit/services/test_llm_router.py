"""Two sides and a route: who answers, what a failure costs, what the cutover is told."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import REGISTRY

from adapters.llm import Failure, LLMRefused, LLMTimeout, LLMUnavailable
from adapters.routes import RouteUnavailable, Versioned
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts.registry import PROTOCOL_VERSION
from contracts.stages import Component, Stage
from services.llm_orchestrator.breaker import Rules
from services.llm_orchestrator.figures import Figures
from services.llm_orchestrator.following import Follower
from tests.unit.services.llm_world import limits, route, world

BACKEND = "x-crossover-backend"
JSON = "application/json"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"crossover_llm_{name}_total", labels) or 0.0


def test_a_switch_moves_the_next_call_and_is_acknowledged() -> None:
    with world() as made:
        assert made.ask().headers[BACKEND] == "hosted"
        record = made.record()
        assert record is not None
        assert (record.role, record.name, record.acknowledged_epoch) == (Follower.role, "pod-1.llm-orchestrator", 0)
        assert record.protocol_version == PROTOCOL_VERSION
        made.set(route(Stage.SHADOW, 1))
        assert made.ask().headers[BACKEND] == "hosted"
        made.set(route(Stage.SCALE, 2))
        answer = made.ask()
        assert (answer.headers[BACKEND], answer.json()["model"]) == ("vllm", "vllm-default")
        made.set(route(Stage.SHADOW, 3))
        assert made.ask().headers[BACKEND] == "hosted"
    assert made.record() is None


def test_a_stream_goes_on_where_it_began() -> None:
    with world(route(Stage.SHADOW)) as made, ThreadPoolExecutor() as pool:
        first, on = threading.Event(), threading.Event()

        async def pause() -> None:
            first.set()
            await asyncio.to_thread(on.wait, 10)

        made.hosted.pause = pause
        stream = pool.submit(made.ask, stream=True)
        assert first.wait(10)
        made.set(route(Stage.SCALE, 2))
        assert made.ask().headers[BACKEND] == "vllm"
        assert made.figures()["hosted.in_flight"] == "1"
        on.set()
        answer = stream.result(10)
        assert answer.headers[BACKEND] == "hosted"
        assert answer.text.endswith("data: [DONE]\n\n")
        assert made.figures()["hosted.in_flight"] == "0"


def test_a_canary_is_sticky_and_only_grows() -> None:
    with world(route(Stage.SCALE, 1, share=30)) as made:

        def sides() -> list[str]:
            return [made.ask({"x-conversation-id": f"c{one}"}).headers[BACKEND] for one in range(40)]

        first = sides()
        assert sides() == first
        assert set(first) == {"hosted", "vllm"}
        made.set(route(Stage.SCALE, 2, share=70))
        second = sides()
        assert all(after == "vllm" for before, after in zip(first, second, strict=True) if before == "vllm")
        assert second.count("vllm") > first.count("vllm")


FAULTS = [
    LLMUnavailable("gone", Failure.UNREACHABLE),
    LLMUnavailable("no name", Failure.NO_NAME),
    LLMTimeout("slow"),
    LLMRefused("vllm", 500, b"CUDA out of memory", "text/plain"),
    LLMRefused("vllm", 401, b"{}", JSON),
    LLMRefused("vllm", 404, b"{}", JSON),
    LLMRefused("vllm", 429, b"{}", JSON, "3"),
    LLMRefused("vllm", 400, b'{"error":{"code":"context_length_exceeded"}}', JSON),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.failure.value)
def test_whatever_one_side_lacks_the_other_answers(fault: LLMRefused, streamed: bool) -> None:
    with world(route(Stage.SCALE)) as made:
        made.vllm.fault = fault
        before = counted("fallbacks", backend="vllm", answered="hosted", failure=fault.failure.value)
        answer = made.ask(stream=streamed)
        assert (answer.status_code, answer.headers[BACKEND]) == (200, "hosted")
        after = counted("fallbacks", backend="vllm", answered="hosted", failure=fault.failure.value)
        assert after == before + 1
        figures = made.figures()
        assert (figures["vllm.calls"], figures["vllm.fallbacks"], figures["hosted.calls"]) == ("1", "1", "1")
        refused = fault.failure is Failure.REFUSED
        assert (figures["vllm.answered"], figures["vllm.errors"]) == (("1", "0") if refused else ("0", "1"))
        assert figures["hosted.answered"] == "1"
        assert figures["vllm.failed"] == "0"


def test_a_stream_falls_back_before_its_first_token_and_never_after() -> None:
    with world(route(Stage.SCALE)) as made:
        made.vllm.break_after = 0
        assert made.ask(stream=True).headers[BACKEND] == "hosted"
        made.vllm.break_after = 1
        answer = made.ask(stream=True)
        assert answer.headers[BACKEND] == "vllm"
        lines = [line for line in answer.text.splitlines() if line]
        assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "vllm"
        assert "error" in json.loads(lines[-1].removeprefix("data: "))
        assert len(made.hosted.requests) == 1
        figures = made.figures()
        assert (figures["vllm.errors"], figures["vllm.failed"], figures["vllm.fallbacks"]) == ("2", "1", "1")


def test_a_side_that_is_down_is_told_of_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.llm_orchestrator.router._SAY_SECONDS", 3600.0)
    with world(route(Stage.SCALE)) as made:
        made.vllm.fault = LLMUnavailable("gone")
        for _ in range(20):
            assert made.ask().headers[BACKEND] == "hosted"
    assert caplog.text.count("hosted answers instead of vllm: gone") == 1


def test_what_both_refuse_is_told_as_the_chosen_side_said_it() -> None:
    with world(route(Stage.SCALE)) as made:
        said = b'{"error":{"message":"messages is required","type":"invalid_request_error"}}'
        made.vllm.fault = LLMRefused("vllm", 400, said, JSON)
        made.hosted.fault = LLMUnavailable("gone")
        answer = made.ask()
        assert (answer.status_code, answer.content) == (400, said)


def test_where_both_are_down_the_caller_is_told_when_to_come_again() -> None:
    with world(route(Stage.SCALE)) as made:
        made.vllm.fault = LLMUnavailable("vllm cannot be reached")
        made.hosted.fault = LLMRefused("groq", 401, b"bad key sk-abc", JSON)
        answer = made.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "vllm cannot be reached" in answer.json()["error"]["message"]
        assert "sk-abc" not in answer.text
        assert made.figures()["vllm.failed"] == "1"


def test_a_retired_side_is_never_asked() -> None:
    with world(route(Stage.COMPLETE)) as made:
        made.vllm.fault = LLMRefused("vllm", 500, b"{}", JSON)
        assert made.ask().status_code == 500
        assert made.hosted.requests == []


def test_a_side_that_keeps_failing_is_left_alone_and_found_again() -> None:
    least = Rules().least
    with world(route(Stage.SCALE)) as made:
        made.vllm.fault = LLMUnavailable("gone")
        for _ in range(least + 5):
            assert made.ask().headers[BACKEND] == "hosted"
        assert len(made.vllm.requests) == least
        assert REGISTRY.get_sample_value("crossover_llm_breaker", {"backend": "vllm", "model": "vllm-default"}) == 2
        assert made.ask(model="trading").headers[BACKEND] == "hosted"
        assert len(made.vllm.requests) == least + 1, "another model of the side was not asked"
        made.vllm.fault = None
        made.await_record(lambda _: made.ask().headers[BACKEND] == "vllm")


def test_a_limit_is_honoured_until_it_is_over_and_told_with_its_time() -> None:
    with world(route(Stage.MVP)) as made:
        made.hosted.fault = LLMRefused("groq", 429, b'{"error":{"code":"rate_limit_exceeded"}}', JSON, "30")
        assert made.ask().headers["retry-after"] == "30"
        made.hosted.fault = None
        answer = made.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 28 <= int(answer.headers["retry-after"]) <= 30
        assert len(made.hosted.requests) == 1


def test_a_limit_of_one_side_sends_calls_to_the_other_without_asking() -> None:
    with world(route(Stage.SCALE)) as made:
        made.vllm.fault = LLMRefused("vllm", 429, b"{}", JSON, "30")
        assert [made.ask().headers[BACKEND] for _ in range(3)] == ["hosted"] * 3
        assert len(made.vllm.requests) == 1


def test_samples_are_off_the_callers_path_and_what_becomes_of_them_is_counted() -> None:
    with world(route(Stage.SHADOW, 1, sample=100.0)) as made:

        async def stuck() -> None:
            await asyncio.Event().wait()

        made.vllm.pause = stuck
        for _ in range(5):
            assert made.ask().headers[BACKEND] == "hosted"
        made.await_record(lambda _: len(made.vllm.requests) == 2)
        assert made.figures()["vllm.samples"] == "0"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_sample_that_fails_is_the_samplers_affair(streamed: bool) -> None:
    with world(route(Stage.SCALE, 1, sample=100.0)) as made:
        made.hosted.fault = LLMRefused("groq", 429, b"{}", JSON, "30")
        assert made.ask(stream=streamed).headers[BACKEND] == "vllm"
        figures = made.await_record(lambda record: record.status["hosted.sample_errors"] == "1").status
        assert (figures["hosted.samples"], figures["hosted.calls"], figures["hosted.errors"]) == ("1", "0", "0")
        before = counted("samples", backend="hosted", outcome="resting")
        assert made.ask().status_code == 200
        assert counted("samples", backend="hosted", outcome="resting") == before + 1
        # The side may still be asked by a call that needs it.
        made.hosted.fault, made.vllm.fault = None, LLMUnavailable("gone")
        assert made.ask().headers[BACKEND] == "hosted"


def test_samples_cost_no_more_than_their_budget() -> None:
    with world(route(Stage.SHADOW, 1, sample=100.0), {"LLM_SAMPLE_TOKENS_A_MINUTE": "100"}) as made:
        before = counted("samples", backend="vllm", outcome="budget")
        for _ in range(4):
            made.ask(max_tokens=30, stream=True)
        made.await_record(lambda record: int(record.status["vllm.samples"]) >= 1)
        assert len(made.vllm.requests) <= 2
        assert counted("samples", backend="vllm", outcome="budget") >= before + 2
        assert all("idempotency-key" not in headers for headers in made.vllm.headers)


def test_who_comes_beyond_the_limit_waits_or_is_turned_away() -> None:
    env = {"LLM_MAX_IN_FLIGHT": "1", "LLM_QUEUE_LENGTH": "1", "LLM_QUEUE_SECONDS": "30"}
    with world(route(Stage.MVP), env) as made, ThreadPoolExecutor() as pool:
        asked, on = threading.Semaphore(0), threading.Event()

        async def pause() -> None:
            asked.release()
            await asyncio.to_thread(on.wait, 10)

        made.hosted.pause = pause
        first = pool.submit(made.ask)
        assert asked.acquire(timeout=10)
        second = pool.submit(made.ask)
        made.await_record(lambda _: REGISTRY.get_sample_value("crossover_llm_queued") == 1)
        third = made.ask()
        assert (third.status_code, third.json()["error"]["code"]) == (503, "overloaded")
        assert third.headers["retry-after"] == "1"
        on.set()
        assert [one.result(10).status_code for one in (first, second)] == [200, 200]


def test_a_call_that_takes_too_long_in_all_is_ended_and_says_so() -> None:
    with world(route(Stage.MVP), limits(first=0.8, whole=1)) as made:
        chunks = [0]

        async def pause() -> None:
            chunks[0] += 1
            if chunks[0] > 1:
                await asyncio.Event().wait()

        made.hosted.pause = pause
        last = [line for line in made.ask(stream=True).text.splitlines() if line][-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
        assert made.hosted.closed_streams == 1
        answer = made.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_no_first_token_in_time_sends_the_call_to_the_other_side() -> None:
    with world(route(Stage.SCALE), limits(first=0.2, whole=20)) as made:

        async def stuck() -> None:
            await asyncio.Event().wait()

        made.vllm.pause = stuck
        before = counted("failures", backend="vllm", failure="first_token_timeout")
        assert made.ask(stream=True).headers[BACKEND] == "hosted"
        assert counted("failures", backend="vllm", failure="first_token_timeout") == before + 1
        assert made.vllm.closed_streams == 1


def test_figures_begin_anew_with_each_epoch() -> None:
    with world(route(Stage.SCALE, 1)) as made:
        made.vllm.fault = LLMUnavailable("gone")
        made.ask()
        assert made.figures()["vllm.errors"] == "1"
        made.set(route(Stage.SCALE, 2))
        figures = made.figures()
        assert (figures["epoch"], figures["vllm.errors"], figures["vllm.calls"]) == ("2", "0", "0")


def test_a_side_without_an_address_is_a_clear_error() -> None:
    with world(route(Stage.SCALE), {}, "hosted") as made:
        assert made.ask().headers[BACKEND] == "hosted"
        made.set(route(Stage.COMPLETE, 2))
        answer = made.ask()
        assert answer.status_code == 503
        assert "names no vllm endpoint" in answer.json()["error"]["message"]


class Away(MemoryRouteStore):
    """A store that does not answer until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()

    def read(self, component: Component) -> Versioned:
        if not self.back.is_set():
            raise RouteUnavailable("the API server does not answer")
        return super().read(component)


def test_nobody_is_ready_who_has_not_read_the_route_once() -> None:
    store = Away()
    follower = Follower(store, MemoryRegistry(), "pod-1", Figures(), ["hosted", "vllm"])
    follower.start()
    try:
        assert "was not read yet" in (follower.ready() or "")
        store.back.set()
        deadline = threading.Event()
        for _ in range(500):
            if follower.ready() is None:
                break
            deadline.wait(0.01)  # polling with a deadline
        assert follower.ready() is None
        assert follower.plan().active == "hosted"
    finally:
        follower.stop()

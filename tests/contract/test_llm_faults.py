"""All that can go wrong at a side, over real sockets: what the caller sees, and which metric tells of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client import REGISTRY

from adapters.llm import open_backend
from contracts.stages import Stage
from cutover.llm_service import asking
from cutover.llm_service.asking import Model, Refused, Wrong
from tests.contract.faulty_llm import Faulty, deaf
from tests.contract.orchestrated import Orchestrated, environment, orchestrated
from tests.contract.postgres_server import free_port

pytestmark = pytest.mark.contract

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
LIMITS = {
    "LLM_TIMEOUT_SECONDS": "0.6", "LLM_FIRST_TOKEN_TIMEOUT_SECONDS": "0.5", "LLM_CONNECT_TIMEOUT_SECONDS": "0.4",
    "LLM_API_KEY": "sk-hosted", "LLM_OWN_API_KEY": "sk-own",
}  # fmt: skip
TEXT = "we buy low"
_PATIENCE = 10.0


@pytest.fixture
def hosted() -> Iterator[Faulty]:
    with Faulty("hosted") as server:
        yield server


@pytest.fixture
def own() -> Iterator[Faulty]:
    with Faulty("vllm") as server:
        yield server


@pytest.fixture
def both(hosted: Faulty, own: Faulty) -> Iterator[Orchestrated]:
    """Our own models serve, and the hosted side stands by."""
    with orchestrated(environment({"hosted": hosted.url, "vllm": own.url}, "m", LIMITS), Stage.SCALE) as made:
        yield made


@pytest.fixture
def alone(own: Faulty) -> Iterator[Orchestrated]:
    """Our own models serve, and there is nobody else."""
    with orchestrated(environment({"vllm": own.url}, "m", LIMITS), Stage.COMPLETE) as made:
        yield made


def client(made: Orchestrated) -> openai.OpenAI:
    return openai.OpenAI(base_url=made.url, api_key="unused", max_retries=0)


def whole(made: Orchestrated) -> str | None:
    with client(made) as one:
        return one.chat.completions.create(model="default", messages=MESSAGES).choices[0].message.content


def streamed(made: Orchestrated, seen: list[str] | None = None) -> str:
    """The text of a stream; `seen` gets what came, also where it breaks off."""
    seen = seen if seen is not None else []
    with client(made) as one, one.chat.completions.create(model="default", messages=MESSAGES, stream=True) as chunks:
        for chunk in chunks:
            seen += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(seen)


def failures(kind: str, side: str = "vllm") -> float:
    return REGISTRY.get_sample_value("crossover_llm_failures_total", {"backend": side, "failure": kind}) or 0.0


def outcomes(outcome: str) -> float:
    labels = {"alias": "default", "outcome": outcome}
    return REGISTRY.get_sample_value("crossover_llm_requests_total", labels) or 0.0


BEFORE = [
    ("limited", "limited"), ("server", "server"), ("credentials", "credentials"), ("not_found", "not_found"),
    ("moved", "not_found"), ("refused", "refused"), ("dropped", "dropped"), ("no_http", "garbage"),
]  # fmt: skip
"""Faults before the first token, and their metric."""
STREAM_ONLY = [("silent", "first_token_timeout"), ("silent_stream", "first_token_timeout"), ("web_page", "garbage")]
WHOLE_ONLY = [
    ("silent", "stalled"), ("web_page", "garbage"), ("closed_early", "closed_early"), ("broken_off", "closed_early"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "metric"), BEFORE + STREAM_ONLY)
def test_a_stream_that_cannot_begin_is_answered_by_the_other_side(
    both: Orchestrated, own: Faulty, fault: str, metric: str
) -> None:
    own.fault, before = fault, failures(metric)
    assert streamed(both) == TEXT
    assert failures(metric) > before


@pytest.mark.parametrize(("fault", "metric"), BEFORE + WHOLE_ONLY)
def test_an_answer_that_does_not_come_is_given_by_the_other_side(
    both: Orchestrated, own: Faulty, fault: str, metric: str
) -> None:
    own.fault, before = fault, failures(metric)
    assert whole(both) == TEXT
    assert failures(metric) > before


@pytest.mark.parametrize(
    ("fault", "metric", "code"),
    [
        ("stalled", "stalled", "timeout"),
        ("closed_early", "closed_early", "provider_unavailable"),
        ("ends_early", "closed_early", "provider_unavailable"),
        ("broken_off", "closed_early", "provider_unavailable"),
        ("garbage", "garbage", "provider_unavailable"),
        ("error_event", "error_event", "provider_unavailable"),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_and_nobody_else_is_asked(
    both: Orchestrated, own: Faulty, hosted: Faulty, fault: str, metric: str, code: str
) -> None:
    own.fault, before, seen = fault, failures(metric), list[str]()
    with pytest.raises(openai.APIError) as error:
        streamed(both, seen)
    assert error.value.code == code
    assert seen == ["we "]
    assert failures(metric) == before + 1
    assert hosted.requests == []


@pytest.mark.parametrize(
    ("fault", "raises", "code"),
    [
        ("limited", openai.RateLimitError, "rate_limit_exceeded"),
        ("server", openai.InternalServerError, None),
        ("credentials", openai.InternalServerError, "provider_credentials"),
        ("not_found", openai.InternalServerError, "provider_configuration"),
        ("refused", openai.BadRequestError, "context_length_exceeded"),
        ("dropped", openai.InternalServerError, "provider_unavailable"),
        ("silent", openai.InternalServerError, "timeout"),
        ("no_http", openai.InternalServerError, "provider_unavailable"),
    ],
)
def test_where_there_is_nobody_else_the_error_is_clear_and_in_openais_form(
    alone: Orchestrated, own: Faulty, fault: str, raises: type[openai.APIStatusError], code: str | None
) -> None:
    own.fault = fault
    with pytest.raises(raises) as error:
        whole(alone)
    assert error.value.code == code
    assert "sk-abc" not in str(error.value)
    if fault == "limited":
        assert error.value.response.headers["retry-after"] == "7"
        assert error.value.response.headers["x-ratelimit-limit-requests"] == "30"
        asked = len(own.requests)
        with pytest.raises(openai.RateLimitError):
            whole(alone)
        assert len(own.requests) == asked, "asked again before Retry-After was over"


def test_a_limit_that_is_a_date_is_told_and_kept_in_seconds(alone: Orchestrated, own: Faulty) -> None:
    own.fault = "limited_until"
    with pytest.raises(openai.RateLimitError) as error:
        whole(alone)
    assert error.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.RateLimitError):
        whole(alone)
    assert len(own.requests) == 1


@pytest.mark.parametrize("fault", ["repeats_key", "credentials"])
def test_what_a_provider_says_of_a_key_is_told_to_nobody(
    alone: Orchestrated, both: Orchestrated, own: Faulty, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    own.fault = fault
    with pytest.raises(openai.APIStatusError) as error:
        whole(alone)
    assert whole(both) == TEXT and "hosted answers instead of vllm" in caplog.text
    connect = partial(open_backend, "vllm", own.url, "sk-own")
    asked = Model(backend="vllm", alias="default", name="m", base_url=own.url, open=connect)
    (told,) = asking.generations([asked], 10).values()
    assert isinstance(told, Refused | Wrong)
    for text in (str(error.value), str(error.value.body), caplog.text, told.why):
        assert "sk-own" not in text and "sk-abc" not in text


def test_both_sides_down_is_a_503_that_says_when_to_come_again(both: Orchestrated, own: Faulty, hosted: Faulty) -> None:
    own.fault, hosted.fault = "dropped", "server"
    before = outcomes("Unanswered")
    with pytest.raises(openai.InternalServerError) as error:
        streamed(both)
    assert outcomes("Unanswered") == before + 1
    assert (error.value.status_code, error.value.code) == (503, "provider_unavailable")
    assert int(error.value.response.headers["retry-after"]) >= 1


def test_a_host_that_has_no_name_any_more(hosted: Faulty) -> None:
    env = environment({"hosted": hosted.url, "vllm": "http://vllm.invalid:8000/v1"}, "m", LIMITS)
    patient = {"LLM_CONNECT_TIMEOUT_SECONDS": "10", "LLM_FIRST_TOKEN_TIMEOUT_SECONDS": "20"}
    with orchestrated(env | patient, Stage.SCALE) as made:
        before = failures("no_name")
        assert whole(made) == TEXT
        assert failures("no_name") == before + 1


def test_a_pod_that_is_gone(hosted: Faulty) -> None:
    env = environment({"hosted": hosted.url, "vllm": f"http://127.0.0.1:{free_port()}/v1"}, "m", LIMITS)
    with orchestrated(env, Stage.SCALE) as made:
        before = failures("unreachable")
        assert streamed(made) == TEXT
        assert failures("unreachable") == before + 1


def test_a_node_that_does_not_even_refuse(hosted: Faulty) -> None:
    with deaf() as url:
        env = environment({"hosted": hosted.url, "vllm": url}, "m", LIMITS)
        with orchestrated(env, Stage.SCALE) as made:
            before = failures("connect_timeout")
            assert whole(made) == TEXT
            assert failures("connect_timeout") == before + 1


def test_a_client_that_hangs_up_ends_the_work_before_and_after_the_first_token(own: Faulty, hosted: Faulty) -> None:
    # With the usual limits, none of which ends a call within this test.
    with orchestrated(environment({"hosted": hosted.url, "vllm": own.url}, "m"), Stage.SCALE) as made:
        port = int(made.url.split(":")[2].split("/")[0])
        cases = [("stalled", True), ("silent_stream", True), ("silent", True), ("silent", False)]
        for number, (fault, as_stream) in enumerate(cases, start=1):
            own.fault = fault
            body = json.dumps({"model": "default", "messages": MESSAGES, "stream": as_stream}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(head.encode() + body)
                await_true(lambda: len(own.requests) == number)  # noqa: B023 - it is called at once
            await_true(lambda: own.hung_up == number)  # noqa: B023
    assert hosted.requests == []


def await_true(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # polling with a deadline


def test_each_side_gets_its_own_key_and_a_caller_sees_nothing_of_the_account(
    both: Orchestrated, own: Faulty, hosted: Faulty
) -> None:
    with client(both) as one:
        answer = one.chat.completions.with_raw_response.create(model="default", messages=MESSAGES)
        assert answer.headers["x-request-id"] == "req-1"
        assert "set-cookie" not in answer.headers
        both.set(Stage.SHADOW)
        one.chat.completions.create(model="default", messages=MESSAGES)
    assert [server.headers[0]["authorization"] for server in (own, hosted)] == ["Bearer sk-own", "Bearer sk-hosted"]
    assert own.headers[0]["idempotency-key"]

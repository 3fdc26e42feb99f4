"""The chat API as its callers see it: aliases, bodies passed through, streams, errors in OpenAI's form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from adapters.llm import Failure, LLMRefused, LLMTimeout, LLMUnavailable
from adapters.llm.memory import MemoryChat
from contracts.names import LLM_ORCHESTRATOR_NAME
from contracts.stages import Stage
from services.common.settings import SettingsError
from services.llm_orchestrator.settings import OrchestratorSettings
from tests.unit.services.llm_world import MESSAGES, World, endpoints, route, settings, world


@pytest.fixture
def made() -> Iterator[World]:
    """At `mvp`: the hosted side alone."""
    with world(route(Stage.MVP)) as one:
        yield one


@pytest.fixture
def backend(made: World) -> MemoryChat:
    made.hosted.reply = "one two three"
    return made.hosted


@pytest.fixture
def client(made: World) -> TestClient:
    return made.client


SCOPE = {
    "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": [],
    "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
}  # fmt: skip


def ask(client: TestClient, **body: object) -> Any:
    return client.post("/v1/chat/completions", json={"model": "default", "messages": MESSAGES, **body})


@pytest.mark.parametrize("messages", [None, "hi", {}, [None], ["hi"]])
def test_what_is_no_conversation_is_refused_here_in_the_same_words_whoever_serves(
    client: TestClient, backend: MemoryChat, messages: object
) -> None:
    answer = ask(client, messages=messages)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
    assert not backend.requests


def test_an_alias_stands_for_a_model_and_everything_else_travels_unchanged(
    client: TestClient, backend: MemoryChat
) -> None:
    answer = ask(client, temperature=0.3, tools=[{"type": "function"}], unknown_to_us={"deep": [1, None]})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "one two three"
    (asked,) = backend.requests
    assert asked["model"] == "hosted-default"
    assert asked["unknown_to_us"] == {"deep": [1, None]}
    assert (asked["temperature"], asked["tools"]) == (0.3, [{"type": "function"}])


def test_a_stream_is_relayed_chunk_by_chunk_to_its_end(client: TestClient, backend: MemoryChat) -> None:
    answer = ask(client, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "one two three"
    assert backend.closed_streams == 1


def test_a_stream_that_breaks_off_says_so_and_does_not_look_complete(client: TestClient, backend: MemoryChat) -> None:
    backend.break_after = 1
    lines = [line for line in ask(client, stream=True).text.splitlines() if line]
    assert "[DONE]" not in lines[-1]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "provider_unavailable"
    assert backend.closed_streams == 1


async def abandon_after_first_chunk(app: Any) -> None:
    """Speak ASGI as a server whose client goes away once it has seen one part of the answer."""
    body = json.dumps({"model": "default", "messages": MESSAGES, "stream": True}).encode()
    received = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if received:
            return received.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            raise OSError("the client is gone")

    await app(SCOPE, receive, send)


def test_a_client_that_goes_away_ends_the_backends_work(made: World, backend: MemoryChat) -> None:
    assert made.client.portal is not None
    with pytest.raises(OSError, match="the client is gone"):
        made.client.portal.call(abandon_after_first_chunk, made.app)
    assert backend.closed_streams == 1


def test_a_client_that_hangs_up_before_the_first_token_ends_the_work_too(made: World, backend: MemoryChat) -> None:
    """The server says so by what it gives to read; nothing was sent yet that could fail."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    backend.pause = pause

    async def hang_up() -> None:
        received = [{"type": "http.request", "body": b'{"model":"default","messages":[]}', "more_body": False}]

        async def receive() -> Message:
            if received:
                return received.pop(0)
            await asked.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            raise AssertionError(f"nobody is there to read {message}")

        await made.app(SCOPE, receive, send)

    assert made.client.portal is not None
    made.client.portal.call(hang_up)
    assert ended.is_set()
    backend.pause = None
    assert ask(made.client).status_code == 200
    assert made.figures()["hosted.in_flight"] == "0"


def test_a_connection_that_broke_before_the_answer_is_tried_once_more(client: TestClient, backend: MemoryChat) -> None:
    failures = [1]

    async def pause() -> None:
        if failures[0]:
            failures[0] -= 1
            raise LLMUnavailable("the kept connection was closed", Failure.DROPPED)

    backend.pause = pause
    assert ask(client).status_code == 200
    failures[0] = 2
    answer = ask(client)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "provider_unavailable"
    assert "retry-after" in answer.headers


def test_a_retried_call_has_the_key_of_the_first(client: TestClient, backend: MemoryChat) -> None:
    backend.fault = LLMUnavailable("gone", Failure.UNREACHABLE)
    ask(client)
    client.post(
        "/v1/chat/completions",
        json={"model": "default", "messages": MESSAGES},
        headers={"idempotency-key": "order-1", "authorization": "Bearer the-callers"},
    )
    first, again, own, own_again = backend.headers
    assert first["idempotency-key"] == again["idempotency-key"] != own["idempotency-key"]
    assert own["idempotency-key"] == own_again["idempotency-key"] == "order-1"
    assert "authorization" not in own


def test_a_time_out_is_a_gateway_time_out(client: TestClient, backend: MemoryChat) -> None:
    backend.fault = LLMTimeout("no answer in time (limit 60 s)")
    answer = ask(client, stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_what_the_provider_refuses_comes_through_as_it_was_said(client: TestClient, backend: MemoryChat) -> None:
    said = b'{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded","extra":1}}'
    backend.fault = LLMRefused("groq", 429, said, "application/json", "7")
    answer = ask(client)
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, said, "7")


def test_refused_credentials_are_ours_and_their_text_stays_here(client: TestClient, backend: MemoryChat) -> None:
    backend.fault = LLMRefused("groq", 401, b'{"error":{"message":"bad key sk-abc***"}}', "application/json")
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_credentials")
    assert "sk-abc" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{", 400, None, None),
        (b"[]", 400, None, None),
        (b'{"messages":[]}', 400, "model", None),
        (b'{"model":"gpt-9","messages":[]}', 404, "model", "model_not_found"),
        (b'{"model":"default","messages":[],"stream":"yes"}', 400, "stream", None),
        (b'"' + b"x" * (4 << 20) + b'"', 413, None, None),
        (b'{"model":"default",}', 400, None, None),
    ],
)
def test_a_request_that_nobody_could_answer_reaches_no_backend(
    client: TestClient, backend: MemoryChat, body: bytes, status: int, param: str | None, code: str | None
) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert backend.requests == []


def test_a_path_or_a_method_that_is_not_offered_is_told_in_openais_form(client: TestClient) -> None:
    for method, path, status in (("POST", "/v1/embeddings", 404), ("GET", "/v1/chat/completions", 405)):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, "unknown_url")
        assert f"{method} {path}" in answer.json()["error"]["message"]


def test_models_lists_aliases_first(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == [
        "default",
        "trading",
        "hosted-default",
        "hosted-trading",
        "vllm-default",
        "vllm-trading",
    ]
    assert client.get("/v1/models/trading").json()["id"] == "trading"
    assert client.get("/v1/models/none").json()["error"]["code"] == "model_not_found"


def test_a_model_may_be_asked_for_by_the_name_it_has_at_either_side(client: TestClient, backend: MemoryChat) -> None:
    assert ask(client, model="vllm-trading").status_code == 200
    assert ask(client, model="hosted-trading").status_code == 200
    assert [asked["model"] for asked in backend.requests] == ["hosted-trading", "hosted-trading"]


def test_a_path_that_the_provider_does_not_have_is_our_mistake(client: TestClient, backend: MemoryChat) -> None:
    backend.fault = LLMRefused("openai", 404, b"<html>no such page</html>", "text/html")
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_configuration")
    assert "LLM_ENDPOINTS" in answer.json()["error"]["message"]


def test_a_key_that_is_missing_is_named(client: TestClient, backend: MemoryChat) -> None:
    backend.fault = LLMRefused("vllm", 401, b"{}", "application/json")
    assert "LLM_OWN_API_KEY" in ask(client).json()["error"]["message"]


ENV = {"LLM_ENDPOINTS": endpoints().to_json(), "LLM_API_KEY": "sk-very-secret", "LLM_OWN_API_KEY": "sk-our-secret"}


def test_settings_are_read_whole() -> None:
    made = OrchestratorSettings.from_env(LLM_ORCHESTRATOR_NAME, ENV)
    assert made.parsed_endpoints == endpoints()
    assert (made.key("hosted"), made.key("vllm")) == ("sk-very-secret", "sk-our-secret")
    assert "secret" not in repr(made)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"LLM_ENDPOINTS": ""}, "LLM_ENDPOINTS is not set. Set LLM_ENDPOINTS to"),
        ({"LLM_ENDPOINTS": endpoints().to_json().replace("//hosted", "//user:pw@hosted")}, "base_url"),
        (
            {"LLM_ENDPOINTS": '{"hosted": {"default": {"base_url": "http://a/v1", "model": "a"}}}'},
            "no model for trading",
        ),
        ({"LLM_ENDPOINTS": '{"skynet": {}}'}, "skynet"),
        ({"LLM_SERVICE_TYPE": "skynet"}, "Set LLM_SERVICE_TYPE to groq, openai or vllm"),
        ({"CROSSOVER_ROUTES": "file"}, "Set CROSSOVER_ROUTES to kubernetes"),
        ({"LLM_MAX_IN_FLIGHT": "0"}, "Set LLM_MAX_IN_FLIGHT to"),
    ],
)
def test_settings_say_what_is_wrong(change: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        OrchestratorSettings.from_env(LLM_ORCHESTRATOR_NAME, {**ENV, **change})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("kind", "side", "label"), [("groq", "hosted", "groq"), ("vllm", "vllm", "hosted")])
def test_the_service_type_says_who_serves_without_a_route_and_is_a_label_with_one(
    kind: str, side: str, label: str
) -> None:
    made = settings({"LLM_SERVICE_TYPE": kind})
    assert (made.fixed_side, made.label("hosted"), made.label("vllm")) == (side, label, "vllm")

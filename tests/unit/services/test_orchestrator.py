"""The chat API as its callers see it: aliases, bodies passed through, streams, errors in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, override

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect
from starlette.types import Message

from adapters.llm import Answer, LLMRefused, LLMTimeout, LLMUnavailable
from adapters.llm.memory import MemoryChat
from contracts.names import LLM_ORCHESTRATOR_NAME
from services.common.settings import SettingsError
from services.common.web import Health
from services.llm_orchestrator import api
from services.llm_orchestrator.settings import OrchestratorSettings, parse_aliases

MESSAGES = [{"role": "user", "content": "hello"}]


class Flaky(MemoryChat):
    """Breaks the first `failures` requests off before it answers."""

    failures = 0

    @override
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        if self.failures:
            self.failures -= 1
            raise LLMUnavailable("the kept connection was closed")
        return await super().complete(body)


@pytest.fixture
def backend() -> Flaky:
    return Flaky(reply="one two three", models=("small",))


@pytest.fixture
def client(backend: Flaky) -> Iterator[TestClient]:
    app = api.create_api(api.Orchestrator(backend, {"default": "small", "trading": "small"}), Health(), backend)
    with TestClient(app) as made:
        yield made


def ask(client: TestClient, **body: object) -> Any:
    return client.post("/v1/chat/completions", json={"model": "default", "messages": MESSAGES, **body})


def test_an_alias_stands_for_a_model_and_everything_else_travels_unchanged(client: TestClient, backend: Flaky) -> None:
    answer = ask(client, temperature=0.3, tools=[{"type": "function"}], unknown_to_us={"deep": [1, None]})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "one two three"
    (asked,) = backend.requests
    assert asked["model"] == "small"
    assert asked["unknown_to_us"] == {"deep": [1, None]}
    assert (asked["temperature"], asked["tools"]) == (0.3, [{"type": "function"}])


def test_a_stream_is_relayed_chunk_by_chunk_to_its_end(client: TestClient, backend: Flaky) -> None:
    answer = ask(client, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "one two three"
    assert backend.closed_streams == 1


def test_a_stream_that_breaks_off_says_so_and_does_not_look_complete(client: TestClient, backend: Flaky) -> None:
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
        return received.pop(0) if received else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            raise OSError("the client is gone")

    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": [],
        "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await app(scope, receive, send)


def test_a_client_that_goes_away_ends_the_backends_work(backend: Flaky) -> None:
    app = api.create_api(api.Orchestrator(backend, {"default": "small"}), Health(), backend)
    with TestClient(app) as client:
        assert client.portal is not None
        with pytest.raises(ClientDisconnect):
            client.portal.call(abandon_after_first_chunk, app)
    assert backend.closed_streams == 1


def test_a_connection_that_broke_before_the_answer_is_tried_once_more(client: TestClient, backend: Flaky) -> None:
    backend.failures = 1
    assert ask(client).status_code == 200
    backend.failures = 2
    answer = ask(client)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "provider_unavailable"
    assert "retry-after" in answer.headers


def test_a_time_out_is_a_gateway_time_out(client: TestClient, backend: Flaky) -> None:
    backend.fault = LLMTimeout("no answer in time (limit 60 s)")
    answer = ask(client, stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_what_the_provider_refuses_comes_through_as_it_was_said(client: TestClient, backend: Flaky) -> None:
    said = b'{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded","extra":1}}'
    backend.fault = LLMRefused("groq", 429, said, "application/json", "7")
    answer = ask(client)
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, said, "7")


def test_refused_credentials_are_ours_and_their_text_stays_here(client: TestClient, backend: Flaky) -> None:
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
    ],
)
def test_a_request_that_nobody_could_answer_reaches_no_backend(
    client: TestClient, backend: Flaky, body: bytes, status: int, param: str | None, code: str | None
) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert backend.requests == []


def test_models_lists_aliases_first(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["default", "trading", "small"]
    assert client.get("/v1/models/trading").json()["id"] == "trading"
    assert client.get("/v1/models/none").json()["error"]["code"] == "model_not_found"


ENV = {"LLM_BASE_URL": "http://llm:8080/v1", "LLM_MODELS": "default=a,trading=b", "LLM_API_KEY": "sk-very-secret"}


def test_settings_are_read_whole() -> None:
    settings = OrchestratorSettings.from_env(LLM_ORCHESTRATOR_NAME, ENV)
    assert settings.aliases == {"default": "a", "trading": "b"}
    assert "sk-very-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"LLM_BASE_URL": ""}, "LLM_BASE_URL is not set. Set LLM_BASE_URL to"),
        ({"LLM_BASE_URL": "http://user:pw@llm/v1"}, "LLM_BASE_URL="),
        ({"LLM_MODELS": "default=a"}, "it names no model for trading"),
        ({"LLM_SERVICE_TYPE": "skynet"}, "Set LLM_SERVICE_TYPE to groq, openai or vllm"),
    ],
)
def test_settings_say_what_is_wrong(change: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        OrchestratorSettings.from_env(LLM_ORCHESTRATOR_NAME, {**ENV, **change})
    assert "sk-very-secret" not in str(caught.value)


def test_an_alias_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        parse_aliases("default=a,trading=b,default=c")

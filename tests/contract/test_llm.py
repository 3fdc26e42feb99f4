"""The contract of a chat backend, kept by the fake, by the adapter over HTTP, and by it over a real model.

`http` is the adapter in front of the orchestrator in front of the fake: the whole path of a request, over
real sockets. `llama` is the adapter in front of llama.cpp with a real small model, `vllm` that in front of a real vLLM.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from adapters.llm import ChatBackend, Failure, LLMRefused, LLMTimeout, LLMUnavailable, ask, open_backend
from adapters.llm.memory import MemoryChat
from adapters.routes.memory import MemoryRouteStore
from contracts.names import LLM_ORCHESTRATOR_NAME
from services.llm_orchestrator.service import assemble, fixed_route
from services.llm_orchestrator.settings import OrchestratorSettings
from tests.contract import llama_server
from tests.contract.faulty_llm import Faulty, deaf
from tests.contract.orchestrated import environment, served
from tests.contract.postgres_server import free_port

pytestmark = pytest.mark.contract

MESSAGES = [{"role": "user", "content": "Say hello."}]
MODEL = llama_server.MODEL
Make = Callable[[], ChatBackend]


@pytest.fixture(scope="module")
def orchestrated() -> Iterator[tuple[str, MemoryChat]]:
    """The orchestrator over the fake, served over HTTP; its base URL, and the fake."""
    fake = MemoryChat(reply="hello to you", models=(MODEL,))
    settings = OrchestratorSettings.from_env(LLM_ORCHESTRATOR_NAME, environment({"hosted": "http://fake/v1"}, MODEL))
    app = assemble(settings, MemoryRouteStore(fixed_route("hosted")), None, lambda side, url: fake)
    with served(app) as url:
        yield url, fake


@pytest.fixture(scope="module")
def llama(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server.llama(parts, tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(params=["memory", "http", "llama", "vllm"])
def make(request: pytest.FixtureRequest) -> Make:
    """How the backend under test is made, on the event loop of the test."""
    if request.param == "memory":
        return lambda: MemoryChat(reply="hello to you", models=(MODEL,))
    if request.param == "http":
        url, _ = request.getfixturevalue("orchestrated")
        return lambda: open_backend("http", url, None)
    real = request.getfixturevalue(request.param)
    return lambda: open_backend(request.param, real, llama_server.API_KEY)


def run[T](make: Make, work: Callable[[ChatBackend], Coroutine[Any, Any, T]]) -> T:
    async def whole() -> T:
        backend = make()
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(whole())


def body(**extra: object) -> dict[str, Any]:
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": 8, "temperature": 0, **extra}


def test_a_completion_is_openais_json(make: Make) -> None:
    answer = run(make, lambda backend: backend.complete(body()))
    assert answer.content_type.startswith("application/json")
    completion = openai.types.chat.ChatCompletion.model_validate_json(answer.body)
    assert completion.choices[0].message.content
    assert completion.usage is not None


def test_a_stream_comes_in_events_and_ends_with_done(make: Make) -> None:
    async def work(backend: ChatBackend) -> bytes:
        stream = await backend.stream(body())
        try:
            return b"".join([chunk async for chunk in stream])
        finally:
            await stream.close()
            await stream.close()  # idempotent

    events = [line.removeprefix("data: ") for line in run(make, work).decode().splitlines() if line]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"] for event in events[:-1]]
    text = "".join(choices[0]["delta"].get("content") or "" for choices in deltas if choices)
    assert text.strip()


def test_a_stream_may_be_left_early_and_the_backend_goes_on(make: Make) -> None:
    async def work(backend: ChatBackend) -> bytes:
        stream = await backend.stream(body(max_tokens=200))
        async for _ in stream:
            break
        await stream.close()
        return (await backend.complete(body())).body

    assert b"choices" in run(make, work)


def test_models_are_listed(make: Make) -> None:
    assert MODEL in run(make, lambda backend: backend.models())


def test_a_request_without_messages_is_refused_with_what_the_backend_said(make: Make) -> None:
    with pytest.raises(LLMRefused) as refused:
        run(make, lambda backend: backend.complete({"model": MODEL}))
    assert 400 <= refused.value.status < 600
    assert "error" in json.loads(refused.value.body)


def test_a_question_has_an_answer(make: Make) -> None:
    assert run(make, lambda backend: ask(backend, MODEL, "Be brief.", "Say hello.", max_tokens=8))


def test_nobody_there_is_unavailable() -> None:
    port = free_port()
    with pytest.raises(LLMUnavailable, match="cannot be reached"):
        run(lambda: open_backend("gone", f"http://127.0.0.1:{port}/v1", None), lambda b: b.complete(body()))


def test_who_waits_in_line_to_connect_is_told_where_nobody_gets_through() -> None:
    async def work(backend: ChatBackend) -> list[object]:
        return list(await asyncio.gather(*(backend.complete(body()) for _ in range(60)), return_exceptions=True))

    with deaf() as url:
        began = time.monotonic()
        told = run(lambda: open_backend("deaf", url, None, connect_timeout=0.2, connecting=2), work)
        took = time.monotonic() - began
    assert {one.failure for one in told if isinstance(one, LLMTimeout)} == {Failure.CONNECT_TIMEOUT}
    assert len(told) == 60 and took < 4, took  # one after the other it would be 6 s


def test_who_waits_in_line_to_connect_gets_through_once_the_backend_is_back() -> None:
    async def work(backend: ChatBackend) -> None:
        asked = [backend.complete(body()) for _ in range(6)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in told] == [LLMUnavailable] * 6
        with Faulty("back", port):
            answers = await asyncio.gather(*(backend.complete(body()) for _ in range(6)))
        assert all(b"choices" in answer.body for answer in answers)

    port = free_port()
    run(lambda: open_backend("back", f"http://127.0.0.1:{port}/v1", None, connecting=1), work)


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that takes connections and never answers; its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("streamed", [False, True])
def test_no_answer_in_time_is_a_time_out(silent: int, streamed: bool) -> None:
    async def work(backend: ChatBackend) -> object:
        return await (backend.stream(body()) if streamed else backend.complete(body()))

    with pytest.raises(LLMTimeout, match=r"limit 0\.2 s"):
        run(lambda: open_backend("silent", f"http://127.0.0.1:{silent}/v1", None, timeout=0.2), work)


@pytest.mark.parametrize("real", ["llama", "vllm"])
def test_the_key_goes_along_and_shows_in_no_error(request: pytest.FixtureRequest, real: str) -> None:
    url = request.getfixturevalue(real)
    with pytest.raises(LLMRefused) as refused:
        run(lambda: open_backend(real, url, "sk-wrong-key"), lambda backend: backend.complete(body()))
    assert refused.value.status == 401
    assert "sk-wrong-key" not in str(refused.value)


def test_the_official_client_can_tell_no_difference(orchestrated: tuple[str, MemoryChat]) -> None:
    url, fake = orchestrated
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        answer = client.chat.completions.create(model="trading", messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].message.content == "hello to you"
        with client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "hi"}], stream=True
        ) as chunks:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello to you"
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="none", messages=[{"role": "user", "content": "hi"}])
        assert missing.value.code == "model_not_found"
        fake.break_after = 1
        try:
            with pytest.raises(openai.APIError, match="broke the connection"):
                list(
                    client.chat.completions.create(
                        model="default", messages=[{"role": "user", "content": "hi"}], stream=True
                    )
                )
        finally:
            fake.break_after = None
        assert [model.id for model in client.models.list()] == ["default", "trading", MODEL]


def test_bytes_pass_unchanged(orchestrated: tuple[str, MemoryChat]) -> None:
    """What the adapter gives is what the backend sent, to the last space."""
    url, fake = orchestrated
    direct = asyncio.run(fake.complete(body())).body
    assert run(lambda: open_backend("http", url, None), lambda backend: backend.complete(body())).body == direct

"""What we ask of vLLM beyond the API, on a real one: see tests/contract/vllm_server.py for what that takes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from adapters.llm import LLMTimeout, LLMUnavailable, open_backend
from components.vllm_engine import ENV_TOKEN, LISTED
from components.vllm_scaling import KV_CACHE, WAITING
from tests.contract import vllm_server
from tests.contract.llama_server import API_KEY, MODEL
from tests.contract.test_llm_switch import TOOL

pytestmark = pytest.mark.contract
RUNNING = "vllm:num_requests_running"
_PATIENCE, _SILENCE = 30.0, 5.0


def metric(url: str, name: str) -> float:
    """The sum of a metric's series. It must be there: what is not told would never make a pod come."""
    with urllib.request.urlopen(url.replace("/v1", "/metrics"), timeout=10) as answer:  # noqa: S310 - of loopback
        lines = answer.read().decode().splitlines()
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
    assert found, f"{name} is not told"
    return sum(found)


def await_metric(url: str, name: str, wanted: Callable[[float], bool]) -> float:
    deadline = time.monotonic() + _PATIENCE
    while not wanted(value := metric(url, name)):
        assert time.monotonic() < deadline, f"{name} is {value:g}"
        time.sleep(0.05)  # a metric announces nothing
    return value


def streaming(url: str, tokens: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """An answer of `tokens` tokens that has begun."""
    asked = {"model": MODEL, "stream": True, "max_tokens": tokens, "ignore_eos": True}
    body = json.dumps(asked | {"messages": [{"role": "user", "content": "Tell a long story."}]}).encode()
    server = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    server.request("POST", "/v1/chat/completions", body, headers)
    answer = server.getresponse()
    assert answer.status == 200
    assert answer.readline().startswith(b"data: ")
    return server, answer


def rest(answer: http.client.HTTPResponse) -> Iterator[str]:
    """The data lines that still come, until the answer ends or breaks."""
    with suppress(OSError, http.client.HTTPException):
        for line in answer:
            if line.startswith(b"data: "):
                yield line.decode().removeprefix("data: ").strip()


async def heard_out(parts: AsyncIterator[bytes]) -> None:
    async for _ in parts:
        pass


def test_what_pods_are_scaled_by_is_told(vllm: str) -> None:
    assert metric(vllm, WAITING) == metric(vllm, KV_CACHE) == 0
    with ExitStack() as held:
        for _ in range(vllm_server.AT_ONCE):
            held.enter_context(closing(streaming(vllm, 6000)[0]))
        assert metric(vllm, RUNNING) == vllm_server.AT_ONCE
        assert 0 < await_metric(vllm, KV_CACHE, lambda value: value > 0) <= 1
        with ThreadPoolExecutor(3) as more:
            waiting = [more.submit(streaming, vllm, 4) for _ in range(3)]
            await_metric(vllm, WAITING, lambda value: value == 3)
            held.close()
            for one in waiting:
                one.result(60)[0].close()
    await_metric(vllm, RUNNING, lambda value: value == 0)


def test_who_hangs_up_is_answered_no_more(vllm: str) -> None:
    server, answer = streaming(vllm, 8000)
    await_metric(vllm, RUNNING, lambda value: value == 1)
    answer.close()
    server.close()
    hung_up = time.monotonic()
    await_metric(vllm, RUNNING, lambda value: value == 0)
    assert time.monotonic() - hung_up < 2


def test_the_readiness_of_a_pod_wants_the_model_by_its_name(vllm: str) -> None:
    def asked(name: str, token: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], ENV_TOKEN: token, "http_proxy": "http://127.0.0.1:9"}
        command = [sys.executable, "-c", LISTED, f"{vllm}/models", name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert asked(MODEL, API_KEY).returncode == 0
    other = asked("mistral-7b-instruct", API_KEY)
    assert other.returncode == 1 and "mistral-7b-instruct is not served" in other.stderr
    refused = asked(MODEL, "wrong-token")
    assert refused.returncode == 1 and "401" in refused.stderr and "wrong-token" not in refused.stderr


def test_what_probes_and_prometheus_ask_takes_no_token_and_the_api_does(vllm: str) -> None:
    def status(path: str) -> int:
        try:
            with urllib.request.urlopen(vllm.replace("/v1", path), timeout=10) as answer:  # noqa: S310 - of loopback
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert [status(path) for path in ("/health", "/metrics", "/v1/models")] == [200, 200, 401]


def test_a_call_of_a_tool_is_read_as_one(vllm: str) -> None:
    with openai.OpenAI(base_url=vllm, api_key=API_KEY, max_retries=0) as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Buy it."}], tools=[TOOL], tool_choice="required",
            temperature=0, max_tokens=200,
        )  # type: ignore[call-overload]  # fmt: skip
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "place_order"
    assert json.loads(call.function.arguments)["side"] in ("buy", "sell")


def test_an_answer_under_way_ends_before_the_server_does(tmp_path: Path) -> None:
    if why := vllm_server.missing():
        pytest.skip(why)
    with vllm_server.serving(tmp_path) as (process, url):
        server, answer = streaming(url, 2000)
        with closing(server):
            process.send_signal(signal.SIGTERM)
            came = list(rest(answer))
        assert came[-1] == "[DONE]"
        assert json.loads(came[-2])["choices"][0]["finish_reason"] == "length"
        assert process.wait(30) == 0


def test_it_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    """Its engine ends then. What was under way comes to no end, and its server may wait for the caller to leave."""
    if why := vllm_server.missing():
        pytest.skip(why)
    with vllm_server.serving(tmp_path, shutdown_seconds=1) as (process, url):
        server, answer = streaming(url, 8000)
        with closing(server):
            server.sock.settimeout(_SILENCE)
            process.send_signal(signal.SIGTERM)
            assert "[DONE]" not in list(rest(answer))
        process.wait(_PATIENCE)


def test_what_it_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    if why := vllm_server.missing():
        pytest.skip(why)

    async def ask(process: subprocess.Popen[bytes], url: str) -> None:
        backend = open_backend("vllm", url, API_KEY, timeout=_SILENCE)
        asked = {"model": MODEL, "max_tokens": 8000, "ignore_eos": True}
        stream = await backend.stream(asked | {"messages": [{"role": "user", "content": "Tell a long story."}]})
        parts = aiter(stream)
        await anext(parts)
        process.send_signal(signal.SIGTERM)
        with pytest.raises((LLMUnavailable, LLMTimeout)):
            await heard_out(parts)
        await stream.close()
        await backend.close()

    with vllm_server.serving(tmp_path, shutdown_seconds=0) as (process, url):
        asyncio.run(ask(process, url))

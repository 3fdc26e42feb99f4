"""What the image `llm` runs: answers under way end before it does, and a pod's readiness asks it as it asks vLLM."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from components.vllm_engine import ENV_TOKEN, LISTED
from tests.contract import llama_server
from tests.contract.llama_server import API_KEY, MODEL

pytestmark = pytest.mark.contract
ALONE = ("--threads", "1")
"""On a busy machine threads that wait for each other take ten times as long as one."""


def _stream(url: str, tokens: int) -> Iterator[str]:
    """The data lines of an answer of `tokens` tokens."""
    asked = {"model": MODEL, "stream": True, "max_tokens": tokens, "ignore_eos": True}
    body = json.dumps(asked | {"messages": [{"role": "user", "content": "Tell a long story."}]}).encode()
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)) as server:
        server.request("POST", "/v1/chat/completions", body, headers)
        for line in server.getresponse():
            if line.startswith(b"data: "):
                yield line.decode().removeprefix("data: ").strip()


def _until_it_breaks(lines: Iterator[str]) -> list[str]:
    """What still came."""
    came = []
    with suppress(OSError, http.client.HTTPException):
        for line in lines:
            came.append(line)
    return came


def test_an_answer_under_way_ends_before_the_server_does(parts: Path, tmp_path: Path) -> None:
    with llama_server.serving(parts, tmp_path, "--shutdown-timeout", "300", *ALONE) as (process, url):
        lines = _stream(url, 20)
        next(lines)
        process.send_signal(signal.SIGTERM)
        rest = list(lines)
        assert rest[-1] == "[DONE]"
        assert json.loads(rest[-2])["choices"][0]["finish_reason"] == "length"
        assert process.wait(30) == 0
    assert "breaks 0 answers off" in (tmp_path / "llama.log").read_text()


def test_it_waits_no_longer_than_it_may(parts: Path, tmp_path: Path) -> None:
    with llama_server.serving(parts, tmp_path, "--shutdown-timeout", "0.3", *ALONE) as (process, url):
        lines = _stream(url, 900)
        next(lines)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert "[DONE]" not in _until_it_breaks(lines)
        assert process.wait(30) == 0
        assert time.monotonic() - told < 15
    assert "breaks 1 answers off" in (tmp_path / "llama.log").read_text()


def test_the_readiness_of_a_pod_wants_the_model_by_its_name(parts: Path, tmp_path: Path) -> None:
    def asked(url: str, name: str, token: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], ENV_TOKEN: token, "http_proxy": "http://127.0.0.1:9"}
        command = [sys.executable, "-c", LISTED, url, name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with llama_server.serving(parts, tmp_path) as (_, url):
        assert asked(f"{url}/models", MODEL, API_KEY).returncode == 0
        other = asked(f"{url}/models", "mistral-7b-instruct", API_KEY)
        assert other.returncode == 1 and "mistral-7b-instruct is not served" in other.stderr
        refused = asked(f"{url}/models", MODEL, "wrong-token")
        assert refused.returncode == 1 and "401" in refused.stderr and "wrong-token" not in refused.stderr


def test_a_model_that_is_not_there_is_named(parts: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"no model /nowhere\.gguf, so nothing could be answered"),
        llama_server.serving(parts, tmp_path, "--model", "/nowhere.gguf"),
    ):
        pass

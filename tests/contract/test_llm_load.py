"""Many streams at a time, through a switch and in a burst, against the orchestrator as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts import names
from contracts.stages import Stage
from tests.contract.faulty_llm import Faulty
from tests.contract.file_routes import FileRouteStore
from tests.contract.orchestrated import LLM, environment, route_at
from tests.contract.postgres_server import free_port
from tests.contract.slow_handshakes import SlowHandshakes, certificate

pytestmark = pytest.mark.contract

STREAMS = 1000
MOST_KIB_A_STREAM = 100
BURST = 300
MOST_KIB_ENCRYPTED = 160
"""Of a stream from an upstream with TLS: session, buffers of the event loop."""
_PATIENCE = 120.0
_PROCESS = [sys.executable, "-m", "tests.contract.orchestrator_process"]
_ROOT = Path(__file__).parents[2]


class Running:
    """An orchestrator's process."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._store = FileRouteStore(folder)
        self._said = folder / "adapters" / "pod-1.llm-orchestrator"
        self._process = process

    @property
    def log(self) -> str:
        """What it said last."""
        return (self._said.parents[1] / "log").read_text()[-3000:]

    @property
    def resident_kib(self) -> int:
        """Its resident memory."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    async def set(self, stage: Stage, epoch: int) -> None:
        """Write the route, and wait until it is followed."""
        self._store.write(route_at(stage, epoch), self._store.read(LLM).version)
        async with asyncio.timeout(_PATIENCE):
            while not self._said.exists() or json.loads(self._said.read_text())["epoch"] != epoch:
                await asyncio.sleep(0.02)  # a file announces nothing
                assert self._process.poll() is None


# On a full machine a thousand callers at once take their time; that is not what is tested.
UNHURRIED = {names.ENV_LLM_FIRST_TOKEN_TIMEOUT: "120", names.ENV_LLM_TIMEOUT: "120"}


@contextmanager
def running(folder: Path, urls: Mapping[str, str], limits: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    more = {names.ENV_HTTP_PORT: str(port), "PYTHONPATH": str(_ROOT), "PATH": os.environ["PATH"], **limits}
    env = environment(urls, "m", more)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*_PROCESS, str(folder)], env=env, stdout=log, stderr=log)
    deadline = time.monotonic() + _PATIENCE
    try:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)  # a server that starts announces nothing
        yield Running(folder, port, process)
    finally:
        process.terminate()
        process.wait(30)


async def stream(port: int) -> bytes:
    """One call, to the end of its answer: all bytes of it, with the frames of their transfer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"model":"default","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return await reader.read(-1)
    finally:
        writer.close()


@contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * STREAMS:
        pytest.skip(f"{STREAMS} streams need {3 * STREAMS} open files; at most {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * STREAMS), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_streams_live_through_a_switch_in_bounded_memory(tmp_path: Path) -> None:
    async def work(orchestrator: Running, hosted: Faulty, own: Faulty) -> None:
        await orchestrator.set(Stage.SHADOW, 1)
        assert b"[DONE]" in await stream(orchestrator.port)
        before = orchestrator.resident_kib
        hosted.fault = "held"
        calls = [asyncio.create_task(stream(orchestrator.port)) for _ in range(STREAMS)]
        deadline = time.monotonic() + _PATIENCE
        while hosted.streaming < STREAMS:
            assert time.monotonic() < deadline, (hosted.streaming, len(hosted.requests), len(own.requests))
            assert not any(call.done() for call in calls), orchestrator.log
            await asyncio.sleep(0.05)  # it is counted on another event loop
        held = orchestrator.resident_kib
        await orchestrator.set(Stage.SCALE, 2)
        # One over the limit waits in line, and goes to the new side once there is room.
        late = asyncio.create_task(stream(orchestrator.port))
        hosted.go()
        async with asyncio.timeout(_PATIENCE):
            answers = await asyncio.gather(*calls)
            assert b"x-crossover-backend: vllm" in await late
        assert sum(b"[DONE]" in answer and b"hosted: " in answer for answer in answers) == STREAMS
        assert len(own.requests) == 1
        assert (held - before) / STREAMS < MOST_KIB_A_STREAM

    with many_files(), Faulty("hosted") as hosted, Faulty("vllm") as own:
        limits = {**UNHURRIED, names.ENV_LLM_CONNECT_TIMEOUT: "60"}
        with running(tmp_path, {"hosted": hosted.url, "vllm": own.url}, limits) as made:
            asyncio.run(work(made, hosted, own))


def test_a_burst_of_new_streams_loses_none_where_connecting_is_slow(tmp_path: Path) -> None:
    """All of them would need longer to connect than one may; a few at a time do not."""

    async def work(orchestrator: Running, hosted: SlowHandshakes) -> None:
        await orchestrator.set(Stage.MVP, 1)
        before = orchestrator.resident_kib
        calls = [asyncio.create_task(stream(orchestrator.port)) for _ in range(BURST)]
        deadline = time.monotonic() + _PATIENCE
        while hosted.streaming < BURST:
            assert time.monotonic() < deadline, hosted.streaming
            assert not any(call.done() for call in calls), next(call.result() for call in calls if call.done())
            await asyncio.sleep(0.02)  # it is counted on other threads
        held = orchestrator.resident_kib
        hosted.go()
        answers = await asyncio.gather(*calls)
        assert sum(b"[DONE]" in answer for answer in answers) == BURST
        assert (held - before) / BURST < MOST_KIB_ENCRYPTED

    files = certificate(tmp_path)
    limits = {
        **UNHURRIED, "SSL_CERT_FILE": str(files[0]), names.ENV_LLM_CONNECTING: "8", names.ENV_LLM_CONNECT_TIMEOUT: "1.2"
    }  # fmt: skip
    with (
        many_files(),
        SlowHandshakes(files, 0.006) as hosted,
        running(tmp_path, {"hosted": hosted.url}, limits) as made,
    ):
        asyncio.run(work(made, hosted))

"""llm-orchestrator as a process of its own on loopback, in front of an endpoint that is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts import names
from contracts.llm import Endpoint, Endpoints
from contracts.stages import Component, Side, backend_of
from tests.contract.postgres_server import free_port

HOSTED = backend_of(Component.LLM_SERVICE, Side.OLD)
_ROOT = Path(__file__).parents[2]
_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers at `url`, which holds the version path."""

    url: str
    pid: int


def environment(port: int, base_url: str, models: Mapping[str, str], api_key: str) -> Mapping[str, str]:
    """What its pod would have, where `models` by alias are all at `base_url`, the hosted side, and no route is
    followed."""
    at = {alias: Endpoint(base_url=base_url, model=model) for alias, model in models.items()}
    return {
        names.ENV_HTTP_PORT: str(port),
        names.ENV_LLM_SERVICE_TYPE: "openai",
        names.ENV_LLM_ENDPOINTS: Endpoints({HOSTED: at}).to_json(),
        names.ENV_LLM_API_KEY: api_key,
    }


@contextmanager
def orchestrator(base_url: str, models: Mapping[str, str], api_key: str, log: Path) -> Iterator[Running]:
    """The orchestrator for as long as the block lasts. What it says goes to `log`."""
    port = free_port()
    given = {**environment(port, base_url, models, api_key), "PATH": os.environ["PATH"]}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.llm_orchestrator"], cwd=_ROOT, env=given, stdout=output, stderr=output
        )
    try:
        await_answer(f"http://127.0.0.1:{port}/readyz", process, log)
        yield Running(f"http://127.0.0.1:{port}/v1", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = _DEADLINE) -> None:
    """Wait until `process` answers at `url`. Raises RuntimeError with what it said where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - of loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # a port that nobody listens on announces nothing
    raise RuntimeError(f"it does not answer at {url} after {seconds:g} s: {log.read_text()[-2000:]}")

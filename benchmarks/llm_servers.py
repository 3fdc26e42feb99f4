"""Who answers in the benchmark of the language model service, each in a process of its own on loopback: the upstream,
the orchestrator in front of it, and LiteLLM's proxy in front of the same where it can be had."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.llm_upstream import INSTANT, PACED
from tests.contract.orchestrator_server import await_answer, orchestrator
from tests.contract.postgres_server import free_port

LITELLM = "litellm[proxy]==1.109.1"
LEFT_OUT = ("litellm-proxy-extras", "litellm-enterprise")
"""Parts of LiteLLM for its database and for paying users: the benchmark uses neither, and not every index has them."""
ALIASES = {"default": INSTANT, "trading": PACED}
_KEY = "bench"
_PEER_SECONDS = 300.0
"""Its first start takes a minute and more on two busy cores."""
_TICK = os.sysconf("SC_CLK_TCK")


class NoPeer(RuntimeError):
    """LiteLLM cannot be had or does not start here: why."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the upstream's models, by the names that they have on it."""

    port: int
    pid: int
    instant: str
    paced: str

    def cpu(self) -> float:
        """CPU seconds of the process that answers, all threads, so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident(self) -> int:
        """Resident bytes of the process that answers."""
        return self._status("VmRSS")

    def begin_peak(self) -> None:
        """The peak of its resident memory begins anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most that it had resident, in bytes, since begin_peak."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def allow_many_files() -> None:
    """A stream takes two files of the orchestrator: processes that are started from here on may have as many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def upstream(folder: Path) -> Iterator[Way]:
    """The upstream itself."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.llm_upstream", str(port)]
    with _started(command, dict(os.environ), folder / "upstream.log") as process:
        await_answer(f"http://127.0.0.1:{port}/v1/models", process, folder / "upstream.log")
        yield Way(port, process.pid, INSTANT, PACED)


@contextmanager
def orchestrated(behind: Way, folder: Path) -> Iterator[Way]:
    """The orchestrator in front of `behind`."""
    url = f"http://127.0.0.1:{behind.port}/v1"
    with orchestrator(url, ALIASES, _KEY, folder / "orchestrator.log") as running:
        yield Way(int(running.url.split(":")[2].split("/")[0]), running.pid, *ALIASES)


def install_litellm(folder: Path) -> Path:
    """Make an environment with LiteLLM in `folder`; its command. Raises NoPeer."""
    made, overrides = folder / "litellm", folder / "overrides.txt"
    overrides.write_text("".join(f'{name} ; python_version < "3"\n' for name in LEFT_OUT))
    uv = str(Path(sys.executable).parent / "uv")
    for command in (
        [uv, "venv", "-q", "--python", sys.executable, str(made)],
        [
            uv,
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "--python",
            str(made / "bin/python"),
            "--override",
            str(overrides),
            LITELLM,
        ],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoPeer(str(error)) from error
        if done.returncode:
            raise NoPeer(" ".join(done.stderr.split())[-400:])
    return made / "bin/litellm"


@contextmanager
def litellm(behind: Way, folder: Path) -> Iterator[Way]:
    """LiteLLM's proxy in front of `behind`: one worker, no database, no callbacks. Raises NoPeer."""
    program, port, log = install_litellm(folder), free_port(), folder / "litellm.log"
    target = {"api_base": f"http://127.0.0.1:{behind.port}/v1", "api_key": _KEY}
    models = [
        {"model_name": alias, "litellm_params": {"model": f"openai/{model}", **target}}
        for alias, model in ALIASES.items()
    ]
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))  # JSON is YAML
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(folder), "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the web at its start
        # As the orchestrator, it asks its callers on loopback for no key.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }  # fmt: skip
    with _started(command, environment, log) as process:
        try:
            await_answer(f"http://127.0.0.1:{port}/health/liveliness", process, log, _PEER_SECONDS)
        except RuntimeError as error:
            raise NoPeer(str(error)[-1000:]) from error
        yield Way(port, process.pid, *ALIASES)


@contextmanager
def _started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

"""The real backtesting service as a process, with the reference engine, which loads nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contract.orchestrator_server import await_answer
from tests.contract.postgres_server import free_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A service, as its clients and its murderers know it."""

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def backtest_service(folder: Path, results: Path | None = None, **more: str) -> Iterator[Running]:
    """What it keeps lies in `results`, or in `folder`, as its log does; `more` is in its environment."""
    port = free_port()
    env = {
        "HTTP_PORT": str(port),
        "RESULTS_PATH": str((results or folder) / "runs"),
        "BACKTESTING_ENGINE": "memory",
        "PATH": os.environ["PATH"],
        **more,
    }
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.backtesting_service"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        await_answer(f"http://127.0.0.1:{port}/readyz", process, folder / "log")
        yield Running(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(30)

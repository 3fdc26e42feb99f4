"""The real backtesting service as a process, with the reference engine, which loads nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract.orchestrator_server import await_answer
from tests.contract.postgres_server import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def backtest_service(folder: Path) -> Iterator[str]:
    """Its address; what it keeps lies in `folder`."""
    port = free_port()
    env = {
        "HTTP_PORT": str(port),
        "RESULTS_PATH": str(folder / "runs"),
        "BACKTESTING_ENGINE": "memory",
        "PATH": os.environ["PATH"],
    }
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.backtesting_service"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        await_answer(f"http://127.0.0.1:{port}/readyz", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)

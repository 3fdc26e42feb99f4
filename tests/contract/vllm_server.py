"""A real vLLM with a real model, begun as `components/vllm_engine.py` has a pod begin it. It takes a GPU.

CROSSOVER_VLLM_MODEL names the model, a folder or one at the hub, and where `vllm` is not in PATH CROSSOVER_VLLM names
the program. With neither, tests of it are skipped: nobody has a GPU by chance.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.vllm_engine import CACHE, PORT
from tests.components.vllm_rendering import Rendered
from tests.contract.llama_server import API_KEY, MODEL
from tests.contract.orchestrator_server import await_answer
from tests.contract.postgres_server import free_port

ENV_MODEL, ENV_PROGRAM = "CROSSOVER_VLLM_MODEL", "CROSSOVER_VLLM"
AT_ONCE = 8
"""Questions that are answered at once, so that few make a queue."""
LONGEST = 8192
"""Tokens of a question with its answer: what the model that is tested with can hold."""
_STARTING = 420.0
"""It loads, compiles, and captures graphs."""
_APP = "own-llm-default"


def missing() -> str | None:
    """Why there is no real vLLM here; None where there is one."""
    if ENV_MODEL not in os.environ:
        return f"a real vLLM takes a GPU, and {ENV_MODEL} names no model"
    return None if shutil.which(_program()) else f"there is no {_program()}"


@contextmanager
def serving(folder: Path, **own: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running server, and its base URL with the version path. `own`: further config of our own models."""
    made, port, log = rendered(**own), free_port(), folder / "vllm.log"
    moved = {f"--port={PORT}": f"--port={port}", "--host=0.0.0.0": "--host=127.0.0.1"}
    arguments = [moved.get(argument, argument) for argument in made["args"]]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_program(), *made["command"][1:], *arguments], env=_environment(made, folder), stdout=output, stderr=output
        )
    try:
        await_answer(f"http://127.0.0.1:{port}/health", process, log, _STARTING)
        yield process, f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def rendered(**own: Any) -> dict[str, Any]:
    """The container of its pod."""
    model = {
        "model": os.environ[ENV_MODEL],
        "served_name": MODEL,
        "max_model_len": LONGEST,
        "max_num_seqs": AT_ONCE,
        # Two fit on one GPU: that of the session, and one that a test ends.
        "gpu_memory_utilization": 0.3,
        "tool_parser": "hermes",
    }
    return Rendered(models={"default": model}, aliases={"trading": "default"}, **own).container(_APP)


def _environment(made: dict[str, Any], folder: Path) -> dict[str, str]:
    """That of the container, with a folder of ours for its volume."""
    given = {entry["name"]: entry.get("value", API_KEY) for entry in made["env"]}
    return {
        **{name: value.replace(CACHE, str(folder / "cache"), 1) for name, value in given.items()},
        "PATH": os.environ["PATH"],
    }


def _program() -> str:
    return os.environ.get(ENV_PROGRAM, "vllm")

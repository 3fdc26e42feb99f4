"""A real llama.cpp server with a real small model on loopback, for the time of a test session.

The server is looked for in CROSSOVER_LLAMA_SERVER, on the PATH and in the cache of the image builder; the
model (GGUF) in CROSSOVER_LLAMA_MODEL and in the same cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract.postgres_server import free_port

API_KEY = "llama-contract-key"
MODEL = "small-model"
_DEADLINE = 90.0


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossover"


def find_llama() -> tuple[Path, Path] | None:
    """The server's binary and a model, or None."""
    named = os.environ.get("CROSSOVER_LLAMA_SERVER") or shutil.which("llama-server")
    servers = [Path(named)] if named else sorted(_cache().glob("**/llama-server"))
    model = os.environ.get("CROSSOVER_LLAMA_MODEL")
    models = [Path(model)] if model else sorted(_cache().glob("**/*.gguf"))
    return (servers[0], models[0]) if servers and models else None


@contextmanager
def llama(server: Path, model: Path, folder: Path) -> Iterator[str]:
    """A running server; its base URL, with the version path."""
    port = free_port()
    log = folder / "llama.log"
    libraries = f"{server.parent}:{server.parent.parent / 'lib'}"
    command = [str(server), "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "--ctx-size", "1024"]
    command += ["--alias", MODEL, "--threads", "2", "--api-key", API_KEY]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries}
        )
    try:
        _wait(port, process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"llama-server ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # it loads the model, and announces nothing
    raise RuntimeError(f"llama-server is not ready after {_DEADLINE:g} s: {log.read_text()[-2000:]}")

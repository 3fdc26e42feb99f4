"""Runs a plugin that is a Python program, and streams what it writes as the engine wants it."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import grpc
from pulumi.runtime.proto import language_pb2

END_SECONDS = 3.0
"""How long a plugin that is told to end may take."""
_CHUNK = 65536


def start(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it, with its output to be read."""
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def streamed(
    process: subprocess.Popen[bytes], context: grpc.ServicerContext
) -> Iterator[language_pb2.RunPluginResponse]:
    """What `process` writes, as it does, and its exit status at the end. It is ended with the call."""
    if not context.add_callback(lambda: _end(process)):  # the call is over already
        _end(process)
    written: queue.SimpleQueue[language_pb2.RunPluginResponse | None] = queue.SimpleQueue()
    assert process.stdout is not None
    assert process.stderr is not None
    for pipe, is_error in ((process.stdout, False), (process.stderr, True)):
        threading.Thread(target=_pass_on, args=(pipe, is_error, written), daemon=True).start()
    for _ in range(2):  # each pipe comes to its end
        while (response := written.get()) is not None:
            yield response
    yield language_pb2.RunPluginResponse(exitcode=process.wait())


def _pass_on(
    pipe: IO[bytes], is_error: bool, written: queue.SimpleQueue[language_pb2.RunPluginResponse | None]
) -> None:
    with pipe:
        while text := pipe.read1(_CHUNK):  # type: ignore[attr-defined]  # a pipe of Popen is a BufferedReader
            made = {"stderr": text} if is_error else {"stdout": text}
            written.put(language_pb2.RunPluginResponse(**made))
    written.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()

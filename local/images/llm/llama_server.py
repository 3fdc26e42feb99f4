"""llama.cpp's HTTP server with the options of `llama-server` that a pod needs. OpenAI's API under /v1, GET /health.

The server itself is llama.cpp's own, as a library. It breaks off what is under way when it is told to end; here it may
wait first.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MODEL = Path("/opt/models/smollm2-135m-instruct.gguf")
UNDER_WAY = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
POLL_SECONDS = 0.1
SENT_AFTER = 5
"""So many times in a row nothing must be under way: the last words of an answer are sent after they are counted."""


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line, named as `llama-server` names it."""
    parser = argparse.ArgumentParser(prog="llama-server", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="a GGUF file")
    parser.add_argument("--alias", help="the model's name for clients")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx-size", type=int, default=4096, help="tokens of context, shared by all slots")
    parser.add_argument("--parallel", type=int, default=2, help="questions answered at once")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--api-key-file", type=Path, help="a key a line; without it everybody is answered")
    parser.add_argument(
        "--shutdown-timeout", type=float, default=0, help="seconds that answers under way may take to end; 0: none"
    )
    return parser.parse_args(arguments)


def under_way(metrics: str) -> int:
    """How many questions are being answered, or wait for it, by the server's metrics. Raises ValueError where they do
    not say."""
    lines = (line.split() for line in metrics.splitlines() if not line.startswith("#"))
    counts = [float(words[1]) for words in lines if words and words[0] in UNDER_WAY]
    if len(counts) != len(UNDER_WAY):
        raise ValueError(f"the server's metrics name {len(counts)} of {', '.join(UNDER_WAY)}")
    return int(sum(counts))


def drain(metrics: Callable[[], str], seconds: float, pause: Callable[[float], None] = time.sleep) -> int:
    """Wait until nothing is under way, at most so long; how many questions then are."""
    deadline, idle, left = time.monotonic() + seconds, 0, 0
    while idle < SENT_AFTER and time.monotonic() < deadline:
        left = under_way(metrics())
        idle = 0 if left else idle + 1
        pause(POLL_SECONDS)
    return left


def main(arguments: list[str]) -> None:
    """Serve until told to end."""
    import xllamacpp  # type: ignore[import-not-found]  # only the image holds it

    given = options(arguments)
    if not given.model.is_file():
        there = ", ".join(sorted(map(str, MODEL.parent.glob("*.gguf")))) or "none"
        sys.exit(f"there is no model {given.model}, so nothing could be answered; the image has {there}")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(given.model)
    parameters.model_alias = {given.alias or given.model.stem}
    parameters.hostnames = [given.host]
    parameters.port = given.port
    parameters.n_ctx = given.ctx_size
    parameters.n_parallel = given.parallel
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = given.threads
        threads.poll = 0  # threads that wait sleep: spinning would take the CPU from everything beside it
    parameters.endpoint_metrics = True
    if given.api_key_file is not None:
        keys = given.api_key_file.read_text().split()
        if not keys:
            sys.exit(f"{given.api_key_file} holds no key, so the server would answer everybody; put one in")
        parameters.api_keys = keys
    # Before the server's own threads begin, so that they inherit it and the signals wait for sigwait below.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = xllamacpp.Server(parameters)
    print(f"{given.model.name} at {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if given.shutdown_timeout:
        left = drain(server.handle_metrics, given.shutdown_timeout)
        print(f"ends, and breaks {left} answers off", flush=True)
    # The server's own end stops sending at once and then waits half a minute for who listens. It has nothing to save.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

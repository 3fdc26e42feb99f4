"""llama.cpp's HTTP server with the options of `llama-server` that a pod needs. OpenAI's API under /v1, GET /health.

The server itself is llama.cpp's own, as a library.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

MODEL = Path("/opt/models/smollm2-135m-instruct.gguf")


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
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Serve until told to end."""
    import xllamacpp  # type: ignore[import-not-found]  # only the image holds it

    given = options(arguments)
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


if __name__ == "__main__":
    main(sys.argv[1:])

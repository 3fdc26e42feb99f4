"""One gRPC server a plugin process, and its life: port on stdout, quiet end on a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent import futures

import grpc

MAX_MESSAGE_BYTES = 400 * 1024 * 1024
"""As in Pulumi's own plugins (rpcutil.GrpcChannelOptions)."""
MAX_REQUESTS = 256
"""Requests served at once. A waiting create holds its thread, so this bounds `--parallel`."""
PARENT_CHECK_SECONDS = 1.0

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


def engine_address(arguments: list[str]) -> str | None:
    """The engine's address, which the CLI passes as the last positional argument."""
    positional: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--tracing":
            skip = True
        elif not argument.startswith("-"):
            positional.append(argument)
    return positional[-1] if positional else None


def serve(register: Callable[[grpc.Server], None], on_stop: Callable[[], None]) -> int:
    """Serves until SIGINT, SIGTERM or the death of the CLI; calls `on_stop` and ends the process.

    The CLI ends its plugins with SIGINT (first Cancel, then the signal), so that is the
    ordinary end and prints nothing. Does not return where requests are still running.
    """
    server = grpc.server(futures.ThreadPoolExecutor(MAX_REQUESTS), options=CHANNEL_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    parent = os.getppid()
    server.start()
    print(port, flush=True)
    while not stopped.wait(PARENT_CHECK_SECONDS):
        if os.getppid() != parent:  # the CLI was killed: nobody will ever stop this process
            break
    on_stop()
    server.stop(None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # worker threads may still wait for a cluster; an ordinary exit would join them

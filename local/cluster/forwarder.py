"""Carries TCP connections between the host's loopback and the cluster's network namespace.

A socket belongs to the network namespace it was made in, wherever its process is. So a
listening socket made on the host and inherited by a process inside the cluster accepts the
host's connections there (`serve`), and a thread that visits the cluster's namespace can make
sockets that connect there for a process on the host (`cluster_socket`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable

CHUNK = 256 * 1024
Connect = Callable[[], Awaitable[socket.socket]]


async def serve(listener: socket.socket, connect: Connect) -> None:
    """Carry each connection that `listener` accepts to one that `connect` makes. Never returns."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    tasks: set[asyncio.Task[None]] = set()
    while True:
        near, _ = await loop.sock_accept(listener)
        task = asyncio.create_task(_carry(near, connect))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _carry(near: socket.socket, connect: Connect) -> None:
    with near, contextlib.suppress(OSError):
        near.setblocking(False)
        far = await connect()
        with far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(_pump(near, far), _pump(far, near))


async def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then end the target's input. An error ends both."""
    loop = asyncio.get_running_loop()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    try:
        while count := await loop.sock_recv_into(source, buffer):
            await loop.sock_sendall(target, view[:count])
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def cluster_socket(pid: int) -> socket.socket:
    """A TCP socket that belongs to the network namespace of process `pid`. Needs root.

    Raises OSError where the process is gone.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def visit() -> None:
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            try:
                os.setns(namespace, os.CLONE_NEWNET)
                made.append(socket.socket())
            finally:
                os.close(namespace)
        except OSError as error:
            failed.append(error)

    # The namespace is the thread's own; the thread ends with it.
    thread = threading.Thread(target=visit)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def to_port(port: int) -> Connect:
    """Connections to a port of this process's own loopback."""

    async def connect() -> socket.socket:
        far = socket.socket()
        far.setblocking(False)
        await asyncio.get_running_loop().sock_connect(far, ("127.0.0.1", port))
        return far

    return connect


def into_cluster(pid: int, address: str, port: int) -> Connect:
    """Connections to an address inside the cluster, made from the host."""

    async def connect() -> socket.socket:
        far = await asyncio.to_thread(cluster_socket, pid)
        far.setblocking(False)
        await asyncio.get_running_loop().sock_connect(far, (address, port))
        return far

    return connect


def main() -> None:
    """Serve an inherited listening socket: the API's way out of the cluster's namespace."""
    parser = argparse.ArgumentParser(prog="python -m local.cluster.forwarder")
    parser.add_argument("--fd", type=int, required=True, help="the inherited listening socket")
    parser.add_argument("--port", type=int, required=True, help="the port on this namespace's loopback")
    arguments = parser.parse_args()
    asyncio.run(serve(socket.socket(fileno=arguments.fd), to_port(arguments.port)))


if __name__ == "__main__":
    main()

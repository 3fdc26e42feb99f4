"""A TCP relay on loopback that holds every byte up: what a slow network does, without a kernel that can."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_TURNS = 20


class SlowLink:
    """Relays connections to `target` on loopback; each piece arrives after a delay drawn from `delay` (s), none
    overtakes another. The delays are seeded."""

    def __init__(self, target: int, delay: tuple[float, float], seed: int) -> None:
        self._target = target
        self._delay = delay
        self._random = random.Random(seed)
        self._closing = False
        self._relays: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(lambda: asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End all connections."""

        async def end() -> None:
            self._closing = True
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())  # a server that is closed trips over what it just accepted
            # What was accepted just before takes the loop a few turns until it is told, and again until it is closed.
            for _ in range(_TURNS):
                relays = tuple(self._relays)
                for relay in relays:
                    relay.cancel()
                await asyncio.gather(*relays, return_exceptions=True)
                await asyncio.sleep(0)
            self._server.close()

        self._call(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call[T](self, coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine(), self._loop).result(10)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.close()
            return
        task = self._loop.create_task(self._relay(reader, writer))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        task.add_done_callback(lambda _: writer.close())  # here, for a task that is cancelled at once never begins

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                back.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pieces are read as they come and written when they are due, so that a delay costs no throughput."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            while True:
                piece = await source.read(65536)
                await pieces.put((self._loop.time() + self._random.uniform(*self._delay), piece))
                if not piece:
                    return

        reading = asyncio.create_task(read())
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(due - self._loop.time())
                if not piece:
                    return
                sink.write(piece)
                await sink.drain()
        except OSError:
            return
        finally:
            reading.cancel()
            sink.close()

"""A TCP relay on loopback that holds every byte up: what a slow network does, without a kernel that can."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class SlowLink:
    """Relays connections to `target` on loopback; each piece arrives after a delay drawn from `delay` (s), none
    overtakes another. The delays are seeded."""

    def __init__(self, target: int, delay: tuple[float, float], seed: int) -> None:
        self._target = target
        self._delay = delay
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(lambda: asyncio.start_server(self._relay, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End all connections."""

        async def end() -> None:
            self._server.close()
            await asyncio.sleep(0)  # what was accepted just before has its task by then
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        self._call(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call[T](self, coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine(), self._loop).result(10)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            return
        finally:
            writer.close()

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

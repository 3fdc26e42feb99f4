"""A client of the chat API that costs little: one kept connection, no parsing of what it does not need."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.llm_upstream import CHUNKS

_DONE, _WORD = b"data: [DONE]", b" word"
_TIMEOUT = 120.0


class NotWhole(RuntimeError):
    """An answer that is not what the upstream sent: what came."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds from the request to the first part of the answer's body, and to its end."""

    first: float
    last: float


def request(port: int, model: str, *, stream: bool) -> bytes:
    """The request as bytes."""
    messages = [
        {"role": "system", "content": "You comment on trading signals for a log. Answer with one short sentence."},
        {"role": "user", "content": "The sma_cross strategy gave a buy signal for SP500 at 1402.25. What does it say?"},
    ]
    body = json.dumps({"model": model, "messages": messages, "max_tokens": CHUNKS, "stream": stream}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer bench\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def call(self, sent: bytes, *, stream: bool) -> Timed:
        """Send a request and read its whole answer. Raises NotWhole."""
        begun = time.perf_counter()
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise NotWhole(f"{head!r} {await self._reader.read(2000)!r}")
        if b"chunked" in head.lower():
            first, body = await self._chunks()
        else:
            first, body = await self._piece(head)
        last = time.perf_counter()
        if body.count(_WORD) != CHUNKS or (_DONE in body) != stream:
            raise NotWhole(f"{len(body)} bytes with {body.count(_WORD)} words: {body[-300:]!r}")
        return Timed(first - begun, last - begun)

    async def _chunks(self) -> tuple[float, bytes]:
        first, body = 0.0, bytearray()
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
            first = first or time.perf_counter()
        await self._reader.readexactly(2)
        return first, bytes(body)

    async def _piece(self, head: bytes) -> tuple[float, bytes]:
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:")
        body = await self._reader.readexactly(length)
        return time.perf_counter(), body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection to 127.0.0.1:`port` for as long as the block lasts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def one_after_the_other(port: int, model: str, count: int, *, stream: bool) -> list[Timed]:
    """`count` calls by one client."""
    sent = request(port, model, stream=stream)
    async with connected(port) as connection:
        return [await connection.call(sent, stream=stream) for _ in range(count)]


async def at_once(port: int, model: str, clients: int, seconds: float) -> int:
    """How many calls `clients` get answered in `seconds`, each as fast as it can."""
    sent = request(port, model, stream=False)

    async def work(until: float) -> int:
        count = 0
        async with connected(port) as connection:
            while time.perf_counter() < until:
                await connection.call(sent, stream=False)
                count += 1
        return count

    until = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(work(until) for _ in range(clients))))


@dataclass(frozen=True, slots=True)
class Held:
    """What became of many streams: those that came whole, what went wrong with the others, and how many were under way
    at the same time at most."""

    whole: tuple[Timed, ...]
    lost: tuple[BaseException, ...]
    most: int


async def hold_streams(port: int, model: str, count: int, rate: float) -> Held:
    """Begin `count` streams, `rate` a second, each on a connection of its own, and hear all of them out."""
    sent = request(port, model, stream=True)
    under_way = most = 0

    async def one(number: int) -> Timed:
        nonlocal under_way, most
        await asyncio.sleep(number / rate)  # the schedule
        async with asyncio.timeout(_TIMEOUT), connected(port) as connection:
            under_way += 1
            most = max(most, under_way)
            try:
                return await connection.call(sent, stream=True)
            finally:
                under_way -= 1

    ended = await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)
    whole = tuple(one for one in ended if isinstance(one, Timed))
    return Held(whole, tuple(one for one in ended if isinstance(one, BaseException)), most)

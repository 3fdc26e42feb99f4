"""The benchmark's own upstream and client: what one sends is what the other calls whole, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks import llm_upstream
from benchmarks.llm_calls import NotWhole, at_once, connected, hold_streams, one_after_the_other, request
from benchmarks.llm_upstream import INSTANT, PACED, Upstream


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_of_one_connection_come_whole_one_after_the_other(stream: bool) -> None:
    async def work() -> None:
        async with upstream() as port:
            taken = await one_after_the_other(port, INSTANT, 5, stream=stream)
            assert len(taken) == 5 and all(0 < one.first <= one.last for one in taken)
            assert await at_once(port, INSTANT, 3, 0.05) >= 3

    asyncio.run(work())


def test_streams_are_held_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_upstream, "PACE_SECONDS", 0.05)

    async def work() -> None:
        async with upstream() as port:
            held = await hold_streams(port, PACED, 20, 400)
            assert (len(held.whole), held.lost, held.most) == (20, (), 20)
            assert min(one.last for one in held.whole) >= llm_upstream.CHUNKS * 0.05
            assert len((await hold_streams(port, "nobody", 2, 400)).lost) == 2

    asyncio.run(work())


def test_what_is_not_whole_is_no_answer() -> None:
    async def work() -> None:
        async with upstream() as port, connected(port) as connection:
            await connection.call(request(port, INSTANT, stream=False), stream=True)

    with pytest.raises(NotWhole, match="bytes with 8 words"):
        asyncio.run(work())

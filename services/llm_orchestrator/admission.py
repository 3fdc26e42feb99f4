"""How many calls are in hand at a time, and how many wait. Who comes beyond that is told at once."""

from __future__ import annotations

import asyncio
from collections import deque

from services.common import metrics
from services.llm_orchestrator.errors import Overloaded


class Admission:
    """`limit` calls in hand, `length` that wait for at most `seconds`, first come first served; bodies of `held` bytes
    in all. Owned by one event loop."""

    def __init__(self, limit: int, length: int, seconds: float, held: int) -> None:
        self._free = limit
        self._limit = limit
        self._length = length
        self._seconds = seconds
        self._room = held
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Take a place; give it back with leave(). Raises Overloaded."""
        if self._free > 0:
            self._free -= 1
            return
        if len(self._waiting) >= self._length:
            metrics.LLM_SHED.labels("queue_full").inc()
            raise Overloaded(f"{self._limit} calls are in hand and {self._length} wait: nothing was asked")
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        metrics.LLM_QUEUED.set(len(self._waiting))
        try:
            async with asyncio.timeout(self._seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                # It was ours already when we gave up.
                self.leave()
            elif place in self._waiting:
                self._waiting.remove(place)
            if not isinstance(error, TimeoutError):
                raise
            metrics.LLM_SHED.labels("queue_seconds").inc()
            text = f"{self._limit} calls are in hand, and none ended within {self._seconds:g} s: nothing was asked"
            raise Overloaded(text) from None
        finally:
            metrics.LLM_QUEUED.set(len(self._waiting))

    def leave(self) -> None:
        """Give a place back: to who waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def hold(self, size: int) -> None:
        """Take `size` bytes more for a body. Raises Overloaded."""
        if size > self._room:
            metrics.LLM_SHED.labels("memory").inc()
            raise Overloaded("the requests in hand take all the memory there is for them: nothing was asked")
        self._room -= size

    def let_go(self, size: int) -> None:
        """Give `size` bytes back."""
        self._room += size

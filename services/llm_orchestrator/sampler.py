"""Sends some calls to the side that did not answer them, off the caller's path.

A sample waits in a short queue for one of a few workers. Where the queue is full or the budget spent it is dropped:
nothing here is ever waited for by a caller, and nothing that happens here is told to the breaker of the calls.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from dataclasses import dataclass

from adapters.llm import LLMError, LLMRefused
from services.common import metrics
from services.llm_orchestrator.budgets import TokenBudget
from services.llm_orchestrator.figures import Figures
from services.llm_orchestrator.lanes import Lane, rest_of
from services.llm_orchestrator.requests import Asked

_WAITING = 16
"""Samples that wait. Each is as large as a call's body, so there are few."""
_BYTES_A_TOKEN = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sample:
    lane: Lane
    asked: Asked
    epoch: int
    tokens: int


class Sampler:
    """`tokens` a minute, `concurrency` at a time, each for at most `seconds`. Owned by one event loop."""

    def __init__(self, figures: Figures, *, tokens: float, concurrency: int, seconds: float = 120.0) -> None:
        self._figures = figures
        self._budget = TokenBudget(tokens)
        self._concurrency = concurrency
        self._seconds = seconds
        self._waiting: deque[_Sample] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._rests: dict[Lane, float] = {}

    def offer(self, lane: Lane, asked: Asked, epoch: int) -> None:
        """Take a sample, or drop it. Never waits, never raises."""
        tokens = asked.tokens
        if len(self._waiting) >= _WAITING:
            self._dropped(lane, "queue_full")
        elif time.monotonic() < self._rests.get(lane, 0.0) or lane.resting:
            self._dropped(lane, "resting")
        elif not self._budget.take(tokens, time.monotonic()):
            self._dropped(lane, "budget")
        else:
            self._waiting.append(_Sample(lane, asked, epoch, tokens))
            if len(self._workers) < self._concurrency:
                worker = asyncio.create_task(self._work(), name="llm-sampler")
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        self._waiting.clear()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    @staticmethod
    def _dropped(lane: Lane, why: str) -> None:
        metrics.LLM_SAMPLES.labels(lane.side, why).inc()

    async def _work(self) -> None:
        """Answer samples until none waits."""
        while self._waiting:
            sample = self._waiting.popleft()
            try:
                async with asyncio.timeout(self._seconds):
                    spent = await self._ask(sample)
            except (LLMError, TimeoutError) as error:
                spent = 0
                self._failed(sample, error)
            except Exception as error:
                spent = 0
                _log.exception("a sample failed")
                self._failed(sample, error)
            self._budget.settle(sample.tokens, spent or sample.tokens)

    async def _ask(self, sample: _Sample) -> int:
        """Get the whole answer and throw it away; the tokens it took, 0 where that is not known."""
        lane, side = sample.lane, sample.lane.side
        content = sample.asked.content(lane.model)
        at = time.perf_counter()
        if sample.asked.stream:
            stream, size = await lane.backend.relay_stream(content, {}), 0
            try:
                async for chunk in stream:
                    if not size:
                        self._figures.first_byte(sample.epoch, side, time.perf_counter() - at)
                    # An event carries a token, or a few.
                    size += chunk.count(b"data:")
            finally:
                await stream.close()
            spent = size + len(content) // _BYTES_A_TOKEN
        else:
            answer = await lane.backend.relay(content, {})
            self._figures.first_byte(sample.epoch, side, time.perf_counter() - at)
            spent = _usage(answer.body)
        metrics.LLM_SAMPLES.labels(side, "ok").inc()
        self._figures.count(sample.epoch, side, "samples")
        return spent

    def _failed(self, sample: _Sample, error: Exception) -> None:
        side = sample.lane.side
        if isinstance(error, LLMRefused) and error.status == 429:
            self._rests[sample.lane] = time.monotonic() + rest_of(error.retry_after)
        metrics.LLM_SAMPLES.labels(side, error.failure.value if isinstance(error, LLMError) else "timeout").inc()
        self._figures.count(sample.epoch, side, "samples")
        self._figures.count(sample.epoch, side, "sample_errors")


def _usage(body: bytes) -> int:
    """The tokens that a whole answer says it took; 0 where it does not."""
    try:
        return int(json.loads(body)["usage"]["total_tokens"])
    except (ValueError, KeyError, TypeError):
        return 0

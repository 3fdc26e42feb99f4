"""Sends a call to the side that the route chooses, and to the other one where that fails before its first token."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from adapters.llm import Answer, ChatStream, Failure, LLMError, LLMRefused, LLMTimeout, LLMUnavailable
from services.common import metrics
from services.llm_orchestrator.budgets import RetryBudget
from services.llm_orchestrator.choosing import Plan, after
from services.llm_orchestrator.errors import Unanswered
from services.llm_orchestrator.figures import Figures
from services.llm_orchestrator.lanes import Lane, Lanes
from services.llm_orchestrator.requests import Asked
from services.llm_orchestrator.sampler import Sampler

_SAY_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a caller. `headers` go along to the backend, the same with each attempt."""

    alias: str
    asked: Asked
    headers: Mapping[str, str]
    conversation: str | None = None
    """What the caller calls its conversation, if it does."""


@dataclass(slots=True)
class Begun:
    """An answer that has begun: whole, or a stream with its first chunk and the rest. Then close()."""

    plan: Plan
    lane: Lane
    number: int
    figures: Figures
    answer: Answer | None = None
    stream: ChatStream | None = None
    first: bytes = b""
    rest: AsyncIterator[bytes] | None = None
    """Raises LLMError where it breaks off; nobody else is asked then."""

    def broke(self, error: LLMError) -> None:
        """Count what broke off the answer."""
        side = self.lane.side
        metrics.LLM_FAILURES.labels(side, error.failure.value).inc()
        self.figures.count(self.plan.epoch, side, "errors")
        self.figures.count(self.plan.epoch, side, "failed")
        self.lane.fail(self.number, error.failure)

    async def close(self) -> None:
        """End the backend's work, where it is not over."""
        if self.stream is not None:
            close = getattr(self.rest, "aclose", None)
            if close is not None:
                await close()
            await self.stream.close()
        self.figures.in_flight(self.lane.side, -1)
        metrics.LLM_IN_FLIGHT.labels(self.lane.side).dec()


class Router:
    """`plan` tells what the route means now. Owned by one event loop.

    A call that has begun goes on where it began, whatever the route says meanwhile.
    """

    def __init__(
        self,
        lanes: Lanes,
        plan: Callable[[], Plan],
        figures: Figures,
        sampler: Sampler,
        *,
        first_token: float = 30.0,
        budget: RetryBudget | None = None,
        draw: Callable[[], float] = lambda: random.random() * 100,  # noqa: S311 - which calls are samples is no secret
    ) -> None:
        self.lanes = lanes
        self._plan = plan
        self._figures = figures
        self._sampler = sampler
        self._first_token = first_token
        self._budget = budget or RetryBudget()
        self._draw = draw
        self._unsaid: Counter[str] = Counter()
        self._says_next: dict[str, float] = {}

    async def begin(self, call: Call) -> Begun:
        """The answer, once it has begun. Raises LLMError: what the caller is to be told."""
        plan = self._plan()
        chosen = plan.active
        if plan.other is not None:
            chosen = plan.chosen(call.asked.conversation(call.conversation) if plan.divided else "")
        other = plan.other if chosen == plan.active else plan.active
        self._budget.call(time.monotonic())
        failures: list[tuple[str, LLMError]] = []
        side: str | None = chosen
        asked = False
        while side is not None:
            outcome, sent = await self._attempt(call, plan, side, again=asked)
            asked = asked or sent
            if isinstance(outcome, Begun):
                if side != chosen:
                    self._fell_back(plan, chosen, side, failures)
                self._sample(call, plan, side)
                return outcome
            failures.append((side, outcome))
            side = after([(one, error.failure) for one, error in failures], chosen, other)
        self._figures.count(plan.epoch, chosen, "failed")
        raise _told(failures, [lane for one in {chosen, other or chosen} if (lane := self.lanes.get(one, call.alias))])

    async def _attempt(self, call: Call, plan: Plan, side: str, *, again: bool) -> tuple[Begun | LLMError, bool]:
        """One attempt at `side`, and whether it was sent: only what was sent makes the next one a retry."""
        lane = self.lanes.get(side, call.alias)
        if lane is None:
            text = f"LLM_ENDPOINTS of llm-orchestrator names no {side} endpoint for {call.alias!r}"
            return LLMUnavailable(text, Failure.NOT_FOUND), False
        if again and not self._budget.take():
            metrics.LLM_RETRIES_DENIED.labels(side).inc()
            return LLMUnavailable(f"{side} was not asked: the budget for retries is spent"), False
        number = lane.admit()
        if number is None:
            failure = Failure.LIMITED if lane.resting else Failure.UNREACHABLE
            return LLMUnavailable(f"{side} is not asked for {lane.wait:.0f} s more: it kept failing", failure), False
        return await self._ask(call, plan, lane, number), True

    async def _ask(self, call: Call, plan: Plan, lane: Lane, number: int) -> Begun | LLMError:
        figures, side, epoch = self._figures, lane.side, plan.epoch
        begun = Begun(plan, lane, number, figures)
        figures.in_flight(side, 1)
        metrics.LLM_IN_FLIGHT.labels(side).inc()
        figures.count(epoch, side, "calls")
        at, waiting = time.perf_counter(), figures.waits(epoch, side)
        try:
            await self._open(begun, call)
        except BaseException as error:
            figures.heard(waiting)
            await begun.close()
            if not isinstance(error, LLMError):
                lane.leave(number)
                raise
            retry_after = error.retry_after if isinstance(error, LLMRefused) else None
            lane.fail(number, error.failure, retry_after)
            metrics.LLM_FAILURES.labels(side, error.failure.value).inc()
            # Who refuses a request has answered it.
            figures.count(epoch, side, "answered" if error.failure is Failure.REFUSED else "errors")
            return error
        figures.heard(waiting)
        took = time.perf_counter() - at
        lane.succeed(number)
        figures.count(epoch, side, "answered")
        figures.first_byte(epoch, side, took)
        metrics.llm_first_byte(call.alias, side).observe(took)
        return begun

    async def _open(self, begun: Begun, call: Call) -> None:
        content, backend = call.asked.content(begun.lane.model), begun.lane.backend
        if not call.asked.stream:
            begun.answer = await backend.relay(content, call.headers)
            return
        try:
            async with asyncio.timeout(self._first_token):
                begun.stream = await backend.relay_stream(content, call.headers)
                begun.rest = aiter(begun.stream)
                begun.first = await anext(begun.rest, b"")
        except TimeoutError:
            text = f"{backend.name}: no first token in time (limit {self._first_token:g} s)"
            raise LLMTimeout(text, Failure.FIRST_TOKEN_TIMEOUT) from None

    def _fell_back(self, plan: Plan, chosen: str, side: str, failures: list[tuple[str, LLMError]]) -> None:
        why = failures[0][1]
        metrics.LLM_FALLBACKS.labels(chosen, side, why.failure.value).inc()
        self._figures.count(plan.epoch, chosen, "fallbacks")
        self._unsaid[chosen] += 1
        if time.monotonic() >= self._says_next.get(chosen, 0.0):
            # A side that is down is told of once in a while, not with every call.
            count, self._unsaid[chosen] = self._unsaid[chosen], 0
            self._says_next[chosen] = time.monotonic() + _SAY_SECONDS
            _log.warning("%s answers instead of %s: %s (%d calls since this was said last)", side, chosen, why, count)

    def _sample(self, call: Call, plan: Plan, answered: str) -> None:
        if not plan.sample:
            return
        side = plan.sampled_side(answered, self._draw())
        lane = self.lanes.get(side, call.alias) if side is not None else None
        if lane is not None:
            self._sampler.offer(lane, call.asked, plan.epoch)


def _told(failures: list[tuple[str, LLMError]], lanes: list[Lane]) -> LLMError:
    """What the caller is told: what a side refused, for that the caller can change; else what one side said alone;
    else that nobody could be had. All with when to come again."""
    refused = [error for _, error in failures if error.failure is Failure.REFUSED]
    if refused:
        return refused[0]
    limited = [error for _, error in failures if error.failure is Failure.LIMITED]
    said = [error for error in limited if isinstance(error, LLMRefused)]
    if said:
        return said[0]
    wait = min((lane.wait for lane in lanes), default=0.0)
    if limited:
        return Unanswered("the provider's limit is reached", wait, limited=True)
    if len({side for side, _ in failures}) == 1 and isinstance(failures[-1][1], LLMRefused | LLMTimeout):
        return failures[-1][1]
    # What a provider says of our credentials stays here.
    texts = (f"answered {error.status}" if isinstance(error, LLMRefused) else str(error) for _, error in failures)
    told = dict.fromkeys(f"{side}: {text}" for (side, _), text in zip(failures, texts, strict=True))
    return Unanswered("; ".join(told), wait)

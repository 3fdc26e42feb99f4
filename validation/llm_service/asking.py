"""Asks both sides the same prompts, at the same time and with a bound, and keeps what each answered and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.llm import ChatBackend, LLMError, LLMRefused, RetryableLLMError
from validation.llm_service.prompts import Prompt
from validation.llm_service.streams import BadStream, Reader, Reply

_LATER = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Answers that may be another one a moment later."""
_OPTIONAL = ("logprobs", "seed", "stream_options")
"""Fields without which a side can be judged, too: Groq refuses `logprobs`, for one."""
_GIVE_UP = 6
"""Prompts in a row without an answer, after which a side is not asked any more: it is down, and each would wait."""
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Price:
    """What a side costs, in one currency: a million tokens in and out, or an hour of what it runs on."""

    input_per_million: float = 0.0
    output_per_million: float = 0.0
    per_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """One side: `open` makes its backend, which belongs to one event loop; `model` is asked there. `extra` goes into
    each request: what a model cannot do without, such as `reasoning_effort`."""

    name: str
    model: str
    open: Callable[[], ChatBackend]
    price: Price | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How it is asked. `concurrency`: calls in flight at each side; `timeout`: seconds for one whole answer, of each
    try; `tries` of a prompt, where the failure may pass."""

    concurrency: int = 4
    timeout: float = 60.0
    tries: int = 3
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Answers:
    """What one side answered, in the order of the prompts, and how many seconds all of it took."""

    replies: tuple[Reply, ...]
    seconds: float


async def ask_both(old: Side, new: Side, prompts: Sequence[Prompt], manner: Manner) -> tuple[Answers, Answers]:
    """Both sides' answers. Failures are answers of their own kind (Reply.error): nothing is raised for them."""
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(side, prompts, manner)) for side in (old, new)]
    return asked[0].result(), asked[1].result()


async def ask(side: Side, prompts: Sequence[Prompt], manner: Manner) -> Answers:
    """One side's answers, as ask_both gives them."""
    return await _Asker(side, manner).ask(prompts)


class _Asker:
    def __init__(self, side: Side, manner: Manner) -> None:
        self._side = side
        self._manner = manner
        self._free = asyncio.Semaphore(manner.concurrency)
        self._left_out: set[str] = set()
        self._failed_in_a_row = 0

    async def ask(self, prompts: Sequence[Prompt]) -> Answers:
        backend = self._side.open()
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._in_turn(backend, prompt)) for prompt in prompts]
        finally:
            await backend.close()
        return Answers(tuple(task.result() for task in tasks), time.monotonic() - began)

    async def _in_turn(self, backend: ChatBackend, prompt: Prompt) -> Reply:
        async with self._free:
            if self._failed_in_a_row >= _GIVE_UP:
                return Reply(error=f"not asked: {self._side.name} had not answered {_GIVE_UP} prompts in a row")
            reply = await self._with_retries(backend, prompt)
            self._failed_in_a_row = 0 if reply.answered else self._failed_in_a_row + 1
            return reply

    async def _with_retries(self, backend: ChatBackend, prompt: Prompt) -> Reply:
        """The answer, or the last failure. A field that the side does not know is left out from then on."""
        tried = 0
        while True:
            sent = self._body(prompt)
            try:
                return await self._once(backend, sent)
            except LLMRefused as refused:
                unknown = {name for name in _OPTIONAL if name in sent and name.encode() in refused.body}
                if refused.status in (400, 422) and unknown:
                    self._left_out |= unknown
                    continue
                error: LLMError = refused
                passes = refused.status in _LATER
            except RetryableLLMError as failed:
                error, passes = failed, True
            tried += 1
            if not passes or tried >= self._manner.tries:
                return Reply(error=str(error))
            await asyncio.sleep(_pause(error, tried))

    async def _once(self, backend: ChatBackend, body: Mapping[str, Any]) -> Reply:
        reader = Reader(time.monotonic())
        try:
            async with asyncio.timeout(self._manner.timeout):
                stream = await backend.stream(body)
                try:
                    async for chunk in stream:
                        reader.feed(chunk, time.monotonic())
                        if reader.done:
                            break
                finally:
                    await stream.close()
        except TimeoutError:
            return reader.reply(time.monotonic(), f"no whole answer within {self._manner.timeout:g} s")
        except BadStream as broken:
            return reader.reply(time.monotonic(), str(broken))
        return reader.reply(time.monotonic())

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        optional = {"logprobs": True, "seed": self._manner.seed, "stream_options": {"include_usage": True}}
        return {
            "model": self._side.model,
            "messages": prompt.messages,
            "max_tokens": prompt.max_tokens,
            "temperature": 0,
            **{name: value for name, value in optional.items() if name not in self._left_out},
            **self._side.extra,
        }


def _pause(error: LLMError, tried: int) -> float:
    """Seconds until the next try: as long as the side asks for, up to a bound; else a little longer each time."""
    asked = error.retry_after if isinstance(error, LLMRefused) else None
    try:
        wanted = float(asked) if asked is not None else 0.5 * 2**tried
    except ValueError:
        wanted = 0.5 * 2**tried  # a date, which the API's servers do not send
    return min(max(wanted, 0.0), _LONGEST_PAUSE)

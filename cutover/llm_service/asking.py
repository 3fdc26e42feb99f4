"""Asks language models, from a run that is no event loop of its own."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.known import Fact, Unknown
from adapters.llm.base import ChatBackend
from adapters.llm.errors import Failure, LLMError

_NO_SUCH_THING = frozenset({Failure.NOT_FOUND, Failure.REFUSED, Failure.GARBAGE})
_QUESTION = "What is a moving average crossover? Answer in one sentence."
_MAX_TOKENS = 24
_WORDS, _DISTINCT = 8, 0.25


class Refused(Unknown):
    """An endpoint that answered, and would not have this key."""


class Wrong(Unknown):
    """An endpoint that answered, but not as one of this kind does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Who answers for an alias at a backend: `name` is the model's own there. `open` makes a connection for one event
    loop."""

    backend: str
    alias: str
    name: str
    base_url: str
    open: Callable[[], ChatBackend] = field(repr=False, compare=False)

    @property
    def place(self) -> tuple[str, str]:
        """What two aliases share that stand for the same model."""
        return self.base_url, self.name


def distinct(models: Mapping[str, Model]) -> tuple[Model, ...]:
    """One alias for each model."""
    found: dict[tuple[str, str], Model] = {}
    for model in models.values():
        found.setdefault(model.place, model)
    return tuple(found.values())


def listed(models: Sequence[Model], seconds: float) -> dict[Model, Fact[Sequence[str]]]:
    """By model, what its endpoint offers."""
    return _each(
        models, lambda model, backend: backend.models(), seconds, lambda model: (model.backend, model.base_url)
    )


def generations(models: Sequence[Model], seconds: float, *, user: str = "") -> dict[Model, Fact[str]]:
    """By model, what is wrong with its answer to a short question; empty where nothing is."""

    async def ask(model: Model, backend: ChatBackend) -> str:
        return wrong_with((await backend.complete(_body(model, user))).body)

    return _each(models, ask, seconds)


def first_tokens(models: Sequence[Model], times: int, seconds: float) -> dict[Model, Fact[float]]:
    """By model, the median time to the first part of its answer to a short question, asked `times` times one after the
    other, in milliseconds."""

    async def ask(model: Model, backend: ChatBackend) -> float:
        return statistics.median([await _first_token(model, backend) for _ in range(times)])

    return _each(models, ask, seconds)


async def _first_token(model: Model, backend: ChatBackend) -> float:
    began = time.perf_counter()
    stream = await backend.stream(_body(model))
    try:
        async for _ in stream:
            break
        return (time.perf_counter() - began) * 1000
    finally:
        await stream.close()


def wrong_with(body: bytes) -> str:
    """What is wrong with a chat completion as such, whatever it was asked; empty where nothing is. Pure."""
    try:
        choice = json.loads(body)["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
    except (ValueError, KeyError, IndexError, TypeError):
        return "it is no chat completion"
    if not isinstance(text, str) or not text.strip():
        return "it is empty"
    if "\N{REPLACEMENT CHARACTER}" in text:
        return "it is no text"
    if finish not in ("stop", "length"):
        return f"it ended by {finish!r}"
    words = text.split()
    if len(words) >= _WORDS and len(set(words)) < _DISTINCT * len(words):
        return "it repeats itself"
    return ""


def _body(model: Model, user: str = "") -> dict[str, object]:
    messages = [{"role": "user", "content": _QUESTION}]
    asked: dict[str, object] = {"model": model.name, "messages": messages, "max_tokens": _MAX_TOKENS, "temperature": 0}
    return asked | ({"user": user} if user else {})


def _unanswered(error: LLMError) -> Unknown:
    """What a failure says of an endpoint. One that is busy, or loads its model, may answer yet."""
    if error.failure is Failure.CREDENTIALS:
        return Refused(str(error))
    return Wrong(str(error)) if error.failure in _NO_SUCH_THING else Unknown(str(error))


def _place(model: Model) -> object:
    return model.backend, model.place


def _each[T](
    models: Sequence[Model],
    ask: Callable[[Model, ChatBackend], Awaitable[T]],
    seconds: float,
    same: Callable[[Model], object] = _place,
) -> dict[Model, Fact[T]]:
    """The answer of each model, asked at the same time, within `seconds`; one of those that are the `same` is asked for
    all of them."""
    asked = {same(model): model for model in models}

    async def one(model: Model) -> Fact[T]:
        backend = model.open()
        try:
            async with asyncio.timeout(seconds):
                return await ask(model, backend)
        except TimeoutError:
            return Unknown(f"no answer within {seconds:g} s")
        except LLMError as error:
            return _unanswered(error)
        finally:
            await backend.close()

    async def all_of_them() -> list[Fact[T]]:
        return list(await asyncio.gather(*(one(model) for model in asked.values())))

    found = dict(zip(asked, asyncio.run(all_of_them()), strict=True))
    return {model: found[same(model)] for model in models}

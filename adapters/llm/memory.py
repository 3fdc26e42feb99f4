"""The shipped fake: a backend in memory that answers deterministically, and fails on demand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, override

from adapters.llm.base import Answer, ChatBackend, ChatStream
from adapters.llm.errors import Failure, LLMError, LLMRefused, LLMUnavailable


class MemoryChat(ChatBackend):
    """Answers with `reply`, word by word where streamed. `fault` is raised instead where it is set;
    `break_after` ends streams with LLMUnavailable after that many chunks. `pause` is awaited before each answer, and
    before each chunk of a stream. `requests` is what came, `headers` what came along with what was passed on."""

    def __init__(self, reply: str = "a crossover", models: Sequence[str] = ("memory-model",)) -> None:
        self.name = "memory"
        self.reply = reply
        self.fault: LLMError | None = None
        self.break_after: int | None = None
        self.pause: Callable[[], Awaitable[None]] | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closed_streams = 0
        self._models = tuple(models)

    def _take(self, body: Mapping[str, Any], *, stream: bool) -> str:
        self.requests.append({**body, "stream": stream})
        if self.fault is not None:
            raise self.fault
        model = body.get("model")
        if model not in self._models:
            text = {"error": {"message": f"no model {model!r}", "type": "invalid_request_error", "code": None}}
            raise LLMRefused(self.name, 404, json.dumps(text).encode(), "application/json")
        if not isinstance(body.get("messages"), list):
            text = {"error": {"message": "messages is required", "type": "invalid_request_error", "code": None}}
            raise LLMRefused(self.name, 400, json.dumps(text).encode(), "application/json")
        return str(model)

    @override
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        model = self._take(body, stream=False)
        await self.wait()
        message = {"role": "assistant", "content": self.reply}
        answer = {
            "id": "chatcmpl-memory",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        return Answer(json.dumps(answer).encode(), "application/json")

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        return _MemoryStream(self, self._take(body, stream=True))

    @override
    async def relay(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        self.headers.append(dict(headers))
        return await super().relay(content, headers)

    @override
    async def relay_stream(self, content: bytes, headers: Mapping[str, str]) -> ChatStream:
        self.headers.append(dict(headers))
        return await super().relay_stream(content, headers)

    async def wait(self) -> None:
        """Await `pause`, where it is set."""
        if self.pause is not None:
            await self.pause()

    @override
    async def models(self) -> Sequence[str]:
        if self.fault is not None:
            raise self.fault
        return self._models

    @override
    async def close(self) -> None:
        """Nothing to give up."""


class _MemoryStream(ChatStream):
    content_type = "text/event-stream"

    def __init__(self, backend: MemoryChat, model: str) -> None:
        self._backend = backend
        self._model = model

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        words = self._backend.reply.split(" ")
        for number, word in enumerate(words):
            if number == self._backend.break_after:
                raise LLMUnavailable("memory broke the connection, as asked for", Failure.CLOSED_EARLY)
            await self._backend.wait()
            text = word if number == 0 else f" {word}"
            yield self._event({"content": text}, None)
        yield self._event({}, "stop")
        yield b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], finish: str | None) -> bytes:
        chunk = {
            "id": "chatcmpl-memory",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    @override
    async def close(self) -> None:
        self._backend.closed_streams += 1

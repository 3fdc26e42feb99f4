"""The interface of a language model's backend: an OpenAI-compatible chat API, passed through.

Bodies are the API's own JSON: what this project does not know of it travels unchanged. The
contract that each backend keeps is tests/contract/test_llm.py.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: the body's bytes, as the backend sent them, and the headers that a caller may see."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ChatStream(ABC):
    """An answer as it comes: server-sent events, in the chunks in which they arrive."""

    content_type: str
    headers: Mapping[str, str] = {}
    """Those that a caller may see."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks. Raises LLMUnavailable or LLMTimeout where the answer breaks off."""

    @abstractmethod
    async def close(self) -> None:
        """Stop reading, and let the backend stop generating. Idempotent."""


class ChatBackend(ABC):
    """One endpoint. Owned by one event loop. All methods raise what errors.py draws."""

    name: str

    @abstractmethod
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        """POST chat/completions with `body`; the whole answer."""

    @abstractmethod
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        """The same with "stream": true. Returns once the backend has begun to answer well."""

    async def relay(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """complete() for who passes on what somebody else asked: `content` is the body as it goes, byte for byte."""
        del headers
        return await self.complete(json.loads(content))

    async def relay_stream(self, content: bytes, headers: Mapping[str, str]) -> ChatStream:
        """stream() in the same way; `content` asks for a stream."""
        del headers
        return await self.stream(json.loads(content))

    @abstractmethod
    async def models(self) -> Sequence[str]:
        """The names of the models that the endpoint offers."""

    @abstractmethod
    async def close(self) -> None:
        """Give up connections."""

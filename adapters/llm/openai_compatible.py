"""A language model behind any OpenAI-compatible endpoint: Groq, OpenAI, vLLM, llama.cpp.

The one module that imports httpx2. The `openai` package is not used here on purpose: it parses
answers into models of its own and drops what it does not know, and a proxy must not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, override

import httpx2

from adapters.llm.base import Answer, ChatBackend, ChatStream
from adapters.llm.errors import LLMRefused, LLMTimeout, LLMUnavailable

_JSON = "application/json"
_EVENTS = "text/event-stream"


class OpenAICompatible(ChatBackend):
    """`base_url` holds the version path (https://api.openai.com/v1). `timeout` in seconds: the longest
    wait for the first byte, and between two; `connect_timeout` for the connection."""

    def __init__(
        self, name: str, base_url: str, api_key: str | None, *, timeout: float = 60.0, connect_timeout: float = 5.0
    ) -> None:
        self.name = name
        self._timeout = timeout
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx2.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=connect_timeout),
            # The pool must not be narrower than what callers hold open: streams are long.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        )

    @override
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        with self._translated():
            response = await self._client.post("chat/completions", json={**body, "stream": False})
        self._check(response)
        return Answer(response.content, response.headers.get("content-type", _JSON))

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        # A compressed stream comes in blocks: tokens would wait for each other.
        request = self._client.build_request(
            "POST", "chat/completions", json={**body, "stream": True}, headers={"accept-encoding": "identity"}
        )
        with self._translated():
            response = await self._client.send(request, stream=True)
            if response.status_code != httpx2.codes.OK:
                await response.aread()
        self._check(response)
        return _Stream(self, response)

    @override
    async def models(self) -> Sequence[str]:
        with self._translated():
            response = await self._client.get("models")
        self._check(response)
        try:
            return [str(entry["id"]) for entry in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise LLMUnavailable(f"{self.name} does not speak OpenAI's API: GET models answered no list") from error

    @override
    async def close(self) -> None:
        await self._client.aclose()

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code != httpx2.codes.OK:
            kind = response.headers.get("content-type", _JSON)
            wait = response.headers.get("retry-after")
            raise LLMRefused(self.name, response.status_code, response.content, kind, wait)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            what = "no connection" if isinstance(error, httpx2.ConnectTimeout) else "no answer"
            raise LLMTimeout(f"{self.name}: {what} in time (limit {self._timeout:g} s)") from error
        except httpx2.HTTPError as error:
            raise LLMUnavailable(f"{self.name} cannot be reached: {error or type(error).__name__}") from error


class _Stream(ChatStream):
    def __init__(self, backend: OpenAICompatible, response: httpx2.Response) -> None:
        self._backend = backend
        self._response = response
        self.content_type = response.headers.get("content-type", _EVENTS)

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._backend._translated():
            async for chunk in self._response.aiter_bytes():
                yield chunk

    @override
    async def close(self) -> None:
        await self._response.aclose()

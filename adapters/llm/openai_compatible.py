"""A language model behind any OpenAI-compatible endpoint: Groq, OpenAI, vLLM, llama.cpp.

The one module that imports aiohttp: a request costs it a quarter of what httpx takes, and every request of every
caller goes through here twice. The `openai` package is not used on purpose: it parses answers into models of its own
and drops what it does not know, and a proxy must not.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from email.utils import parsedate_to_datetime
from typing import Any, override
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.client_proto import ResponseHandler

from adapters import metrics
from adapters.llm.base import Answer, ChatBackend, ChatStream
from adapters.llm.errors import Failure, LLMGarbled, LLMRefused, LLMTimeout, LLMUnavailable
from adapters.llm.events import Events, is_broken_off, is_completion

_JSON = "application/json"
_EVENTS = "text/event-stream"
_OK = 200
_LARGE = 1 << 20
_PASSED = frozenset(
    {"x-request-id", "openai-processing-ms", "openai-version", "retry-after-ms", "x-should-retry", "x-groq-region"}
)
_PASSED_PREFIX = "x-ratelimit-"
# A compressed stream comes in blocks: tokens would wait for each other.
_HEADERS = {"content-type": _JSON, "accept-encoding": "identity", "user-agent": "crossover"}


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`. Looked up once: it does not change while we run."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


class _Connector(aiohttp.TCPConnector):
    """Makes at most `most` connections at a time, each within `seconds`; who comes beyond that waits in line.

    A thousand calls that come at once would otherwise all shake hands at once, and time out together on what they all
    wait for. Waiting in line is no part of `seconds`. But where `most` attempts in a row have failed, those who had to
    wait are told so instead of trying: each round of them would take as long again.
    """

    def __init__(self, most: int, seconds: float) -> None:
        # The pool must not be narrower than what callers hold open: streams are long.
        super().__init__(limit=0, keepalive_timeout=30.0)
        self._most = most
        self._seconds = seconds
        self._turns = asyncio.Semaphore(most)
        self._failed = 0
        self._why: Exception | None = None

    @override
    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        waits = self._turns.locked()
        with metrics.LLM_CONNECT_WAITING.track_inprogress() if waits else nullcontext():
            await self._turns.acquire()
        try:
            if waits and self._why is not None and self._failed >= self._most:
                raise self._why.with_traceback(None)
            return await self._attempt(super()._create_connection(req, traces, timeout))
        finally:
            self._turns.release()

    async def _attempt(self, making: Awaitable[ResponseHandler]) -> ResponseHandler:
        try:
            async with asyncio.timeout(self._seconds):
                made = await making
        except (TimeoutError, aiohttp.ClientConnectorError) as error:
            self._failed, self._why = self._failed + 1, error
            raise
        self._failed, self._why = 0, None
        return made


class OpenAICompatible(ChatBackend):
    """`base_url` holds the version path (https://api.openai.com/v1). `timeout` in seconds: the longest
    wait for the first byte, and between two; `connect_timeout` for the connection, its name included. At most
    `connecting` connections are being made at a time."""

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None,
        *,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        connecting: int = 64,
    ) -> None:
        self.name = name
        self._base = base_url.rstrip("/")
        self._url = f"{self._base}/chat/completions"
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connecting = connecting
        self._proxy = _proxy_for(base_url)
        self._key = (api_key or "").encode()
        self._headers = {**_HEADERS, **({"authorization": f"Bearer {api_key}"} if api_key else {})}
        self._opened: aiohttp.ClientSession | None = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        # Made where it is first used: it belongs to the event loop that runs then.
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._timeout),
                connector=_Connector(self._connecting, self._connect_timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._opened

    @override
    async def complete(self, body: Mapping[str, Any]) -> Answer:
        return await self.relay(json.dumps({**body, "stream": False}).encode(), {})

    @override
    async def stream(self, body: Mapping[str, Any]) -> ChatStream:
        return await self.relay_stream(json.dumps({**body, "stream": True}).encode(), {})

    @override
    async def relay(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        with self._translated(Failure.DROPPED):
            response = await self._post(content, headers)
        with self._translated(Failure.CLOSED_EARLY):
            body = await self._body(response)
        if not is_completion(body):
            raise LLMGarbled(f"{self.name} answered with something that is no chat completion")
        if is_broken_off(body):
            raise LLMUnavailable(f"{self.name} broke its answer off", Failure.CLOSED_EARLY)
        return Answer(body, response.headers.get("content-type", _JSON), _passed(response.headers))

    @override
    async def relay_stream(self, content: bytes, headers: Mapping[str, str]) -> ChatStream:
        with self._translated(Failure.DROPPED):
            response = await self._post(content, headers)
        if response.status != _OK:
            with self._translated(Failure.CLOSED_EARLY):
                await self._body(response)
        kind = response.headers.get("content-type", _EVENTS)
        if not kind.startswith(_EVENTS):
            response.close()
            raise LLMGarbled(f"{self.name} answered a stream with {kind.partition(';')[0]!r}")
        return _Stream(self, response, kind)

    @override
    async def models(self) -> Sequence[str]:
        with self._translated(Failure.DROPPED):
            response = await self._session.get(f"{self._base}/models", allow_redirects=False, proxy=self._proxy)
            body = await self._body(response)
        try:
            return [str(entry["id"]) for entry in json.loads(body)["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise LLMGarbled(f"{self.name} does not speak OpenAI's API: GET models answered no list") from error

    @override
    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _post(self, content: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        # What is large goes in parts, so that it does not hold up the event loop.
        data = content if len(content) < _LARGE else io.BytesIO(content)
        return await self._session.post(self._url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body of an answer; raises LLMRefused where that is an error."""
        try:
            body = await response.read()
        finally:
            # Does nothing where all of it came; else the backend need not go on.
            response.close()
        if response.status != _OK:
            body = self.scrubbed(body)
            kind, wait = response.headers.get("content-type", _JSON), _wait(response.headers)
            raise LLMRefused(self.name, response.status, body, kind, wait, _passed(response.headers))
        return body

    def scrubbed(self, said: bytes) -> bytes:
        """What a backend says of a failure, without the key that it was asked with."""
        return said.replace(self._key, b"***") if self._key else said

    @contextmanager
    def _translated(self, broken: Failure) -> Iterator[None]:
        """Turns aiohttp's exceptions into ours. `broken`: what a closed connection means now."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            text = f"{self.name}: no connection in time (limit {self._connect_timeout:g} s)"
            raise LLMTimeout(text, Failure.CONNECT_TIMEOUT) from error
        except TimeoutError as error:
            raise LLMTimeout(f"{self.name}: no answer in time (limit {self._timeout:g} s)") from error
        except aiohttp.ClientConnectorDNSError as error:
            text = f"{self.name} cannot be reached: the name {error.host} is not known"
            raise LLMUnavailable(text, Failure.NO_NAME) from error
        except aiohttp.ClientConnectorError as error:
            raise LLMUnavailable(f"{self.name} cannot be reached: {error}", Failure.UNREACHABLE) from error
        except aiohttp.ClientResponseError as error:
            raise LLMGarbled(f"{self.name} does not speak HTTP: {error.message}") from error
        except (aiohttp.ClientError, OSError) as error:
            text = f"{self.name} broke the connection: {error or type(error).__name__}"
            raise LLMUnavailable(text, broken) from error


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a caller may see. Others tell of the account behind the key, or of the connection."""
    return {
        name: value
        for name, value in ((name.lower(), value) for name, value in headers.items())
        if name in _PASSED or name.startswith(_PASSED_PREFIX)
    }


def _wait(headers: Mapping[str, str]) -> str | None:
    """Retry-After. A date becomes seconds by the clock of who sent it, for ours may differ."""
    text = headers.get("retry-after")
    if text is None or not text[:1].isalpha():
        return text
    try:
        seconds = (parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, ValueError, TypeError):
        return text
    return str(max(0, math.ceil(seconds)))


class _Stream(ChatStream):
    def __init__(self, backend: OpenAICompatible, response: aiohttp.ClientResponse, kind: str) -> None:
        self._backend = backend
        self._response = response
        self.content_type = kind
        self.headers = _passed(response.headers)

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        events, name = Events(), self._backend.name
        with self._backend._translated(Failure.CLOSED_EARLY):
            async for chunk in self._response.content.iter_any():
                if passed := events.take(chunk):
                    yield passed
                if events.wrong is Failure.GARBAGE:
                    raise LLMGarbled(f"{name} sent something that is no event: {chunk[:60]!r}")
                if events.wrong is not None:
                    said = self._backend.scrubbed(chunk)[:300].decode(errors="replace")
                    text = f"{name} failed in its answer: {said}"
                    raise LLMUnavailable(text, events.wrong)
        if not events.whole:
            raise LLMUnavailable(f"{name} broke the connection: the answer has no end", Failure.CLOSED_EARLY)
        if rest := events.rest():
            yield rest

    @override
    async def close(self) -> None:
        # Where the answer is not over, this closes the connection, by which the backend learns of it.
        self._response.close()

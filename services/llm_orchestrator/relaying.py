"""One call from its body to the last byte of its answer. A caller that hangs up ends the work at the backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import override

from fastapi import Response
from starlette.types import Receive, Scope, Send

from adapters.llm import Failure, LLMError, LLMTimeout
from contracts.names import HEADER_BACKEND
from services.common import metrics
from services.llm_orchestrator import errors
from services.llm_orchestrator.admission import Admission
from services.llm_orchestrator.router import Begun, Call, Router

_log = logging.getLogger(__name__)


class Relay(Response):
    """The answer to `call`. It is not made before the server sends it: so the client is watched from the beginning, and
    chunks go from one connection to the other without a task or a queue between them. What is read from the backend
    is what the client has taken: a slow one slows the backend down and fills no memory here."""

    def __init__(self, router: Router, admission: Admission, call: Call, size: int, whole: float) -> None:
        super().__init__()
        self._router = router
        self._admission = admission
        self._alias = call.alias
        self._call: Call | None = call
        self._size = size
        self._whole = whole
        self._begun: Begun | None = None
        self._started = False
        self._over = False

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a relay runs in a task, by which it is ended where its client goes")
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            if not self._over:
                gone = True
                task.cancel()

        watcher = asyncio.create_task(watch())
        outcome = "abandoned"
        try:
            outcome = await self._answer(send)
        except asyncio.CancelledError:
            # Whoever else cancels us, such as a server that stops, must see that we obey.
            if not gone or task.uncancel():
                raise
        finally:
            watcher.cancel()
            self._forget()
            metrics.LLM_REQUESTS.labels(self._alias, outcome).inc()

    def _forget(self) -> None:
        """Give the request's memory back."""
        self._call = None
        self._admission.let_go(self._size)
        self._size = 0

    async def _answer(self, send: Send) -> str:
        """Send the answer, or the error instead of it; the outcome, as a metric's label."""
        try:
            async with asyncio.timeout(self._whole):
                await self._admission.enter()
                try:
                    await self._pass_on(send)
                finally:
                    self._admission.leave()
        except TimeoutError:
            text = f"the answer was not over in time (limit {self._whole:g} s)"
            error: LLMError = LLMTimeout(text, Failure.WHOLE_TIMEOUT)
            if self._begun is not None:
                self._begun.broke(error)
        except LLMError as failed:
            error = failed
        else:
            return "ok"
        await self._tell(error, send)
        return "broken" if self._begun is not None else type(error).__name__

    async def _pass_on(self, send: Send) -> None:
        call, self._call = self._call, None
        if call is None:
            raise RuntimeError("a relay is sent once")
        self._begun = begun = await self._router.begin(call)
        # Nobody is asked again from now on, and a stream may take long.
        del call
        self._forget()
        try:
            if begun.answer is not None:
                size = {"content-length": str(len(begun.answer.body))}
                await self._start(begun, begun.answer.content_type, {**begun.answer.headers, **size}, send)
                await self._part(begun.answer.body, send, last=True)
            elif begun.stream is not None and begun.rest is not None:
                await self._start(begun, begun.stream.content_type, begun.stream.headers, send)
                await self._part(begun.first, send)
                async for chunk in begun.rest:
                    await self._part(chunk, send)
                await self._part(b"", send, last=True)
        except LLMError as error:
            begun.broke(error)
            raise
        finally:
            await begun.close()

    async def _start(self, begun: Begun, kind: str, headers: Mapping[str, str], send: Send) -> None:
        self._started, side = True, begun.lane.side
        await _head(200, {**headers, "content-type": kind, "cache-control": "no-cache", HEADER_BACKEND: side}, send)

    async def _part(self, body: bytes, send: Send, *, last: bool = False) -> None:
        # From the last part on, a connection that is closed is nobody hanging up.
        self._over = last
        await send({"type": "http.response.body", "body": body, "more_body": not last})

    async def _tell(self, error: LLMError, send: Send) -> None:
        if self._started:
            _log.warning("an answer broke off: %s", error)
            await self._part(errors.event(error), send, last=True)
            return
        status, body, headers = errors.answer(error)
        await _head(status, {**headers, "content-length": str(len(body))}, send)
        await self._part(body, send, last=True)


async def _head(status: int, headers: Mapping[str, str], send: Send) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})

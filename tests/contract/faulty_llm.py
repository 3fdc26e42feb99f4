"""A real HTTP server that speaks OpenAI's API well, or fails in a way that a test asks for."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

_WORDS = ("we ", "buy ", "low")
_HEAD = "HTTP/1.1 {status} X\r\n{headers}\r\n"
Writer = asyncio.StreamWriter


def chunk(**delta: str) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@contextmanager
def deaf() -> Iterator[str]:
    """A node that does not even refuse: its queue of connections is full, so that a new one is never made. Its base
    URL."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


class Faulty:
    """Listens on loopback, on a thread and event loop of its own. `fault` names one of the methods `_do_*`; "": none.

    `go` lets streams of the fault `held` go on; `streaming` counts those that wait for it. `hung_up` counts connections
    that the other end closed in the middle of an answer.
    """

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.fault = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.hung_up = 0
        self.streaming = 0
        self._loop = asyncio.new_event_loop()
        self._go = asyncio.Event()
        self._started = threading.Event()
        self._readers: dict[Writer, asyncio.StreamReader] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = port

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def go(self) -> None:
        """Let held streams go on, and those that come."""
        self._loop.call_soon_threadsafe(self._go.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            server = runner.run(asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=2048))
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            self._loop.run_forever()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._readers[writer] = reader
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = json.loads(body or b"{}")
                self.requests.append(request)
                self.headers.append(headers)
                await self._answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._readers[writer]
            writer.close()

    async def _answer(self, request: dict[str, Any], writer: Writer) -> None:
        if self.fault:
            act: Callable[[dict[str, Any], Writer], Awaitable[None]] = getattr(self, f"_do_{self.fault}")
            await act(request, writer)
        elif request.get("stream"):
            await self._begin(writer)
            await self._parts(writer, *(chunk(content=word) for word in _WORDS), chunk(), b"data: [DONE]\n\n", b"")
        else:
            message = {"role": "assistant", "content": "".join(_WORDS)}
            answer = {"id": "c", "object": "chat.completion", "created": 0, "model": request.get("model"),
                      "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                      "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}}  # fmt: skip
            await self._whole(writer, 200, json.dumps(answer).encode(), "x-request-id: req-1\r\nset-cookie: a=b\r\n")

    @staticmethod
    async def _whole(writer: Writer, status: int, body: bytes, headers: str = "") -> None:
        headers += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(_HEAD.format(status=status, headers=headers).encode() + body)
        await writer.drain()

    @staticmethod
    async def _begin(writer: Writer, kind: str = "text/event-stream") -> None:
        headers = f"content-type: {kind}\r\ntransfer-encoding: chunked\r\n"
        writer.write(_HEAD.format(status=200, headers=headers).encode())
        await writer.drain()

    @staticmethod
    async def _parts(writer: Writer, *parts: bytes) -> None:
        """Parts of a chunked body; b"" ends it."""
        for part in parts:
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0)

    async def _until_hung_up(self, writer: Writer) -> None:
        """Wait until the other end closes: it sends nothing more."""
        await self._readers[writer].read(1)
        self.hung_up += 1
        raise ConnectionError

    # -- faults

    async def _do_limited(self, request: dict[str, Any], writer: Writer) -> None:
        body = b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}'
        await self._whole(writer, 429, body, "retry-after: 7\r\nx-ratelimit-limit-requests: 30\r\n")

    async def _do_limited_until(self, request: dict[str, Any], writer: Writer) -> None:
        """Its clock is years behind ours."""
        headers = "date: Wed, 01 Jan 2020 10:00:00 GMT\r\nretry-after: Wed, 01 Jan 2020 10:00:07 GMT\r\n"
        await self._whole(writer, 429, b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', headers)

    async def _do_repeats_key(self, request: dict[str, Any], writer: Writer) -> None:
        said = {"error": {"message": f"{self.headers[-1]['authorization']} is not good"}}
        await self._whole(writer, 400, json.dumps(said).encode())

    async def _do_server(self, request: dict[str, Any], writer: Writer) -> None:
        await self._whole(writer, 500, b'{"error":{"message":"CUDA out of memory","type":"internal_error"}}')

    async def _do_credentials(self, request: dict[str, Any], writer: Writer) -> None:
        await self._whole(writer, 401, b'{"error":{"message":"Incorrect API key provided: sk-abc"}}')

    async def _do_not_found(self, request: dict[str, Any], writer: Writer) -> None:
        await self._whole(writer, 404, b"<html>nginx</html>")

    async def _do_moved(self, request: dict[str, Any], writer: Writer) -> None:
        await self._whole(writer, 308, b"", "location: http://127.0.0.1:1/v1/chat/completions\r\n")

    async def _do_refused(self, request: dict[str, Any], writer: Writer) -> None:
        await self._whole(writer, 400, b'{"error":{"message":"too long","code":"context_length_exceeded"}}')

    async def _do_dropped(self, request: dict[str, Any], writer: Writer) -> None:
        raise ConnectionError

    async def _do_no_http(self, request: dict[str, Any], writer: Writer) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        raise ConnectionError

    async def _do_web_page(self, request: dict[str, Any], writer: Writer) -> None:
        await self._begin(writer, "text/html")
        await self._parts(writer, b"<html>a proxy's page</html>", b"")

    async def _do_silent(self, request: dict[str, Any], writer: Writer) -> None:
        await self._until_hung_up(writer)

    async def _do_silent_stream(self, request: dict[str, Any], writer: Writer) -> None:
        """Headers at once, and no token."""
        await self._begin(writer)
        await self._until_hung_up(writer)

    async def _do_stalled(self, request: dict[str, Any], writer: Writer) -> None:
        await self._begin(writer)
        await self._parts(writer, chunk(content=_WORDS[0]))
        await self._until_hung_up(writer)

    async def _do_closed_early(self, request: dict[str, Any], writer: Writer) -> None:
        """As where the pod is killed: in the middle of an event, and by a reset."""
        await self._begin(writer)
        await self._parts(writer, chunk(content=_WORDS[0]), b'data: {"choi')
        sock = writer.get_extra_info("socket")
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of nothing: close() resets
        raise ConnectionError

    async def _do_ends_early(self, request: dict[str, Any], writer: Writer) -> None:
        """A proxy that makes a clean end of what broke off behind it."""
        await self._begin(writer)
        await self._parts(writer, chunk(content=_WORDS[0]), b"")

    async def _do_garbage(self, request: dict[str, Any], writer: Writer) -> None:
        await self._begin(writer)
        await self._parts(writer, chunk(content=_WORDS[0]), b"\x00\xff\x17 no event at all")
        await self._until_hung_up(writer)

    async def _do_error_event(self, request: dict[str, Any], writer: Writer) -> None:
        await self._begin(writer)
        await self._parts(writer, chunk(content=_WORDS[0]), b'data: {"error": {"message": "EngineDeadError"}}\n\n', b"")

    async def _do_broken_off(self, request: dict[str, Any], writer: Writer) -> None:
        """As a vLLM that is told to end: all looks whole, but for the reason of its end."""
        last = chunk().replace(b'"stop"', b'"abort"')
        if not request.get("stream"):
            await self._whole(writer, 200, last.removeprefix(b"data: "))
            return
        await self._begin(writer)
        await self._parts(writer, chunk(content=_WORDS[0]), last, b"data: [DONE]\n\n", b"")

    async def _do_held(self, request: dict[str, Any], writer: Writer) -> None:
        """One token; the rest once the test lets it go on."""
        await self._begin(writer)
        await self._parts(writer, chunk(content=f"{self.name}: "))
        self.streaming += 1
        await self._go.wait()
        await self._parts(writer, *(chunk(content=word) for word in _WORDS), chunk(), b"data: [DONE]\n\n", b"")
        self.streaming -= 1

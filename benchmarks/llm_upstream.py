"""`python -m benchmarks.llm_upstream PORT`: an OpenAI-compatible endpoint that costs next to nothing.

It knows two models: `instant` answers at once, in one piece or in CHUNKS chunks; `paced` sends a chunk every
PACE_SECONDS.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, override

INSTANT, PACED = "instant", "paced"
CHUNKS = 8
"""Of a stream, before its end."""
PACE_SECONDS = 3.0
"""So long that a thousand streams can begin one after the other while the first is still under way."""
_HEAD_END = b"\r\n\r\n"


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _sent(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(model: str, delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
    }
    return _sent(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _whole(model: str) -> bytes:
    message = {"role": "assistant", "content": " word" * CHUNKS}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS}
    body = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return _reply(json.dumps(body | {"usage": usage}).encode())


_BEGIN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = _sent(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_PIECES = {model: _whole(model) for model in (INSTANT, PACED)}
_WORDS = {model: _event(model, {"content": " word"}) for model in (INSTANT, PACED)}
_LASTS = {model: _event(model, {}, "stop") + _END for model in (INSTANT, PACED)}
_UNKNOWN = _reply(b'{"error": {"message": "no such model"}}').replace(b"200 OK", b"404 Not Found")
_MODELS = _reply(json.dumps({"object": "list", "data": [{"id": model} for model in (INSTANT, PACED)]}).encode())


class Upstream(asyncio.Protocol):
    """One connection. Requests of a connection come one after the other, and are answered so."""

    def __init__(self) -> None:
        self._left = b""
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    @override
    def data_received(self, data: bytes) -> None:
        self._left += data
        head, found, rest = self._left.partition(_HEAD_END)
        if not found:
            return
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        if len(rest) >= length:
            self._left = rest[length:]
            self._answer(json.loads(rest[:length]) if length else None)

    def _answer(self, asked: Any) -> None:
        if asked is None:
            self._write(_MODELS)
        elif asked["model"] not in _PIECES:
            self._write(_UNKNOWN)
        elif not asked.get("stream"):
            self._write(_PIECES[asked["model"]])
        elif asked["model"] == INSTANT:
            # As many writes as a model makes: what is sent together would be passed on together.
            for part in (_BEGIN, *[_WORDS[INSTANT]] * CHUNKS, _LASTS[INSTANT]):
                self._write(part)
        else:
            self._write(_BEGIN)
            self._pace(CHUNKS)

    def _pace(self, left: int) -> None:
        if not left:
            self._write(_LASTS[PACED])
            return
        self._write(_WORDS[PACED])
        asyncio.get_running_loop().call_later(PACE_SECONDS, self._pace, left - 1)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def serve(port: int) -> None:
    """Answer on loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

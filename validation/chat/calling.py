"""One call over HTTP as any client of the API makes it, and what became of it.

By the standard library: the adapters' own client is part of what is judged, and hides who answered. Each call has a
connection of its own, so that calls spread over all that answer; none is repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from contracts.names import HEADER_BACKEND
from validation.chat.account import UNKNOWN, Call, Fate
from validation.chat.hearing import Heard, message_of, whole

_EVENTS = "text/event-stream"
_PIECE = 1 << 16


class BadAddress(ValueError):
    """An address that no call can be sent to: what is wrong, and the form it must have."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sent: OpenAI's body, and headers beside it."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Caller:
    """Calls the API at `base_url`, which holds the version path. `timeout` in seconds: for the connection, for the
    first byte, and between two."""

    def __init__(self, base_url: str, timeout: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise BadAddress(
                "the address of the API is not http[s]://host[:port]/v1 without credentials: no call could be sent"
            )
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._timeout = timeout

    def call(self, begun: Call, asked: Asked) -> Call:
        """Send `asked` and hear it out: `begun` with what became of it. Never raises for what the other side does."""
        connection = self._kind(self._host, self._port, timeout=self._timeout)
        told = replace(begun, fate=Fate.REFUSED)
        try:
            body = json.dumps(asked.body).encode()
            connection.request("POST", self._path, body, {"content-type": "application/json", **asked.headers})
            response = connection.getresponse()
            told = replace(told, backend=response.getheader(HEADER_BACKEND) or UNKNOWN)
            told = _heard(told, response)
        except (OSError, HTTPException) as error:
            told = replace(told, error=_words(error))
        finally:
            connection.close()
        return replace(told, ended=time.time_ns())


def _heard(told: Call, response: HTTPResponse) -> Call:
    if response.status != 200:
        return replace(told, error=f"{response.status}: {_error_of(response.read())}")
    kind = response.getheader("content-type") or "no content-type"
    if kind.startswith(_EVENTS) != told.streamed:
        return replace(told, fate=Fate.CUT, error=f"{kind} was not asked for")
    return _stream(told, response) if told.streamed else _piece(told, response)


def _stream(told: Call, response: HTTPResponse) -> Call:
    heard, error = Heard(), ""
    try:
        while data := response.read1(_PIECE):  # what is there, never waiting for more
            heard.take(data, time.time_ns())
    except (OSError, HTTPException) as broken:
        error = _words(broken)
    found = heard.finding()
    told = replace(told, first=heard.first, chunks=heard.chunks, gap=heard.gap, model=heard.model, answer=heard.answer)
    if error and found.fate is not Fate.BROKEN:
        return replace(told, fate=Fate.TORN, error=error)
    return replace(told, fate=found.fate, error=found.error)


def _piece(told: Call, response: HTTPResponse) -> Call:
    try:
        found = whole(response.read())
    except (OSError, HTTPException) as broken:
        return replace(told, fate=Fate.TORN, error=_words(broken))
    return replace(
        told, first=time.time_ns(), chunks=1, fate=found.finding.fate, error=found.finding.error, model=found.model,
        answer=found.answer,
    )  # fmt: skip


def _error_of(body: bytes) -> str:
    try:
        return message_of(json.loads(body))
    except ValueError:
        return body[:200].decode(errors="replace")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

"""What stands before every answer of the console: which host was asked for, how large a request may be, and the headers
that keep a browser from doing more than it should."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4096
"""Of a request's body."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def host_of(header: str) -> str:
    """The host that a Host header names, without its port."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


class Guard:
    """An ASGI app before `app`. Answers only requests for one of `hosts`: a page of elsewhere whose name was made to
    lead here (DNS rebinding) asks for that name."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
            await send(message)

        refused = self._refusal(Headers(scope=scope), str(scope["method"]))
        await (refused or self._app)(scope, receive, guarded)

    def _refusal(self, headers: Headers, method: str) -> PlainTextResponse | None:
        asked = headers.getlist("host")
        if len(asked) != 1 or host_of(asked[0]) not in self._hosts:
            return PlainTextResponse("this console does not answer for that host: see --host-name\n", 421)
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return PlainTextResponse("asked by a page of another site\n", 403)
        if method not in {"GET", "HEAD"}:
            length = headers.get("content-length", "")
            if not length.isdigit():
                return PlainTextResponse("say how long it is\n", 411)
            if int(length) > MOST_BYTES:
                return PlainTextResponse("too long\n", 413)
        return None

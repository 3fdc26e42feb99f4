"""A small client of the Kubernetes API over pooled HTTP/1.1 connections. Thread safe.

Not the `kubernetes` package, whose import alone takes longer than most previews.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlencode

from local.pulumi_plugins.kube import kubeconfig
from local.pulumi_plugins.kube.objects import Object

REQUEST_SECONDS: Final = 60.0
"""How long one answer may take; the API server itself ends a request at 60 s."""
CONNECT_SECONDS: Final = 10.0
WATCH_SECONDS: Final = 300
"""How long one watch request lives before it is opened again."""
RETRIES: Final = 4
"""How often a request is sent again that the server refused for load (429, 503) or never saw."""
APPLY = "application/apply-patch+yaml"
GONE: Final = 410


class Unreachable(Exception):
    """The API server could not be reached."""


class ApiError(Exception):
    """The API server refused. `body` is its Status object, or {}."""

    def __init__(self, status: int, message: str, body: Object | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}

    @property
    def reason(self) -> str:
        """NotFound, Conflict, Invalid, Forbidden ..."""
        return str(self.body.get("reason", ""))

    @property
    def causes(self) -> list[Object]:
        """Each fault by itself: {reason, message, field}."""
        found: list[Object] = (self.body.get("details") or {}).get("causes") or []
        return found

    @property
    def about(self) -> tuple[str, str]:
        """(kind, name) of the object that the server speaks of."""
        details = self.body.get("details") or {}
        return str(details.get("kind", "")), str(details.get("name", ""))


class Stream:
    """An answer that arrives line by line, and that any thread can end."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            while line := self._response.readline():
                yield line
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return  # closed from another thread, or the connection broke: the caller looks again
        finally:
            self.finish()

    def finish(self) -> None:
        """Gives the connection back to the system. For the thread that reads, or nobody does."""
        self._response.close()
        self._connection.close()

    def close(self) -> None:
        """Ends the stream, also while another thread is reading it."""
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)


class Client:
    """Requests to one API server. Connections are opened on demand and kept."""

    def __init__(self, access: kubeconfig.Access, on_warning: Callable[[str], None] = lambda _: None) -> None:
        self._access = access
        self._credentials = kubeconfig.Credentials(access)
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._tls_lock = threading.Lock()
        self._tls: Any = None
        self._on_warning = on_warning

    def close(self) -> None:
        """Closes the idle connections."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    @property
    def namespace(self) -> str:
        """The context's namespace."""
        return self._access.namespace

    def get(self, path: str, query: dict[str, str] | None = None) -> Object:
        """An object, or a list of objects."""
        return self.request("GET", path, query)

    def apply(self, path: str, body: Object, manager: str, *, force: bool, dry_run: bool) -> Object:
        """Server-side apply: creates the object or merges `body` into it; returns it whole.

        Fields that the kind does not have are refused.
        """
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        return self.request("PATCH", path, query, body, APPLY)

    def replace(self, path: str, body: Object, manager: str, *, dry_run: bool) -> Object:
        """PUT: the object becomes `body`."""
        query = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        return self.request("PUT", path, query, body)

    def delete(self, path: str, policy: str) -> Object:
        """Asks for deletion with that propagation policy."""
        return self.request("DELETE", path, None, {"propagationPolicy": policy})

    def text(self, path: str, query: dict[str, str]) -> str:
        """An answer that is not JSON, such as a log."""
        return self._send("GET", path, query, None, "application/json").decode(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request; raises ApiError or Unreachable."""
        answer: Object = json.loads(self._send(method, path, query, body, content_type) or b"{}")
        return answer

    def _send(
        self, method: str, path: str, query: dict[str, str] | None, body: Object | None, content_type: str
    ) -> bytes:
        pause, attempt = 0.25, 0
        while True:
            attempt += 1
            try:
                status, headers, content = self._exchange(method, path, query, body, content_type)
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(self._unreachable(error)) from error
            if status < http.HTTPStatus.BAD_REQUEST:
                return content
            if status == http.HTTPStatus.UNAUTHORIZED and attempt == 1:
                self._credentials.forget()
            elif status in (429, 503) and attempt <= RETRIES:
                time.sleep(min(float(headers.get("Retry-After") or pause), 10.0))
                pause *= 2
            else:
                raise _error(status, content)

    def _exchange(
        self, method: str, path: str, query: dict[str, str] | None, body: Object | None, content_type: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection, reused = self._take()
        try:
            try:
                response = self._write(connection, method, path, query, body, content_type)
            except (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest):
                if not reused:
                    raise
                # The server closed an idle connection: every request here may be sent twice.
                connection.close()
                connection = self._open()
                response = self._write(connection, method, path, query, body, content_type)
            content = response.read()
        except BaseException:
            connection.close()
            raise
        self._warn(response)
        self._idle.put(connection)
        return response.status, response.headers, content

    def _write(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: Object | None,
        content_type: str,
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "crossover-stand-in-kubernetes"}
        if header := self._credentials.header():
            headers["Authorization"] = header
        if body is not None:
            headers["Content-Type"] = content_type
        prefix = self._access.server.path.rstrip("/")
        target = prefix + path + (f"?{urlencode(query)}" if query else "")
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def _warn(self, response: http.client.HTTPResponse) -> None:
        for header in response.headers.get_all("Warning") or []:
            # `299 - "TEXT"` by RFC 7234.
            _, _, text = header.partition('"')
            self._on_warning(text.removesuffix('"').replace('\\"', '"'))

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        try:
            return self._idle.get_nowait(), True
        except queue.Empty:
            return self._open(), False

    def _open(self, timeout: float = REQUEST_SECONDS) -> http.client.HTTPConnection:
        address = self._access.server
        host, port = address.hostname or "", address.port
        connection: http.client.HTTPConnection
        if address.scheme == "http":
            connection = http.client.HTTPConnection(host, port or 80, timeout=CONNECT_SECONDS)
        else:
            with self._tls_lock:
                if self._tls is None:
                    self._tls = kubeconfig.tls_context(self._access, *self._credentials.certificate())
            connection = http.client.HTTPSConnection(host, port or 443, timeout=CONNECT_SECONDS, context=self._tls)
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable(self._unreachable(error)) from error
        connection.sock.settimeout(timeout)
        return connection

    def _unreachable(self, error: Exception) -> str:
        return (
            f"the Kubernetes API server at {self._access.server.geturl()} cannot be reached: {error}. "
            "Is the cluster up, and is the kubeconfig its own?"
        )

    def stream(self, path: str, query: dict[str, str], silence: float = WATCH_SECONDS + 30.0) -> Stream:
        """Opens an answer that arrives line by line; `silence` seconds without a line end it."""
        connection = self._open(silence)
        try:
            response = self._write(connection, "GET", path, query, None, "application/json")
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise _error(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(self._unreachable(error)) from error
        except ApiError:
            connection.close()
            raise
        return Stream(connection, response)


def _error(status: int, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    message = body.get("message") if isinstance(body, dict) else None
    return ApiError(status, message or f"HTTP {status}: {content[:200].decode(errors='replace')}", body)

"""Calls of the services' HTTP APIs as a user makes them: at an address, or through the API server's proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from adapters.routes.base import RouteConflict, RouteMissing, RouteUnavailable
from adapters.routes.rest import call
from contracts.names import HTTP_PORT

CALL_SECONDS = 60.0
_MOST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Answered:
    """What a service answered: `content` is its JSON, or its text where it is none."""

    status: int
    content: Any


class ServiceCalls(ABC):
    """The API of one service."""

    @abstractmethod
    def ask(self, method: str, path: str, body: Any = None, *, seconds: float = CALL_SECONDS) -> Answered:
        """The answer to `method` on `path`, whatever its status. Raises RouteUnavailable where there is none within
        `seconds`."""


class Direct(ServiceCalls):
    """A service at an address, such as a forwarded port."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address of a service: give http://HOST:PORT")
        self._url = url.rstrip("/")

    def ask(self, method: str, path: str, body: Any = None, *, seconds: float = CALL_SECONDS) -> Answered:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            self._url + path, method=method, headers={"Content-Type": "application/json"},
            data=json.dumps(body).encode() if body is not None else None,
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
                return Answered(answer.status, _read(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answered(error.code, _read(error.read()))
        except OSError as error:
            raise RouteUnavailable(f"{method} {self._url}{path}: no answer ({error})", status=0, said="") from error


class Proxied(ServiceCalls):
    """A service of a namespace, through the API server. `api` is a client from `connect`."""

    def __init__(self, api: Any, namespace: str, service: str) -> None:
        self._api = api
        self._base = f"/api/v1/namespaces/{namespace}/services/{service}:{HTTP_PORT}/proxy"

    def ask(self, method: str, path: str, body: Any = None, *, seconds: float = CALL_SECONDS) -> Answered:
        path, _, query = path.partition("?")
        pairs = [(key, value) for key, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
        try:
            answer = call(self._api, method, self._base + path, query=pairs, body=body, timeout=seconds)
        except (RouteConflict, RouteMissing) as error:
            said = getattr(error.__cause__, "body", None) or str(error)
            return Answered(404 if isinstance(error, RouteMissing) else 409, _read(str(said).encode()))
        except RouteUnavailable as error:
            if not error.status:
                raise
            return Answered(error.status, _read(error.said.encode()))
        return Answered(200, _read(answer.content))


def _read(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")[:_MOST_TEXT]

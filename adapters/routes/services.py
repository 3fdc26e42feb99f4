"""What services say of themselves, asked through the API server: nothing else of the cluster has to be reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from adapters.routes.base import RouteUnavailable
from adapters.routes.kubernetes import translated
from adapters.routes.rest import call
from contracts.names import HTTP_PORT

ANSWER_SECONDS = 10.0
_NOT_READY = 503
_MOST_TEXT = 500


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service answered, whatever its status."""

    status: int
    content_type: str
    content: bytes


def asked(
    api: Any, namespace: str, service: str, method: str, path: str, *, headers: Mapping[str, str], body: Any,
    timeout: float = 60.0,
) -> ServiceAnswer:  # fmt: skip
    """What `service` answers to `method` on `path`, with `body` as JSON. `api` is a client from `connect`.

    Raises RouteUnavailable where the API server reaches nobody, or is not reached itself.
    """
    parts = urlsplit(path)
    proxy = f"{_proxy(namespace, service)}{parts.path}"
    sent = {"Content-Type": "application/json", "Accept": "application/json, */*", **headers}
    with translated(f"{method} {proxy}"):
        request = api.param_serialize(
            method, proxy, query_params=parse_qsl(parts.query, keep_blank_values=True), header_params=sent, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        response = api.call_api(*request, _request_timeout=timeout)
        response.read()
    content, content_type = bytes(response.data or b""), response.getheader("content-type") or ""
    if (said := _of_the_api_server(content)) is not None:
        raise RouteUnavailable(f"{method} {proxy}: {said}", status=response.status)
    return ServiceAnswer(response.status, content_type, content)


def _of_the_api_server(content: bytes) -> str | None:
    """Its own words, where it is the API server that answers, and not the service."""
    if not content.startswith(b'{"kind":"Status"'):
        return None
    try:
        told = json.loads(content)
    except ValueError:
        return None
    return str(told.get("message", ""))[:_MOST_TEXT] if told.get("apiVersion") == "v1" else None


def _proxy(namespace: str, service: str) -> str:
    return f"/api/v1/namespaces/{namespace}/services/{service}:{HTTP_PORT}/proxy"


def unready(api: Any, namespace: str, service: str) -> str | None:
    """Why `service` is not ready, as its /readyz has it; None where it is. `api` is a client from `connect`.

    Raises RouteError where it cannot be asked.
    """
    path = f"{_proxy(namespace, service)}/readyz"
    try:
        call(api, "GET", path, timeout=ANSWER_SECONDS)
    except RouteUnavailable as error:
        if error.status == _NOT_READY:
            return error.said[:_MOST_TEXT] or "it answers 503"
        raise
    return None

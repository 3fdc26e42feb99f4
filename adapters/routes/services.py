"""What services say of themselves, asked through the API server: nothing else of the cluster has to be reached."""

from __future__ import annotations

from typing import Any

from adapters.routes.base import RouteUnavailable
from adapters.routes.rest import call
from contracts.names import HTTP_PORT

ANSWER_SECONDS = 10.0
_NOT_READY = 503
_MOST_TEXT = 500


def unready(api: Any, namespace: str, service: str) -> str | None:
    """Why `service` is not ready, as its /readyz has it; None where it is. `api` is a client from `connect`.

    Raises RouteError where it cannot be asked.
    """
    path = f"/api/v1/namespaces/{namespace}/services/{service}:{HTTP_PORT}/proxy/readyz"
    try:
        call(api, "GET", path, timeout=ANSWER_SECONDS)
    except RouteUnavailable as error:
        if error.status == _NOT_READY:
            return error.said[:_MOST_TEXT] or "it answers 503"
        raise
    return None

"""One request to the API server, for what the client has no handy call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.routes.kubernetes import translated


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    content: bytes
    headers: Mapping[str, str]

    @property
    def object(self) -> Any:
        """The content as the JSON that it is."""
        return json.loads(self.content)


def call(
    api: Any,
    method: str,
    path: str,
    *,
    query: Sequence[tuple[str, str]] = (),
    body: Any = None,
    timeout: float = 30.0,
    accept: str = "",
) -> Answer:
    """The answer to `method` on `path`, within `timeout` s. `api` is a client from `connect`; `accept`: in which form,
    where not as it is.

    Raises RouteConflict, RouteMissing, RouteUnavailable.
    """
    headers = {"Content-Type": "application/json", "Accept": accept or "application/json, */*"}
    with translated(f"{method} {path}"):
        request = api.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = api.call_api(*request, _request_timeout=timeout)
        response.read()
        answer = api.response_deserialize(response, {"2XX": "bytes"})
        return Answer(bytes(answer.data), dict(answer.headers))

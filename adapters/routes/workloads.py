"""Whether what runs all the time does: Deployments of one namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.routes.rest import call

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """A Deployment: how many pods it is to have, and how many are ready."""

    wanted: int
    ready: int


def pods_of(api: Any, namespace: str, name: str) -> dict[str, Any]:
    """The template of the pods of Deployment `name`. Raises RouteMissing where there is none, RouteUnavailable."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    template: dict[str, Any] = call(api, "GET", path, timeout=_SECONDS).object["spec"]["template"]
    return template


def deployed(api: Any, namespace: str, name: str) -> Deployed:
    """How Deployment `name` stands. Raises RouteMissing where there is none, RouteUnavailable."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    found = call(api, "GET", path, timeout=_SECONDS).object
    return Deployed(int(found["spec"].get("replicas", 1)), int(found.get("status", {}).get("readyReplicas", 0)))

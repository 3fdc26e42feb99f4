"""What the API server says of this process: its rights, by SelfSubjectAccessReview, and the time, by its answers.

Asking needs no rule of a role: Kubernetes grants it to every user (`system:basic-user`).
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from adapters.routes.base import ClusterAccess, Permission, RouteUnavailable
from adapters.routes.rest import call

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SECONDS = 5.0


class KubernetesAccess(ClusterAccess):
    """Of one namespace. `api` is a client from `connect`."""

    def __init__(self, namespace: str, api: Any) -> None:
        self._namespace = namespace
        self._api = api

    def allows(self, permission: Permission) -> bool:
        asked = {
            "namespace": self._namespace,
            "verb": permission.verb,
            "group": permission.group,
            "resource": permission.resource,
            "name": permission.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        status = call(self._api, "POST", _REVIEWS, body=review, timeout=_SECONDS).object.get("status", {})
        if status.get("evaluationError") and not status.get("allowed"):
            raise RouteUnavailable(f"whether this process may {permission}: {status['evaluationError']}")
        return bool(status.get("allowed"))

    def clock_ahead(self) -> tuple[float, float]:
        began, ticks = time.time(), time.perf_counter()
        headers = call(self._api, "GET", "/version", timeout=_SECONDS).headers
        passed = time.perf_counter() - ticks
        told = {name.lower(): value for name, value in headers.items()}.get("date")
        if told is None:
            raise RouteUnavailable("the API server's answers have no Date")
        # The header leaves fractions of a second out.
        server = parsedate_to_datetime(told).timestamp() + 0.5
        return server - (began + passed / 2), 0.5 + passed / 2

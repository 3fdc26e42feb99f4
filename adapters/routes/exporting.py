"""What a namespace holds, as manifests that could be applied again: without what the API server adds by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.routes.rest import call

_PLACES: Mapping[str, str] = {
    "configmaps": "/api/v1", "services": "/api/v1", "serviceaccounts": "/api/v1", "persistentvolumeclaims": "/api/v1",
    "deployments": "/apis/apps/v1", "statefulsets": "/apis/apps/v1", "jobs": "/apis/batch/v1",
    "cronjobs": "/apis/batch/v1", "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1", "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
}  # fmt: skip
SECRETS = "secrets"
_ADDED = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
_PAGE = "500"


def manifests(api: Any, namespace: str) -> dict[str, list[dict[str, Any]]]:
    """By resource, all that is no Secret. Raises RouteUnavailable."""
    return {resource: _listed(api, place, namespace, resource) for resource, place in _PLACES.items()}


def secrets(api: Any, namespace: str) -> list[dict[str, Any]]:
    """The Secrets, in the clear, but for tokens that the cluster makes by itself. Raises RouteUnavailable."""
    found = _listed(api, "/api/v1", namespace, SECRETS)
    return [one for one in found if one.get("type") != _TOKEN]


def whoami(api: Any) -> str:
    """The caller's name to the API server. Raises RouteUnavailable, RouteMissing: before Kubernetes 1.28."""
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = call(api, "POST", path, body=body).object
    return str(answer["status"]["userInfo"]["username"])


def _listed(api: Any, place: str, namespace: str, resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    onward = ""
    while True:
        query = [("limit", _PAGE), *([("continue", onward)] if onward else [])]
        page = call(api, "GET", f"{place}/namespaces/{namespace}/{resource}", query=query).object
        version, kind = page["apiVersion"], str(page["kind"]).removesuffix("List")
        found += [{"apiVersion": version, "kind": kind, **plain(one)} for one in page["items"]]
        onward = page.get("metadata", {}).get("continue", "")
        if not onward:
            return found


def plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """One object without status and what is given to it."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _ADDED}
    notes = {key: value for key, value in metadata.get("annotations", {}).items() if key != _APPLIED}
    metadata.pop("annotations", None)
    kept = {key: value for key, value in item.items() if key not in ("status", "metadata", "apiVersion", "kind")}
    return {"metadata": metadata | ({"annotations": notes} if notes else {}), **kept}

"""Where each kind lives in the API: asked of the server, group by group, and kept."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from local.pulumi_plugins.kube.client import ApiError, Client
from local.pulumi_plugins.kube.objects import Kind


class UnknownKind(Exception):
    """The API server has no such kind (yet): its CustomResourceDefinition is missing."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(
            f"the API server has no {kind.name} in {kind.api_version}: create its CustomResourceDefinition first"
        )
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The collection that holds objects of a kind."""

    kind: Kind
    plural: str
    namespaced: bool

    def collection(self, namespace: str = "") -> str:
        """The path of the kind's objects, in one namespace or in all."""
        root = f"/apis/{self.kind.group}/{self.kind.version}" if self.kind.group else f"/api/{self.kind.version}"
        return (
            f"{root}/namespaces/{namespace}/{self.plural}" if self.namespaced and namespace else f"{root}/{self.plural}"
        )

    def item(self, namespace: str, name: str) -> str:
        """The path of one object."""
        return f"{self.collection(namespace or 'default')}/{name}"


class Discovery:
    """Finds endpoints. A group that lacks a kind is asked again: CRDs appear at any time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[Kind, Endpoint] = {}

    def find(self, kind: Kind) -> Endpoint:
        """The kind's endpoint; raises UnknownKind."""
        with self._lock:
            known = self._known.get(kind)
        if known is not None:
            return known
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        try:
            answer = self._client.get(root)
        except ApiError as error:
            if error.status == 404:
                raise UnknownKind(kind) from error
            raise
        with self._lock:
            for item in answer.get("resources", []):
                if "/" not in item["name"]:
                    found = Kind(kind.group, kind.version, item["kind"])
                    self._known.setdefault(found, Endpoint(found, item["name"], item["namespaced"]))
            if kind not in self._known:
                raise UnknownKind(kind)
            return self._known[kind]

    def forget(self, group: str) -> None:
        """Asks again about a group: its definitions changed."""
        with self._lock:
            self._known = {kind: found for kind, found in self._known.items() if kind.group != group}

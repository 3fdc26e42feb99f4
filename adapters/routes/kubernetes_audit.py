"""The audit log in ConfigMaps of a namespace of its own.

Who appends may get, create and update ConfigMaps there, and delete none; who reads lists them. A full one is made
`immutable`: the API server then refuses every change of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapters.routes.audit import Segment, SegmentedLog, Segments, segment_name
from adapters.routes.base import RouteMissing
from adapters.routes.rest import call
from contracts import names

_KEY = "entries.jsonl"
_LABELS = {"app.kubernetes.io/part-of": "crossover"}
_SECONDS = 5.0
_PAGE = "10"
_NAME = re.compile(r"crossover-audit-(\d+)")


class KubernetesSegments(Segments):
    """ConfigMaps `crossover-audit-000001` and on. `api` is a client from `connect`."""

    def __init__(self, namespace: str, api: Any) -> None:
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._api = api

    def read(self, number: int) -> Segment | None:
        try:
            found = call(self._api, "GET", f"{self._path}/{segment_name(number)}", timeout=_SECONDS).object
        except RouteMissing:
            return None
        return _segment(number, found)

    def create(self, number: int, text: str) -> None:
        body = _body({"name": segment_name(number)}, text, sealed=False)
        call(self._api, "POST", self._path, body=body, timeout=_SECONDS)

    def replace(self, segment: Segment, text: str, *, sealed: bool = False) -> None:
        body = _body({"name": segment.name, "resourceVersion": segment.version}, text, sealed=sealed)
        call(self._api, "PUT", f"{self._path}/{segment.name}", body=body, timeout=_SECONDS)

    def all(self) -> Sequence[Segment]:
        found: list[Segment] = []
        onward = ""
        while True:
            query = [("limit", _PAGE), *([("continue", onward)] if onward else [])]
            page = call(self._api, "GET", self._path, query=query).object
            for item in page["items"]:
                # By name: a label can be taken off what is immutable.
                if named := _NAME.fullmatch(item["metadata"]["name"]):
                    found.append(_segment(int(named[1]), item))
            onward = page.get("metadata", {}).get("continue", "")
            if not onward:
                return sorted(found, key=lambda segment: segment.number)


def _segment(number: int, item: dict[str, Any]) -> Segment:
    text = (item.get("data") or {}).get(_KEY, "")
    return Segment(number, text, bool(item.get("immutable")), str(item["metadata"].get("resourceVersion", "")))


def _body(metadata: dict[str, str], text: str, *, sealed: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": {**metadata, "labels": _LABELS}, "data": {_KEY: text}}
    return body | ({"immutable": True} if sealed else {})


class KubernetesAudit(SegmentedLog):
    """The audit log of a cluster. `api` is a client from `connect`."""

    def __init__(self, namespace: str = names.AUDIT_NAMESPACE, api: Any = None) -> None:
        super().__init__(KubernetesSegments(namespace, api))

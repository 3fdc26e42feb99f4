"""Nodes, pods, volumes and metrics through the API server: nothing else of the cluster has to be reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from adapters.routes.base import RouteMissing
from adapters.routes.kubernetes import parse_quantity
from adapters.routes.resources import ClusterResources, Node, PodFacts, Volume
from adapters.routes.rest import call

_SECONDS = 10.0
_PAGE = "500"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Only the metadata of what is listed: of a Secret, not what is in it."""
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_REPELS = frozenset({"NoSchedule", "NoExecute"})


class KubernetesResources(ClusterResources):
    """`namespace` is the backend's; `api` is a client from `connect`."""

    def __init__(self, namespace: str, api: Any) -> None:
        self._namespace = namespace
        self._api = api

    def nodes(self) -> Sequence[Node]:
        return [_node(item) for item in self._listed("/api/v1/nodes")]

    def pods(self, *, everywhere: bool = False) -> Sequence[PodFacts]:
        path = "/api/v1/pods" if everywhere else f"/api/v1/namespaces/{self._namespace}/pods"
        return [pod_facts(item) for item in self._listed(path)]

    def memory_used(self) -> Mapping[str, float]:
        found = self._listed(f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._namespace}/pods")
        return {
            item["metadata"]["name"]: sum(_number(one["usage"].get("memory")) for one in item.get("containers") or [])
            for item in found
        }

    def volumes(self, node: str) -> Sequence[Volume]:
        found = call(self._api, "GET", f"/api/v1/nodes/{node}/proxy/stats/summary", timeout=_SECONDS).object
        return [
            Volume(volume["pvcRef"]["name"], float(volume["usedBytes"]), float(volume["capacityBytes"]))
            for pod in found.get("pods") or []
            for volume in pod.get("volume") or []
            if (volume.get("pvcRef") or {}).get("namespace") == self._namespace
            and volume.get("usedBytes") is not None and volume.get("capacityBytes")
        ]  # fmt: skip

    def storage_classes(self) -> Mapping[str, bool]:
        found = self._listed("/apis/storage.k8s.io/v1/storageclasses")
        return {
            item["metadata"]["name"]: (item["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
            for item in found
        }

    def secrets(self) -> frozenset[str]:
        path = f"/api/v1/namespaces/{self._namespace}/secrets"
        return frozenset(item["metadata"]["name"] for item in self._listed(path, accept=_METADATA))

    def alerts(self) -> frozenset[str]:
        return frozenset(
            str(rule["alert"])
            for item in self._listed("/apis/monitoring.coreos.com/v1/prometheusrules")
            for group in item.get("spec", {}).get("groups") or []
            for rule in group.get("rules") or []
            if "alert" in rule
        )

    def scales(self) -> bool:
        with suppress(RouteMissing):
            call(self._api, "GET", "/apis/karpenter.sh", timeout=_SECONDS)
            return True
        return False

    def metrics(self, pod: str, port: int) -> str:
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{port}/proxy/metrics"
        return call(self._api, "GET", path, timeout=_SECONDS).content.decode(errors="replace")

    def _listed(self, path: str, *, accept: str = "") -> Iterator[dict[str, Any]]:
        """All items at `path`, a page at a time."""
        onward = ""
        while True:
            query = [("limit", _PAGE), *([("continue", onward)] if onward else [])]
            page = call(self._api, "GET", path, query=query, timeout=_SECONDS, accept=accept).object
            yield from page.get("items") or []
            onward = (page.get("metadata") or {}).get("continue", "")
            if not onward:
                return


def _number(quantity: Any) -> float:
    return float(parse_quantity(quantity)) if quantity not in (None, "") else 0.0


def _node(item: Mapping[str, Any]) -> Node:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    taints = {one.get("effect") for one in spec.get("taints") or []}
    allocatable = status.get("allocatable") or {}
    return Node(
        name=item["metadata"]["name"],
        ready=conditions.get("Ready") == "True",
        takes_pods=not spec.get("unschedulable") and not taints & _REPELS,
        cpu=_number(allocatable.get("cpu")),
        memory=_number(allocatable.get("memory")),
        trouble=tuple(sorted(kind for kind, told in conditions.items() if kind != "Ready" and told == "True")),
    )


def pod_facts(item: Mapping[str, Any]) -> PodFacts:
    """What the API's `item` says of a pod."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    containers = spec.get("containers") or []
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    asked = [one.get("resources") or {} for one in containers]
    limits = [_number((one.get("limits") or {}).get("memory")) for one in asked]
    return PodFacts(
        name=metadata["name"],
        app=str((metadata.get("labels") or {}).get("app", "")),
        phase=str(status.get("phase", "")),
        ready=conditions.get("Ready", {}).get("status") == "True",
        node=str(spec.get("nodeName") or ""),
        waits=_waits(states, conditions.get("PodScheduled") or {}),
        restarts=sum(int(one.get("restartCount") or 0) for one in states),
        killed=_killed(states),
        cpu=sum(_number((one.get("requests") or {}).get("cpu")) for one in asked),
        memory=sum(_number((one.get("requests") or {}).get("memory")) for one in asked),
        limit=sum(limits) if all(limits) else 0.0,
        ports={
            str(port.get("name") or port["containerPort"]): int(port["containerPort"])
            for one in containers for port in one.get("ports") or []
        },
        secrets=frozenset(_secrets(spec)),
    )  # fmt: skip


def _waits(states: Sequence[Mapping[str, Any]], placed: Mapping[str, Any]) -> str:
    """Why it does not run: it has no place, or a container waits for more than its making."""
    if placed.get("status") == "False":
        return f"{placed.get('reason', '')}: {placed.get('message', '')}"
    for one in states:
        waiting = (one.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason", ""))
        if reason and reason not in {"ContainerCreating", "PodInitializing"}:
            return f"{reason}: {waiting.get('message', '')}"
    return ""


def _killed(states: Sequence[Mapping[str, Any]]) -> tuple[datetime, str] | None:
    """The newest end of a container that was not a good one."""
    ends = [
        (datetime.fromisoformat(end["finishedAt"]), str(end.get("reason", "")))
        for one in states
        for end in ((one.get("lastState") or {}).get("terminated"), (one.get("state") or {}).get("terminated"))
        if end and end.get("finishedAt") and end.get("exitCode")
    ]
    return max(ends, default=None)


def _secrets(spec: Mapping[str, Any]) -> Iterator[str]:
    """The Secrets that the pod cannot start without."""
    for one in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        sources = [source.get("secretRef") for source in one.get("envFrom") or []]
        sources += [(variable.get("valueFrom") or {}).get("secretKeyRef") for variable in one.get("env") or []]
        yield from (source["name"] for source in sources if source and not source.get("optional"))
    for volume in spec.get("volumes") or []:
        source = volume.get("secret")
        if source and not source.get("optional"):
            yield source["secretName"]

"""GPUs of the cluster's nodes, as NVIDIA's device plugin offers them and its feature discovery labels them.

Listing nodes needs a ClusterRole: components/llm_access.py grants it where our own models run on GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.routes.base import ClusterNodes, GpuNode
from adapters.routes.rest import call

GPU = "nvidia.com/gpu"
_MEMORY_LABELS = ("nvidia.com/gpu.memory", "karpenter.k8s.aws/instance-gpu-memory")
"""MiB of one GPU, by feature discovery, and by Karpenter on AWS."""
_SECONDS = 10.0


class KubernetesNodes(ClusterNodes):
    """`api` is a client from `connect`."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def with_gpus(self) -> Sequence[GpuNode]:
        found = call(self._api, "GET", "/api/v1/nodes", timeout=_SECONDS).object.get("items") or []
        nodes = [_node(item) for item in found if not (item.get("spec") or {}).get("unschedulable")]
        return [node for node in nodes if node.gpus > 0]


def _node(item: Mapping[str, Any]) -> GpuNode:
    metadata, status = item.get("metadata") or {}, item.get("status") or {}
    allocatable = status.get("allocatable") or {}
    labels = metadata.get("labels") or {}
    told = next((labels[name] for name in _MEMORY_LABELS if str(labels.get(name, "")).isdigit()), None)
    return GpuNode(
        str(metadata.get("name", "")), int(allocatable.get(GPU) or 0), None if told is None else int(told) / 1024
    )

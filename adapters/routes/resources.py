"""What the cluster has and what of it is used: nodes, pods, volumes, who watches. The interface, and a fake.

All of it is read with the caller's own rights, which may not reach beyond the backend's namespace: then a fact could
not be had.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from adapters.routes.base import RouteMissing


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `takes_pods`: neither cordoned nor tainted against all that does not tolerate it; `trouble`: pressure
    that it tells of. `cpu` in cores, `memory` in bytes: what pods may ask for in all."""

    name: str
    ready: bool
    takes_pods: bool
    cpu: float
    memory: float
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod. `waits`: why it does not run, or is not placed; `killed`: when and why a container of it ended last, other
    than well. `cpu` and `memory` are asked for, `limit` is the most memory that it may take, 0: any; bytes."""

    name: str
    app: str
    phase: str
    ready: bool
    node: str = ""
    waits: str = ""
    restarts: int = 0
    killed: tuple[datetime, str] | None = None
    cpu: float = 0.0
    memory: float = 0.0
    limit: float = 0.0
    ports: Mapping[str, int] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()

    @property
    def over(self) -> bool:
        """Whether it has ended, and takes nothing any more."""
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a claim, in bytes, as the kubelet measured it."""

    claim: str
    used: float
    capacity: float


class ClusterResources(ABC):
    """All raise RouteUnavailable; RouteMissing where the cluster does not serve what is asked for."""

    @abstractmethod
    def nodes(self) -> Sequence[Node]:
        """All nodes."""

    @abstractmethod
    def pods(self, *, everywhere: bool = False) -> Sequence[PodFacts]:
        """Those of the backend's namespace, or of all namespaces."""

    @abstractmethod
    def memory_used(self) -> Mapping[str, float]:
        """Bytes that each pod of the namespace has in use, as metrics.k8s.io tells."""

    @abstractmethod
    def volumes(self, node: str) -> Sequence[Volume]:
        """The namespace's volumes that pods on `node` have mounted, as its kubelet tells."""

    @abstractmethod
    def storage_classes(self) -> Mapping[str, bool]:
        """By name, whether it is the default."""

    @abstractmethod
    def secrets(self) -> frozenset[str]:
        """The names of the namespace's Secrets. What is in them is not asked for."""

    @abstractmethod
    def alerts(self) -> frozenset[str]:
        """The names of the alerts of every PrometheusRule."""

    @abstractmethod
    def scales(self) -> bool:
        """Whether nodes are made as they are needed, as far as that can be seen: Karpenter's API is served."""

    @abstractmethod
    def metrics(self, pod: str, port: int) -> str:
        """What `pod` serves at /metrics, in Prometheus' text format."""


@dataclass
class MemoryResources(ClusterResources):
    """A cluster in this process. What is None is not served; `exposed`: by pod."""

    nodes_: list[Node] = field(default_factory=list)
    pods_: list[PodFacts] = field(default_factory=list)
    elsewhere: list[PodFacts] = field(default_factory=list)
    used: dict[str, float] | None = None
    volumes_: dict[str, list[Volume]] = field(default_factory=dict)
    classes: dict[str, bool] = field(default_factory=dict)
    secrets_: frozenset[str] = frozenset()
    alerts_: frozenset[str] | None = None
    scales_: bool = False
    exposed: dict[str, str] = field(default_factory=dict)

    def nodes(self) -> Sequence[Node]:
        return self.nodes_

    def pods(self, *, everywhere: bool = False) -> Sequence[PodFacts]:
        return [*self.pods_, *(self.elsewhere if everywhere else [])]

    def memory_used(self) -> Mapping[str, float]:
        return _served(self.used, "metrics.k8s.io")

    def volumes(self, node: str) -> Sequence[Volume]:
        return self.volumes_.get(node, [])

    def storage_classes(self) -> Mapping[str, bool]:
        return self.classes

    def secrets(self) -> frozenset[str]:
        return self.secrets_

    def alerts(self) -> frozenset[str]:
        return _served(self.alerts_, "monitoring.coreos.com")

    def scales(self) -> bool:
        return self.scales_

    def metrics(self, pod: str, port: int) -> str:
        del port
        return _served(self.exposed.get(pod), f"/metrics of {pod}")


def _served[T](found: T | None, what: str) -> T:
    if found is None:
        raise RouteMissing(f"{what} is not served")
    return found

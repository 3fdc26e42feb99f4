"""Stack config of the nodes that our own models run on, and of how many pods there are by load. Frozen.

What the keys mean for operators is told in docs/llm-own-models.md.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.config_errors import unfit

GPU = "nvidia.com/gpu"
"""The resource of NVIDIA's device plugin, and the taint that such nodes usually have."""
Duration = Annotated[str, Field(pattern=r"^(([0-9]+(s|m|h))+|Never)$")]
"""As Karpenter has it: 10m, 720h, Never."""
Label = Annotated[
    str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
]
"""The key of a label or a taint."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Taint(_Model):
    """Keeps pods off a node that do not tolerate it."""

    key: Label
    value: str = Field(default="", max_length=63)
    """Empty: whatever the node's is."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Requirement(_Model):
    """What a node that Karpenter makes must be."""

    key: Label
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"]
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        none = self.operator in ("Exists", "DoesNotExist")
        one = self.operator in ("Gt", "Lt", "Gte", "Lte")
        if (none and self.values) or (not none and not self.values) or (one and len(self.values) != 1):
            wanted = "none" if none else "one" if one else "at least one"
            raise unfit(
                f"operator {self.operator} takes {wanted}, and values has {len(self.values)}: Karpenter would refuse "
                "the pool",
                key="values",
                fix="'[]'" if none else "'[VALUE]'",
            )
        return self


class NodeClass(_Model):
    """The cloud's half of a pool: an EC2NodeClass, an AKSNodeClass. It is made beside this program."""

    group: str = Field(min_length=1, pattern=r"^[a-z0-9.-]+$")
    kind: str = Field(min_length=1)
    name: str = Field(min_length=1)


class Consolidation(_Model):
    """When Karpenter takes a node away."""

    policy: Literal["WhenEmpty", "WhenEmptyOrUnderutilized"] = "WhenEmpty"
    """WhenEmpty: a model that runs is never moved to save a node; it would be away for as long as it loads."""
    after: Duration = "10m"
    expire_after: Duration = "720h"
    """The age at which a node is replaced."""


_ANY_NODE = (
    Requirement(key="kubernetes.io/arch", operator="In", values=("amd64",)),
    # A spot node that is taken away ends the streams on it.
    Requirement(key="karpenter.sh/capacity-type", operator="In", values=("on-demand",)),
)


class PoolSettings(_Model):
    """The nodes with GPUs."""

    kind: Literal["existing", "karpenter"] = "existing"
    labels: dict[Label, str] = Field(default_factory=dict)
    """Of the nodes. existing: what they have; karpenter: what they get beside the pool's own."""
    taints: tuple[Taint, ...] = (Taint(key=GPU, effect="NoSchedule"),)
    """Which the models' pods tolerate, and Karpenter's nodes get."""
    node_class: NodeClass | None = None
    requirements: tuple[Requirement, ...] = _ANY_NODE
    limits: dict[str, int | str] = Field(default_factory=dict)
    """Of the whole pool, by resource: what it can cost at most."""
    consolidation: Consolidation = Field(default_factory=Consolidation)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = self.model_fields_set & {"node_class", "requirements", "limits", "consolidation"}
        if self.kind == "existing" and given:
            raise unfit(
                f"{', '.join(sorted(given))} would have no effect on nodes that are there already",
                key="kind",
                fix="karpenter",
            )
        if self.kind == "karpenter" and self.node_class is None:
            raise unfit(
                "kind is karpenter without node_class: it would not know how to make a node",
                key="node_class",
                fix="...: group, kind and name of one (karpenter.k8s.aws, EC2NodeClass, gpu)",
            )
        if self.kind == "karpenter" and not str(self.limits.get(GPU, "")).isdigit():
            raise unfit(
                f"limits names no count of {GPU}: nothing would bound what the pool costs",
                key=f'limits["{GPU}"]',
                fix="COUNT",
            )
        return self


class ScalingSettings(_Model):
    """How the pods of a model grow between their min and max."""

    kind: Literal["none", "hpa", "keda"] = "none"
    """hpa: by the custom metrics API (prometheus-adapter); keda: by Prometheus itself."""
    waiting: int = Field(default=4, ge=1)
    """Questions that wait, a pod: above it there are more pods."""
    kv_cache: float = Field(default=0.8, gt=0, lt=1)
    """How full the cache may be on average: beyond it questions begin to wait for memory."""
    prometheus: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    """Its address, for keda."""
    calm_seconds: int = Field(default=600, ge=0, le=3600)
    """How long fewer must have been enough, before one goes."""

    @model_validator(mode="after")
    def _has_figures(self) -> Self:
        if self.kind == "keda" and self.prometheus is None:
            raise unfit(
                "kind is keda without prometheus: it would have no figures to scale by",
                key="prometheus",
                fix="http://prometheus-operated.monitoring.svc:9090",
            )
        return self


class MonitorSettings(_Model):
    """A ServiceMonitor for the Prometheus operator."""

    enabled: bool = False
    namespace: str = Field(default="monitoring", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Where Prometheus runs: it alone is let in."""
    labels: dict[Label, str] = Field(default_factory=dict)
    """By which the operator picks ServiceMonitors (kube-prometheus-stack: release)."""

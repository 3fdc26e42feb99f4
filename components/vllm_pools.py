"""The nodes with GPUs: which of them the models' pods may run on, and the pool that Karpenter makes them from. Pure.

Pools of a cloud's own (a managed node group, a node pool of GKE) are not made here: docs/llm-own-models.md shows how to
make one beside this program, and `pools` then names its labels and taints.
"""

from __future__ import annotations

from components.pods import Manifest, labels
from components.settings import Settings
from components.vllm_pool_settings import GPU, Taint
from components.vllm_settings import VllmSettings
from contracts import names


def pool_name(settings: Settings) -> str:
    """Of Karpenter's pool. A pool belongs to the whole cluster, so the namespace is part of its name."""
    return f"{settings.namespaces.backend}-{names.OWN_LLM_NAME}"


def placement(settings: Settings, own: VllmSettings, app: str) -> Manifest:
    """Where the pods of `app` may run: on the pool's nodes, whose taints keep everything else off, and over zones as
    far as there are free GPUs in several."""
    pools = own.pools
    chosen = dict(pools.labels)
    if pools.kind == "karpenter":
        chosen[names.LABEL_POOL] = pool_name(settings)
    return {
        **({"nodeSelector": chosen} if chosen else {}),
        **({"tolerations": [_toleration(taint) for taint in pools.taints]} if pools.taints else {}),
        **spread(app),
    }


def spread(app: str) -> Manifest:
    """Over zones. Not at any price: where only one zone has a node free, a pod there is better than none."""
    constraint = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": app}},
    }
    return {"topologySpreadConstraints": [constraint]}


def node_pools(settings: Settings, own: VllmSettings) -> list[Manifest]:
    """Karpenter's NodePool for all models; none where there are nodes already."""
    pools = own.pools
    if pools.kind != "karpenter" or pools.node_class is None:
        return []
    name, after = pool_name(settings), pools.consolidation
    node = {
        "nodeClassRef": pools.node_class.model_dump(),
        "requirements": [one.model_dump(exclude_defaults=True) for one in pools.requirements],
        "expireAfter": after.expire_after,
        **({"taints": [taint.model_dump(exclude_defaults=True) for taint in pools.taints]} if pools.taints else {}),
    }
    return [
        {
            "kind": "NodePool",
            "metadata": {"name": name, "labels": labels(names.OWN_LLM_NAME)},
            "spec": {
                "template": {"metadata": {"labels": {**pools.labels, names.LABEL_POOL: name}}, "spec": node},
                "limits": dict(pools.limits),
                "disruption": {
                    "consolidationPolicy": after.policy,
                    "consolidateAfter": after.after,
                    # One at a time: the pods of a node that is taken need minutes to load elsewhere.
                    "budgets": [{"nodes": "1"}],
                },
            },
        }
    ]


def devices(gpus: int) -> dict[str, int]:
    """What a pod with so many GPUs asks of NVIDIA's device plugin."""
    return {GPU: gpus}


def _toleration(taint: Taint) -> Manifest:
    matched = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
    return {"key": taint.key, "effect": taint.effect, **matched}

"""Which changes replace an object instead of updating it.

What the API server refuses to change, and what pulumi-kubernetes v4 replaces by its own
rules (provider/pkg/provider/diff.go there), so that both plan the same for one program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.pulumi_plugins.kube.objects import AUTONAMED, Kind, Object, is_annotated, name_of, namespace_of

type Path = tuple[str | int, ...]

_IDENTITY = ("metadata.name", "metadata.namespace")
_SELECTOR = ("spec.selector",)
_JOB = ("spec.completions", "spec.parallelism", "spec.selector", "spec.template", "spec.completionMode")
_STATEFUL_SET = (
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.selector",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
)
_CLAIM = (
    "spec.accessModes",
    "spec.dataSource",
    "spec.resources",
    "spec.selector",
    "spec.storageClassName",
    "spec.volumeMode",
    "spec.volumeName",
)
_POD_FIELDS = (
    *("affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy", "enableServiceLinks"),
    *("hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostname", "imagePullSecrets", "initContainers"),
    *("nodeName", "nodeSelector", "overhead", "preemptionPolicy", "priority", "priorityClassName"),
    *("readinessGates", "restartPolicy", "runtimeClassName", "schedulerName", "securityContext", "serviceAccount"),
    *("serviceAccountName", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "volumes"),
)
_VOLUME_SOURCES = (
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk"),
    *("portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"),
)

_RULES: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "ReplicaSet"): _SELECTOR,
    ("apps", "StatefulSet"): _STATEFUL_SET,
    ("batch", "Job"): _JOB,
    ("", "PersistentVolume"): tuple(f"spec.{source}" for source in _VOLUME_SOURCES),
    ("", "PersistentVolumeClaim"): _CLAIM,
    ("", "Pod"): tuple(f"spec.{name}" for name in _POD_FIELDS),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("scheduling.k8s.io", "PriorityClass"): ("value", "preemptionPolicy"),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"),
}


@dataclass(frozen=True, slots=True)
class Mutability:
    """The provider's options on data that the official provider replaces by default."""

    config_maps: bool = False
    """enableConfigMapMutable: changed data updates a ConfigMap that is not `immutable`."""
    secrets: bool = False
    """enableSecretMutable: the same for a Secret."""


def forcing_paths(kind: Kind, old: Object, new: Object, mutability: Mutability) -> list[Path]:
    """The property paths whose change replaces an object of `kind`."""
    names = list(_IDENTITY) + list(_RULES.get((kind.group, kind.name), ()))
    frozen = bool(old.get("immutable") or new.get("immutable"))
    if kind == Kind("", "v1", "ConfigMap") and (frozen or not mutability.config_maps):
        names += ["data", "binaryData"]
    if kind == Kind("", "v1", "Secret"):
        names.append("type")
        if frozen or not mutability.secrets:
            names += ["data", "stringData"]
    if kind.name in {"ConfigMap", "Secret"} and old.get("immutable"):
        names.append("immutable")
    return [tuple(name.split(".")) for name in names]


def forces(path: Path, value: Any, patterns: list[Path]) -> bool:
    """Whether a change at `path` (to or from `value`) touches one of `patterns`."""
    return any(_touches(path, value, pattern) for pattern in patterns)


def _touches(path: Path, value: Any, pattern: Path) -> bool:
    common = min(len(path), len(pattern))
    if path[:common] != pattern[:common]:
        return False
    # The change lies at or below the pattern, or above it and holds a value there.
    inside = value
    for key in pattern[common:]:
        if not isinstance(inside, dict) or key not in inside:
            return False
        inside = inside[key]
    return True


def delete_first(old_live: Object, new: Object) -> bool:
    """Whether the old object must go before its replacement comes: both have the same name."""
    return (
        not is_annotated(new, AUTONAMED)
        and name_of(new) != ""
        and name_of(new) == name_of(old_live)
        and namespace_of(new) == namespace_of(old_live)
    )

"""The other Kubernetes objects that the components are made of, as manifests. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.pods import Manifest, Pod, labels


def metadata(name: str, namespace: str, app: str | None = None) -> Manifest:
    """Name, namespace and labels."""
    return {"name": name, "namespace": namespace, "labels": labels(app or name)}


def deployment(pod: Pod, namespace: str, *, replicas: int = 1, recreate: bool = False) -> Manifest:
    """A Deployment named as its pod's app. `recreate`: two pods at a time would be wrong, so the old one goes first."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return {
        "kind": "Deployment",
        "metadata": metadata(pod.app, namespace),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": pod.app}},
            "strategy": {"type": "Recreate"} if recreate else rolling,
            "template": pod.manifest,
        },
    }


def stateful_set(pod: Pod, namespace: str, *, replicas: int, storage: str, storage_class: str) -> Manifest:
    """A StatefulSet named as its pod's app, with a volume `data` for each pod that outlives it."""
    claim: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    if storage_class:
        claim["storageClassName"] = storage_class
    return {
        "kind": "StatefulSet",
        "metadata": metadata(pod.app, namespace),
        "spec": {
            "replicas": replicas,
            "serviceName": pod.app,
            # Kafka's quorum needs a majority before any of them is ready.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": pod.app}},
            "template": pod.manifest,
            # A retired backend's data stays until somebody deletes the claim by hand.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def cron_job(pod: Pod, namespace: str, *, schedule: str, deadline: int) -> Manifest:
    """A CronJob named as its pod's app, by UTC. One run at a time, tried twice, of at most `deadline` s; one that was
    missed is made up for within an hour."""
    template = {"backoffLimit": 1, "activeDeadlineSeconds": deadline, "template": pod.manifest}
    return {
        "kind": "CronJob",
        "metadata": metadata(pod.app, namespace),
        "spec": {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": template},
        },
    }


def claim(name: str, namespace: str, *, storage: str, storage_class: str, access: str = "ReadWriteOnce") -> Manifest:
    """A PersistentVolumeClaim."""
    spec: Manifest = {"accessModes": [access], "resources": {"requests": {"storage": storage}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"kind": "PersistentVolumeClaim", "metadata": metadata(name, namespace), "spec": spec}


def service(
    app: str, namespace: str, ports: Mapping[str, int], *, headless: bool = False, name: str | None = None
) -> Manifest:
    """A Service in front of the pods of `app`, and named so unless `name` is given. `headless`: a DNS name for each
    pod, also before it is ready."""
    spec: Manifest = {
        "selector": {"app": app},
        "ports": [{"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in ports.items()],
    }
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return {"kind": "Service", "metadata": metadata(name or app, namespace, app), "spec": spec}


def secret(name: str, namespace: str, data: Mapping[str, Any]) -> Manifest:
    """A Secret from text."""
    return {"kind": "Secret", "metadata": metadata(name, namespace), "stringData": dict(data)}


def config_map(name: str, namespace: str, data: Mapping[str, Any]) -> Manifest:
    """A ConfigMap."""
    return {"kind": "ConfigMap", "metadata": metadata(name, namespace), "data": dict(data)}


def service_account(name: str, namespace: str) -> Manifest:
    """A ServiceAccount whose token is mounted only where a pod asks for it."""
    return {
        "kind": "ServiceAccount",
        "metadata": metadata(name, namespace),
        "automountServiceAccountToken": False,
    }


def disruption_budget(app: str, namespace: str) -> Manifest:
    """At most one pod of `app` at a time may be evicted. With one replica a drain of its node still goes on:
    every backend here comes back with its data, and adapters wait for it."""
    return {
        "kind": "PodDisruptionBudget",
        "metadata": metadata(app, namespace),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}},
    }


def rule(group: str, resource: str, verbs: Sequence[str], only: Sequence[str] = ()) -> Manifest:
    """One rule of a Role."""
    made: Manifest = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return made | ({"resourceNames": list(only)} if only else {})


def role(name: str, namespace: str, rules: Sequence[Manifest]) -> Manifest:
    """A Role."""
    return {"kind": "Role", "metadata": metadata(name, namespace), "rules": list(rules)}


def role_binding(
    name: str, namespace: str, role_name: str, accounts: Sequence[str], *, of: str | None = None
) -> Manifest:
    """Gives the Role to service accounts of the same namespace, or `of` another."""
    return {
        "kind": "RoleBinding",
        "metadata": metadata(name, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role_name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": of or namespace} for account in accounts],
    }


def cluster_role(name: str, rules: Sequence[Manifest]) -> Manifest:
    """A ClusterRole, for what is of no namespace."""
    return {"kind": "ClusterRole", "metadata": {"name": name, "labels": labels(name)}, "rules": list(rules)}


def cluster_role_binding(name: str, role_name: str, account: str, namespace: str) -> Manifest:
    """Gives the ClusterRole to one service account."""
    return {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": labels(name)},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role_name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }

"""Pods under Pod Security `restricted`, as manifests. Pure: what Pulumi gets is plain data with Outputs inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.sizes import Resources
from contracts import names

type Manifest = dict[str, Any]
"""A Kubernetes object, or a part of one, with the API's own key names."""

USER = 65532
"""The user and group of every container: no image of ours needs another."""
PART_OF = "crossover"
TMP = "/tmp"  # noqa: S108 - an emptyDir of each pod, shared with nobody


def labels(app: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The labels of everything that belongs to `app`."""
    return {"app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": PART_OF, **(extra or {})}


def env(**values: Any) -> list[Manifest]:
    """Environment variables with plain values; None leaves one out."""
    return [{"name": name, "value": value} for name, value in values.items() if value is not None]


def secret_env(variable: str, secret: str, key: str) -> Manifest:
    """A variable whose value is read from a Secret by the kubelet."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def field_env(variable: str, path: str) -> Manifest:
    """A variable with a fact of the pod itself."""
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def identity_env() -> list[Manifest]:
    """Who this pod is: adapters announce themselves under it, and own their Leases by it."""
    return [field_env(names.ENV_POD_NAME, "metadata.name"), field_env(names.ENV_POD_UID, "metadata.uid")]


def http_probe(path: str, port: int = names.HTTP_PORT, *, period: int = 5, failures: int = 3) -> Manifest:
    """Asks `path` every `period` s."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def tcp_probe(port: int, *, period: int = 5, failures: int = 3) -> Manifest:
    """Opens a connection every `period` s."""
    return {"tcpSocket": {"port": port}, "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures}


def exec_probe(command: Sequence[str], *, period: int = 5, failures: int = 3) -> Manifest:
    """Runs `command` in the container every `period` s."""
    return {
        "exec": {"command": list(command)},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """A container's probes. `startup` holds the others back until it has passed once."""

    startup: Manifest
    readiness: Manifest
    liveness: Manifest

    @property
    def manifest(self) -> Manifest:
        """As keys of a container."""
        return {"startupProbe": self.startup, "readinessProbe": self.readiness, "livenessProbe": self.liveness}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container. `mounts`: path -> (volume, read only). `devices`: what a device plugin gives, by resource, and how
    many. `pause_seconds`: how long it goes on as before once its pod is told to end, while word of that gets round to
    those who send it work."""

    name: str
    image: str
    pull_policy: str
    resources: Resources
    command: Sequence[str] | None = None
    args: Sequence[object] | None = None
    env: Sequence[Manifest] = ()
    env_from: Sequence[Manifest] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    mounts: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    probes: Probes | None = None
    devices: Mapping[str, int] = field(default_factory=dict)
    pause_seconds: int = 0

    @property
    def manifest(self) -> Manifest:
        """The container with a read-only root, no privileges, and /tmp to write to."""
        mounts = {TMP: ("tmp", False), **self.mounts}
        made: Manifest = {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": self.pull_policy,
            "env": list(self.env),
            "envFrom": list(self.env_from),
            "ports": [{"name": name, "containerPort": port} for name, port in self.ports.items()],
            "resources": self._resources,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": volume, "mountPath": path} | ({"readOnly": True} if read_only else {})
                for path, (volume, read_only) in mounts.items()
            ],
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        if self.pause_seconds:
            made["lifecycle"] = {"preStop": {"sleep": {"seconds": self.pause_seconds}}}
        if self.command is not None:
            made["command"] = list(self.command)
        if self.args is not None:
            made["args"] = list(self.args)
        # The API server drops what is empty: left in, it would look like a change after each refresh.
        kept = {key: value for key, value in made.items() if value not in ([], {})}
        return kept | (self.probes.manifest if self.probes is not None else {})

    @property
    def _resources(self) -> Manifest:
        made = self.resources.manifest
        # Devices are never overcommitted: the limit is the request, and Kubernetes fills that in.
        made["limits"] |= {device: str(count) for device, count in self.devices.items()}
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod template. `volumes`: name -> source, as the API has it; /tmp is always there.

    `first` run to their end before the container starts, `beside` run with it. `api`: whether its service account's
    token is mounted, which only who calls the Kubernetes API needs. `hashes` end up as annotations, so that changed
    configuration rolls the pods. `placement`: the keys of a pod's spec that say on which nodes it may run.
    """

    app: str
    container: Container
    service_account: str
    first: Sequence[Container] = ()
    beside: Sequence[Container] = ()
    api: bool = False
    volumes: Mapping[str, Manifest] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, Any] = field(default_factory=dict)
    grace_seconds: int = 30
    restart: str = "Always"
    placement: Manifest = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """The pod template."""
        volumes = {"tmp": {"emptyDir": {}}, **self.volumes}
        annotations = {f"crossover.dev/{name}-hash": value for name, value in self.hashes.items()}
        return {
            "metadata": {"labels": labels(self.app, self.labels)}
            | ({"annotations": annotations} if annotations else {}),
            "spec": {
                "serviceAccountName": self.service_account,
                "automountServiceAccountToken": self.api,
                # Service links would inject names like KAFKA_PORT, which programs read as their own.
                "enableServiceLinks": False,
                "restartPolicy": self.restart,
                "terminationGracePeriodSeconds": self.grace_seconds,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "fsGroup": USER,
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                **({"initContainers": [one.manifest for one in self.first]} if self.first else {}),
                "containers": [one.manifest for one in (self.container, *self.beside)],
                "volumes": [{"name": name, **source} for name, source in volumes.items()],
                **self.placement,
            },
        }

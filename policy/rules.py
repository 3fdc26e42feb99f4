"""What one resource may not be, from its type, inputs and options. Pure: each rule gives what is wrong with it, a text
each, with what would follow and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = object()
"""What stands for a value that nobody knows before an update."""
_POD_OWNERS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"}
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_SECRET_NAME = re.compile(r"(PASSWORDS?|PASSWD|SECRETS?|TOKEN|(API|ACCESS|PRIVATE)_?KEYS?|CREDENTIALS?)$", re.I)
_NOT_A_SECRET = re.compile(r"^(/|file:)|^\s*$")
"""A path to a file that holds one, or nothing."""
_LOGIN_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.I)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the stack, beside the resource: what the Foundation states. `kept`: namespaces that stay in the
    cluster whatever happens to the stack."""

    production: bool
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it is asked for. `props`: its inputs, as plain data with UNKNOWN inside."""

    type: str
    name: str
    props: Mapping[str, Any]
    protect: bool = False
    delete_before_replace: bool | None = None

    @property
    def kind(self) -> str:
        """The last part of its type."""
        return self.type.rsplit(":", 1)[-1] if self.type.startswith("kubernetes:") else ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `name` is what config of the pack calls it, `description` stands above its violations."""

    name: str
    description: str
    check: Callable[[Resource, Facts], Iterator[str]] = field(repr=False)


def pods_are_restricted(resource: Resource, facts: Facts) -> Iterator[str]:
    """No privileges, no namespaces or paths of the node, no root user, a read-only root file system."""
    spec = pod_spec(resource)
    if spec is None:
        return
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(flag):
            yield f"{flag} is true: the pod would share that with its node. Take it out"
    for volume in _list(spec.get("volumes")):
        if "hostPath" in volume:
            yield (
                f"volume {volume.get('name')!r} is a hostPath: the pod would read or write files of its node. Use a "
                "claim, a ConfigMap or an emptyDir"
            )
    whole = _map(spec.get("securityContext"))
    for container in containers(spec):
        yield from _unrestricted(container, whole)


def _unrestricted(container: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    own = _map(container.get("securityContext"))
    name = container.get("name")
    if own.get("privileged"):
        yield f"container {name!r} is privileged: it would be root on its node. Take privileged out"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"container {name!r} may gain privileges: set securityContext.allowPrivilegeEscalation to false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield (
            f"container {name!r} may write to its root file system: set securityContext.readOnlyRootFilesystem to true "
            "and mount an emptyDir where it writes"
        )
    if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield f"container {name!r} may run as root: set securityContext.runAsNonRoot to true"
    if own.get("runAsUser", whole.get("runAsUser")) == 0:
        yield f"container {name!r} runs as user 0: give it another runAsUser"
    if added := _list(_map(own.get("capabilities")).get("add")):
        yield f"container {name!r} adds the capabilities {', '.join(map(str, added))}: take them out"


def images_are_pinned(resource: Resource, facts: Facts) -> Iterator[str]:
    """In production an image is named by its digest: a tag may be another image tomorrow."""
    spec = pod_spec(resource)
    if spec is None or not facts.production:
        return
    for container in containers(spec):
        image = container.get("image")
        if isinstance(image, str) and not _DIGEST.search(image):
            yield (
                f"container {container.get('name')!r} runs {image}, which is no digest: what it runs could change "
                "without an update. pulumi config set --path crossover:images.references.NAME IMAGE@sha256:..."
            )


def no_plain_secrets(resource: Resource, facts: Facts) -> Iterator[str]:
    """No password, token or key as the value of an environment variable or in a ConfigMap: everyone who may look at
    pods reads those. The values are never told."""
    if resource.kind == "ConfigMap":
        for key, value in _map(resource.props.get("data")).items():
            if _holds_secret(key, value):
                yield f"key {key!r} of the ConfigMap looks like a secret: put it into a Secret"
        return
    spec = pod_spec(resource)
    for container in containers(spec) if spec is not None else ():
        for variable in _list(container.get("env")):
            name = str(variable.get("name"))
            if _holds_secret(name, variable.get("value")):
                yield (
                    f"{name} of container {container.get('name')!r} looks like a secret, in plain text: have it read "
                    "from a Secret (valueFrom.secretKeyRef)"
                )


def _holds_secret(name: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    named = bool(_SECRET_NAME.search(name)) and not _NOT_A_SECRET.search(value)
    return named or bool(_LOGIN_IN_ADDRESS.search(value))


def data_is_kept(resource: Resource, facts: Facts) -> Iterator[str]:
    """What holds data is not replaced by deleting it first, and does not go with what it belongs to."""
    if resource.kind not in {"Namespace", "StatefulSet", "PersistentVolumeClaim"}:
        return
    if resource.delete_before_replace:
        yield f"the {resource.kind} would be deleted before it is replaced, with its data: take deleteBeforeReplace out"
    if resource.kind == "StatefulSet" and _list(_map(resource.props.get("spec")).get("volumeClaimTemplates")):
        policy = _map(_map(resource.props["spec"]).get("persistentVolumeClaimRetentionPolicy"))
        for when in ("whenDeleted", "whenScaled"):
            if policy.get(when, "Retain") != "Retain":
                yield (
                    f"its volumes go {when.removeprefix('when').lower()} ({when} is {policy[when]}): set "
                    f"persistentVolumeClaimRetentionPolicy.{when} to Retain"
                )
    if resource.kind == "Namespace" and facts.production and not resource.protect:
        name = _map(resource.props.get("metadata")).get("name")
        if name not in facts.kept:
            yield (
                f"namespace {name!r} is not protected: pulumi destroy would delete every volume in it. "
                "pulumi config set crossover:protect_data true"
            )


RULES = (
    Rule("pods-are-restricted", "Pods have no privileges, and nothing of their node.", pods_are_restricted),
    Rule("images-are-pinned", "In production images are named by their digest.", images_are_pinned),
    Rule("no-plain-secrets", "No secret is in plain text.", no_plain_secrets),
    Rule("data-is-kept", "What holds data is neither replaced nor deleted unprotected.", data_is_kept),
)
"""Those of one resource at a time."""


def pod_spec(resource: Resource) -> Mapping[str, Any] | None:
    """The spec of the pods that a resource makes; None where it makes none."""
    if resource.kind not in _POD_OWNERS:
        return None
    spec = _map(resource.props.get("spec"))
    if resource.kind == "Pod":
        return spec
    if resource.kind == "CronJob":
        spec = _map(_map(spec.get("jobTemplate")).get("spec"))
    return _map(_map(spec.get("template")).get("spec"))


def containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Those that run before, and those that run."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from _list(spec.get(key))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()

"""Check: what the program wrote becomes a full object with name, namespace and kind."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from local.pulumi_plugins.kube.objects import AUTONAMED, Kind, Object, dig, is_annotated, name_of
from local.pulumi_plugins.values import UNKNOWN, Secret, Value, has_secret, plain

SUFFIX_LENGTH = 8
MANAGED_BY = "app.kubernetes.io/managed-by"
SECRET = Kind("", "v1", "Secret")
_SECRET_FIELDS = ("data", "stringData")
_DASHES = {
    f"x_kubernetes_{name}": "x-kubernetes-" + name.replace("_", "-")
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
"""Keys of CustomResourceDefinitions, which no programming language's SDK can spell."""
_UNDERSCORES = {dashed: underscored for underscored, dashed in _DASHES.items()}
_READ_ONLY = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)


class CheckError(Exception):
    """The inputs are wrong: `path` names the property."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Naming:
    """How an object without a name gets one."""

    resource: str
    """The resource's name in the program."""
    seed: bytes = b""
    """Makes the random suffix the same in preview and update, where the engine gives one."""
    proposed: str = ""
    """The name that the stack's autonaming config wants."""
    disabled: bool = False
    """The stack's autonaming config forbids made-up names."""

    def make(self) -> str:
        """NAME-SUFFIX with 8 hexadecimal digits. Raises CheckError where it is forbidden."""
        if self.disabled:
            raise CheckError("metadata.name", "automatic naming is disabled for this stack: set metadata.name")
        if self.proposed:
            return self.proposed
        suffix = hashlib.sha256(self.seed).hexdigest() if self.seed else secrets.token_hex(SUFFIX_LENGTH)
        return f"{self.resource}-{suffix[:SUFFIX_LENGTH]}"


def checked(
    news: dict[str, Value], olds: dict[str, Value], kind: Kind, naming: Naming, namespace: str | None
) -> dict[str, Value]:
    """The inputs as they go to Diff and Create.

    `namespace`: where an object of a namespaced kind lands that names none; None for kinds
    without namespaces. Raises CheckError.
    """
    result: Object = plain(news)
    result.setdefault("apiVersion", kind.api_version)
    result.setdefault("kind", kind.name)
    metadata = result.setdefault("metadata", {})
    if metadata is not UNKNOWN:
        if not isinstance(metadata, dict):
            raise CheckError("metadata", f"metadata must be an object, got {type(metadata).__name__}")
        for name in _READ_ONLY:
            metadata.pop(name, None)
        _name(metadata, plain(olds), naming)
        if namespace is not None and not metadata.get("namespace"):
            metadata["namespace"] = namespace
        if namespace is None:
            metadata.pop("namespace", None)
        if MANAGED_BY in dig(plain(olds), "metadata", "labels", default={}):
            _keep_managed_by(metadata)
    return annotated(result, news)


def _name(metadata: Object, olds: Object, naming: Naming) -> None:
    if metadata.get("generateName"):
        raise CheckError(
            "metadata.generateName",
            "generateName cannot be used with server-side apply: leave metadata.name out instead",
        )
    if metadata.get("name"):
        return
    if olds and is_annotated(olds, AUTONAMED):
        metadata["name"] = name_of(olds)
    else:
        metadata["name"] = naming.make()
    annotations = metadata.setdefault("annotations", {})
    if isinstance(annotations, dict):
        annotations[AUTONAMED] = "true"


def _keep_managed_by(metadata: Object) -> None:
    """Objects made by client-side apply carry this label; it stays, so that nothing changes."""
    labels = metadata.setdefault("labels", {})
    if isinstance(labels, dict):
        labels.setdefault(MANAGED_BY, "pulumi")


def annotated(outs: dict[str, Value], ins: dict[str, Value]) -> dict[str, Value]:
    """`outs` (plain) with secret what is secret in `ins`, and each Secret's content.

    Goes into maps, not lists: a list with a secret in it is secret as a whole, for its order
    may change on the way.
    """
    result = dict(outs)
    if result.get("kind") == "Secret" and result.get("apiVersion", "v1") == "v1":
        for name in _SECRET_FIELDS:
            if name in result and not isinstance(result[name], Secret):
                result[name] = Secret(plain(result[name]))
    for key, source in ins.items():
        if key not in result or isinstance(result[key], Secret):
            continue
        if isinstance(result[key], dict) and isinstance(source, dict):
            result[key] = annotated(result[key], source)
        elif has_secret(source):
            result[key] = Secret(plain(result[key]))
    return result


def dashed(value: Any) -> Any:
    """A value with the API's own spelling of x-kubernetes-* keys."""
    return _renamed(value, _DASHES)


def underscored(value: Any) -> Any:
    """A value with the SDKs' spelling of x_kubernetes_* keys."""
    return _renamed(value, _UNDERSCORES)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value


def imported(live: Object) -> Object:
    """The inputs of an object that no program has described yet: all that a user could have set."""
    inputs = {key: value for key, value in live.items() if key != "status"}
    metadata = {key: value for key, value in live.get("metadata", {}).items() if key not in _READ_ONLY}
    annotations = {
        key: value
        for key, value in metadata.pop("annotations", {}).items()
        if key not in {"deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"}
    }
    inputs["metadata"] = metadata | ({"annotations": annotations} if annotations else {})
    return inputs

"""Kubernetes objects as plain dictionaries: names, annotations, nested lookups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.pulumi_plugins.failures import ProviderError

type Object = dict[str, Any]
"""A Kubernetes object, as JSON."""

PREFIX = "pulumi.com/"
AUTONAMED = PREFIX + "autonamed"
SKIP_AWAIT = PREFIX + "skipAwait"
WAIT_FOR = PREFIX + "waitFor"
TIMEOUT_SECONDS = PREFIX + "timeoutSeconds"
REPLACE_UNREADY = PREFIX + "replaceUnready"
PATCH_FORCE = PREFIX + "patchForce"
PATCH_FIELD_MANAGER = PREFIX + "patchFieldManager"
DELETION_PROPAGATION = PREFIX + "deletionPropagationPolicy"

_PARTS_OF_MODULE = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A group, version and kind; the core group is ""."""

    group: str
    version: str
    name: str

    @property
    def api_version(self) -> str:
        """As in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}/{self.name}"


def urn_name(urn: str) -> str:
    """The resource's name in the program: the last part of its URN."""
    return urn.rsplit("::", maxsplit=1)[-1]


def kind_of_urn(urn: str) -> Kind:
    """The kind that a URN's type token names: kubernetes:apps/v1:Deployment.

    Raises ProviderError for tokens that are no Kubernetes kind, or that this stand-in lacks.
    """
    token = urn.split("::")[2].rsplit("$", 1)[-1]
    _, module, name = token.split(":", 2)
    parts = module.split("/")
    if len(parts) != _PARTS_OF_MODULE or parts[0].startswith("helm.sh"):
        raise ProviderError(
            f"the stand-in kubernetes provider has no {token}: it serves plain Kubernetes objects "
            "(kubernetes:GROUP/VERSION:Kind); use the official plugin for Helm, YAML and Kustomize"
        )
    group, version = parts
    return Kind("" if group == "core" else group, version, name)


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind that an object says it is."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return Kind("" if group == "core" else group, version, str(obj.get("kind", "")))


def dig(obj: Any, *keys: str | int, default: Any = None) -> Any:
    """What stands at `keys` inside `obj`; `default` where the way there ends early, or at null."""
    here = obj
    for key in keys:
        if isinstance(here, list):
            if not isinstance(key, int) or key >= len(here):
                return default
            here = here[key]
        elif isinstance(here, dict) and key in here:
            here = here[key]
        else:
            return default
    return default if here is None else here


def name_of(obj: Object) -> str:
    """metadata.name, or ""."""
    return str(dig(obj, "metadata", "name", default=""))


def namespace_of(obj: Object) -> str:
    """metadata.namespace, or ""."""
    return str(dig(obj, "metadata", "namespace", default=""))


def annotation(obj: Any, key: str) -> str:
    """The annotation's value, or "" where there is none or it is not known yet."""
    value = dig(obj, "metadata", "annotations", key, default="")
    return value if isinstance(value, str) else ""


def is_annotated(obj: Any, key: str) -> bool:
    """Whether the annotation says "true"."""
    return annotation(obj, key) == "true"


def identifier(obj: Object) -> str:
    """The resource's ID in Pulumi: NAMESPACE/NAME, or NAME where the kind has no namespace."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def split_identifier(value: str) -> tuple[str, str]:
    """(namespace or "", name) of an ID."""
    namespace, _, name = value.rpartition("/")
    return namespace, name


def condition(obj: Object, name: str) -> Object | None:
    """The condition of that type in the object's status."""
    for item in dig(obj, "status", "conditions", default=[]):
        if item.get("type") == name:
            found: Object = item
            return found
    return None


def is_true(obj: Object, name: str) -> bool:
    """Whether the status has that condition, and it is True."""
    found = condition(obj, name)
    return found is not None and found.get("status") == "True"


def timeout_seconds(custom: float, inputs: Object, default: float) -> float:
    """How long to wait: the customTimeouts of the resource's options, its annotation, or `default`."""
    if custom > 0:
        return custom
    text = annotation(inputs, TIMEOUT_SECONDS)
    return float(text) if text.isdigit() else default

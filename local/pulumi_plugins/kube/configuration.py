"""The provider's own configuration: pulumi:providers:kubernetes, or stack config `kubernetes:*`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.pulumi_plugins.kube import kubeconfig
from local.pulumi_plugins.kube.replacing import Mutability
from local.pulumi_plugins.values import UNKNOWN, Secret, Value, plain

CLUSTER_KEYS = ("kubeconfig", "context", "cluster")
"""The properties that together say which cluster it is."""
IDENTIFIER = "clusterIdentifier"
_UNSUPPORTED = {
    "renderYamlToDirectory": "rendering to YAML is not served by the stand-in provider: use the official plugin",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a provider was configured with."""

    config: str | None = field(default=None, repr=False)
    """The kubeconfig, as text or path."""
    context: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    mutability: Mutability = field(default_factory=Mutability)
    patch_force: bool = False
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False

    def access(self) -> kubeconfig.Access:
        """The cluster that they name. Raises KubeconfigError."""
        return kubeconfig.load(self.config, self.context, self.cluster)


def _is_set(value: Any) -> bool:
    return value is True or value == "true"


def settings(properties: Mapping[str, Value], environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the provider's inputs and the PULUMI_K8S_* variables give."""
    given = {key: value for key, value in plain(dict(properties)).items() if value is not UNKNOWN}

    def flag(name: str, variable: str) -> bool:
        return _is_set(given[name]) if name in given else environment.get(variable) == "true"

    return Settings(
        config=_text(given.get("kubeconfig")),
        context=given.get("context") or None,
        cluster=given.get("cluster") or None,
        namespace=given.get("namespace") or None,
        mutability=Mutability(
            config_maps=flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
            secrets=flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        ),
        patch_force=flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
        delete_unreachable=flag("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        skip_update_unreachable=flag("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
    )


def _text(value: Any) -> str | None:
    """A kubeconfig may be given as an object, too."""
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value) if value else None


def with_secrets(properties: Mapping[str, Value]) -> dict[str, Value]:
    """The provider's inputs with a kubeconfig's text secret, for it holds credentials; a path is none."""
    result = dict(properties)
    given = result.get("kubeconfig")
    holds_text = isinstance(given, dict) or (isinstance(given, str) and not kubeconfig.is_path(given))
    if holds_text:
        result["kubeconfig"] = Secret(given)
    return result


def problems(properties: Mapping[str, Value]) -> dict[str, str]:
    """What is wrong with the provider's inputs: property to reason."""
    given = plain(dict(properties))
    found = {name: reason for name, reason in _UNSUPPORTED.items() if given.get(name)}
    side = given.get("enableServerSideApply")
    if side is not None and side is not UNKNOWN and not _is_set(side):
        found["enableServerSideApply"] = "the stand-in provider always uses server-side apply: leave this out"
    return found


def changed(olds: Mapping[str, Value], news: Mapping[str, Value]) -> tuple[list[str], list[str]]:
    """(properties that differ, those of them that replace the provider and all it made).

    A cluster has no identity of its own: another active cluster in the kubeconfig counts as
    another cluster, unless `clusterIdentifier` says that it is the same, or not.
    """
    old, new = plain(dict(olds)), plain(dict(news))
    diffs = sorted(
        key for key in {*old, *new} if key != "version" and (old.get(key) != new.get(key) or new.get(key) is UNKNOWN)
    )
    if old.get(IDENTIFIER) and new.get(IDENTIFIER):
        return diffs, [IDENTIFIER] if old[IDENTIFIER] != new[IDENTIFIER] else []
    moved = [key for key in diffs if key in CLUSTER_KEYS]
    if any(new.get(key) is UNKNOWN for key in moved):
        return diffs, [key for key in moved if new.get(key) is UNKNOWN]
    if not moved:
        return diffs, []
    try:
        before, after = settings(old, {}).access(), settings(new, {}).access()
    except (kubeconfig.KubeconfigError, OSError):
        return diffs, []
    return diffs, moved if before.cluster != after.cluster else []

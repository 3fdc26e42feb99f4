"""From manifests to Pulumi resources: the one place that knows the SDK's classes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random
from pulumi_kubernetes import apps, batch, core, networking, policy, rbac

from components.pods import Manifest

_KINDS: dict[str, Any] = {
    "Namespace": core.v1.Namespace,
    "Secret": core.v1.Secret,
    "ConfigMap": core.v1.ConfigMap,
    "Service": core.v1.Service,
    "ServiceAccount": core.v1.ServiceAccount,
    "PersistentVolumeClaim": core.v1.PersistentVolumeClaim,
    "Deployment": apps.v1.Deployment,
    "StatefulSet": apps.v1.StatefulSet,
    "Job": batch.v1.Job,
    "NetworkPolicy": networking.v1.NetworkPolicy,
    "PodDisruptionBudget": policy.v1.PodDisruptionBudget,
    "Role": rbac.v1.Role,
    "RoleBinding": rbac.v1.RoleBinding,
}


def provider(context: str) -> kubernetes.Provider:
    """The cluster. Secrets and ConfigMaps are changed in place: pods that need to know get a new hash."""
    return kubernetes.Provider(
        "cluster",
        context=context,
        enable_server_side_apply=True,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
    )


def create(manifest: Manifest, opts: pulumi.ResourceOptions, name: str | None = None) -> pulumi.CustomResource:
    """The resource of a manifest; `name` where the manifest leaves naming to Pulumi."""
    body = {key: value for key, value in manifest.items() if key != "kind"}
    if "stringData" in body:
        # What the API server stores, so that a refresh compares like with like.
        body["data"] = {key: _encoded(value) for key, value in body.pop("stringData").items()}
    kind = _KINDS[manifest["kind"]]
    made: pulumi.CustomResource = kind(name or manifest["metadata"]["name"], **_renamed(body), opts=opts)
    return made


_NEEDED_BY_PODS = {"ServiceAccount", "NetworkPolicy", "Secret", "ConfigMap"}
"""What must be there before pods start. Not claims: on many storage classes they wait for a first pod."""
_MAKE_PODS = {"Deployment", "StatefulSet"}


def _rank(manifest: Manifest) -> int:
    """0: what pods need, and the rest; 1: what makes pods; 2: Services, for Pulumi waits for their endpoints, and
    where pods fail that would hide the failure for minutes. A headless Service is not waited for, and its
    names must be there from the start."""
    if manifest["kind"] in _MAKE_PODS:
        return 1
    return 2 if manifest["kind"] == "Service" and manifest["spec"].get("clusterIP") != "None" else 0


def create_all(manifests: Sequence[Manifest], opts: pulumi.ResourceOptions) -> list[pulumi.CustomResource]:
    """The resources of several manifests, under the same options, each kind after what it needs of the rest."""
    made: list[pulumi.CustomResource] = []
    needed: dict[int, list[pulumi.Resource]] = {0: [], 1: [], 2: []}
    for manifest in sorted(manifests, key=_rank):
        rank = _rank(manifest)
        before = pulumi.ResourceOptions(depends_on=needed[rank - 1] if rank else [])
        made.append(create(manifest, pulumi.ResourceOptions.merge(opts, before)))
        if rank or manifest["kind"] in _NEEDED_BY_PODS:
            needed[rank].append(made[-1])
    return made


def _encoded(value: pulumi.Input[str]) -> pulumi.Output[str]:
    return pulumi.Output.secret(value).apply(lambda text: base64.b64encode(text.encode()).decode())


_ARGUMENTS = {
    "automountServiceAccountToken": "automount_service_account_token",
    "roleRef": "role_ref",
}


def _renamed(body: Manifest) -> Manifest:
    """Top-level keys as the SDK's keyword arguments; everything below keeps the API's names."""
    return {_ARGUMENTS.get(key, key): value for key, value in body.items()}


def password(name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """32 letters and digits from the random provider, secret in state; the same until it is replaced."""
    made = random.RandomPassword(name, length=32, special=False, opts=pulumi.ResourceOptions(parent=parent))
    return pulumi.Output.secret(made.result)


def content_hash(data: Mapping[str, Any], salt: pulumi.Input[str]) -> pulumi.Output[str]:
    """A hash of configuration, for a pod's annotation: changed configuration makes new pods.

    Not secret though the content is: with `salt`, 32 random characters that stay in state, even a
    weak password that a user chose cannot be guessed from it.
    """

    def digest(values: Mapping[str, Any]) -> str:
        text = "\0".join(f"{key}={values[key]}" for key in sorted(values))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    return pulumi.Output.unsecret(pulumi.Output.all(**data, _salt=salt).apply(digest))

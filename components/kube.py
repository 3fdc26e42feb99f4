"""From manifests to Pulumi resources: the one place that knows the Kubernetes provider.

Resources are registered by type and manifest, not by the SDK's classes: those add nothing to a whole manifest, and
loading them takes longer than all the rest of a preview.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from components.pods import Manifest

API_VERSIONS: Mapping[str, str] = {
    "Namespace": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    # Of operators that the cluster must have; made only where config asks for them.
    "ScaledObject": "keda.sh/v1alpha1",
    "NodePool": "karpenter.sh/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
}
"""The kinds that the program makes."""
_VERSION = version("pulumi-kubernetes")


def type_token(kind: str) -> str:
    """The provider's name of a kind. Raises KeyError for one that the program does not make."""
    api = API_VERSIONS[kind]
    return f"kubernetes:{'core/v1' if api == 'v1' else api}:{kind}"


def provider(context: str) -> kubernetes.Provider:
    """The cluster. Secrets and ConfigMaps are changed in place: pods that need to know get a new hash."""
    return kubernetes.Provider(
        "cluster",
        context=context,
        enable_server_side_apply=True,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
    )


def keeper(context: str, parent: pulumi.Resource) -> kubernetes.Provider:
    """The same cluster, for what outlives a stack, and may be another stack's, too: what is there already is taken up.
    Elsewhere it is an error, as it should be: a resource under another name would take the old one's object over, and
    then lose it with the old one."""
    return kubernetes.Provider(
        "cluster-kept",
        context=context,
        enable_server_side_apply=True,
        upsert_existing_objects=True,
        enable_patch_force=True,  # fields that a stack which is gone had set
        opts=pulumi.ResourceOptions(parent=parent),
    )


def create(manifest: Manifest, opts: pulumi.ResourceOptions, name: str | None = None) -> pulumi.CustomResource:
    """The resource of a manifest; `name` where the manifest leaves naming to Pulumi."""
    kind, body = manifest["kind"], dict(manifest)
    own = pulumi.ResourceOptions(version=_VERSION)
    if kind == "Secret":
        # What the API server stores, so that a refresh compares like with like. Secret as a whole, as the SDK has it.
        body["data"] = pulumi.Output.secret({key: _encoded(value) for key, value in body.pop("stringData").items()})
        own.additional_secret_outputs = ["data", "stringData"]
    body["apiVersion"] = API_VERSIONS[kind]
    name = name or manifest["metadata"]["name"]
    return pulumi.CustomResource(type_token(kind), name, body, pulumi.ResourceOptions.merge(own, opts))


_NEEDED_BY_PODS = {"ServiceAccount", "NetworkPolicy", "Secret", "ConfigMap"}
"""What must be there before pods start. Not claims: on many storage classes they wait for a first pod."""
_MAKE_PODS = {"Deployment", "StatefulSet", "CronJob"}
_SCALE_PODS = {"HorizontalPodAutoscaler", "ScaledObject"}


def _rank(manifest: Manifest) -> int:
    """0: what pods need, and the rest; 1: what makes pods; 2: what scales them, and Services, for Pulumi waits for
    their endpoints, and where pods fail that would hide the failure for minutes. A headless Service is not waited for,
    and its names must be there from the start."""
    if manifest["kind"] in _MAKE_PODS:
        return 1
    if manifest["kind"] in _SCALE_PODS:
        return 2
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

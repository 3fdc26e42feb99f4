"""What is registered is what the SDK's own classes would register."""

from __future__ import annotations

from importlib import import_module

import pytest

from components.kube import API_VERSIONS, type_token
from contracts.stages import Stage
from tests.components.rendering import at

MODULES = {
    "v1": "core.v1",
    "apps/v1": "apps.v1",
    "batch/v1": "batch.v1",
    "networking.k8s.io/v1": "networking.v1",
    "policy/v1": "policy.v1",
    "rbac.authorization.k8s.io/v1": "rbac.v1",
    "autoscaling/v2": "autoscaling.v2",
}

OPERATORS = {"keda.sh/v1alpha1", "karpenter.sh/v1", "monitoring.coreos.com/v1"}


@pytest.mark.parametrize(("kind", "api"), [each for each in API_VERSIONS.items() if each[1] not in OPERATORS])
def test_types_are_those_of_the_sdk(kind: str, api: str) -> None:
    known = getattr(import_module(f"pulumi_kubernetes.{MODULES[api]}"), kind)
    assert type_token(kind) == known.pulumi_type


@pytest.mark.parametrize(("kind", "api"), [each for each in API_VERSIONS.items() if each[1] in OPERATORS])
def test_types_of_operators_are_named_as_the_sdks_class_for_all_of_them_names_them(kind: str, api: str) -> None:
    assert type_token(kind) == f"kubernetes:{api}:{kind}"


def test_every_resource_asks_for_the_plugin_of_its_provider() -> None:
    resources = at(Stage.SHADOW).resources
    provider, kept = (resource for resource in resources if resource.type == "pulumi:providers:kubernetes")
    assert provider.version == kept.version
    made = [resource for resource in resources if resource.kind in API_VERSIONS]
    assert provider.version and {resource.version for resource in made} == {provider.version}
    assert all(resource.manifest["apiVersion"] == API_VERSIONS[resource.kind] for resource in made)


def test_a_kind_that_the_program_does_not_make_is_refused() -> None:
    with pytest.raises(KeyError):
        type_token("Pod")

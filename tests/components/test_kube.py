"""What is registered is what the SDK's own classes would register."""

from __future__ import annotations

from importlib import import_module

import pytest

from components.kube import API_VERSIONS, type_token

MODULES = {
    "v1": "core.v1",
    "apps/v1": "apps.v1",
    "batch/v1": "batch.v1",
    "networking.k8s.io/v1": "networking.v1",
    "policy/v1": "policy.v1",
    "rbac.authorization.k8s.io/v1": "rbac.v1",
}


@pytest.mark.parametrize(("kind", "api"), API_VERSIONS.items())
def test_types_are_those_of_the_sdk(kind: str, api: str) -> None:
    known = getattr(import_module(f"pulumi_kubernetes.{MODULES[api]}"), kind)
    assert type_token(kind) == known.pulumi_type


def test_a_kind_that_the_program_does_not_make_is_refused() -> None:
    with pytest.raises(KeyError):
        type_token("Pod")

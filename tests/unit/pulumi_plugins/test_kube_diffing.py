"""What changed, and what it replaces."""

from __future__ import annotations

from typing import Any

import pytest

from local.pulumi_plugins.kube.diffing import (
    Change,
    differences,
    merged_ignoring,
    parse_property_path,
    property_path,
)
from local.pulumi_plugins.kube.objects import Kind
from local.pulumi_plugins.kube.replacing import Mutability, delete_first
from local.pulumi_plugins.values import UNKNOWN

DEPLOYMENT = Kind("apps", "v1", "Deployment")
CONFIG_MAP = Kind("", "v1", "ConfigMap")
JOB = Kind("batch", "v1", "Job")


def found(kind: Kind, old: dict[str, Any], new: dict[str, Any], mutability: Mutability | None = None) -> dict[str, Any]:
    """Each difference by its path: (change, whether it replaces)."""
    return {item.name: (item.change, item.replaces) for item in differences(kind, old, new, mutability or Mutability())}


def deployment(image: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "engine", "namespace": "trading"},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}, **spec},
    }


def test_a_changed_image_is_an_update_at_its_path() -> None:
    assert found(DEPLOYMENT, deployment("a:1"), deployment("a:2")) == {
        "spec.template.spec.containers[0].image": (Change.UPDATE, False)
    }


def test_nothing_changed_is_no_difference() -> None:
    assert found(DEPLOYMENT, deployment("a:1"), deployment("a:1")) == {}


def test_added_and_removed_items_of_lists_and_maps() -> None:
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"args": ["x", "y"]}}
    new = {"metadata": {"labels": {"a": "1", "c.d/e": "3"}}, "spec": {"args": ["x"]}}
    assert found(DEPLOYMENT, old, new) == {
        "metadata.labels.b": (Change.DELETE, False),
        'metadata.labels["c.d/e"]': (Change.ADD, False),
        "spec.args[1]": (Change.DELETE, False),
    }


def test_true_is_not_one() -> None:
    assert found(DEPLOYMENT, {"spec": {"paused": True}}, {"spec": {"paused": 1}}) != {}


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (DEPLOYMENT, {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}),
        (DEPLOYMENT, {"metadata": {"name": "a", "namespace": "x"}}, {"metadata": {"name": "a", "namespace": "y"}}),
        (
            DEPLOYMENT,
            {"spec": {"selector": {"matchLabels": {"a": "1"}}}},
            {"spec": {"selector": {"matchLabels": {"a": "2"}}}},
        ),
        (JOB, {"spec": {"template": {"spec": {}}}}, {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
        (JOB, {}, {"spec": {"template": {"spec": {}}}}),
        (JOB, {"spec": {"template": {"spec": {}}}}, {"spec": UNKNOWN}),
        (Kind("apps", "v1", "StatefulSet"), {"spec": {"serviceName": "a"}}, {"spec": {"serviceName": "b"}}),
        (
            Kind("", "v1", "PersistentVolumeClaim"),
            {"spec": {"resources": {"requests": {"storage": "1Gi"}}}},
            {"spec": {"resources": {"requests": {"storage": "2Gi"}}}},
        ),
        (
            Kind("rbac.authorization.k8s.io", "v1", "RoleBinding"),
            {"roleRef": {"name": "a"}},
            {"roleRef": {"name": "b"}},
        ),
        (Kind("", "v1", "Service"), {"spec": {"clusterIP": "None"}}, {"spec": {}}),
        (Kind("", "v1", "Secret"), {"type": "Opaque"}, {"type": "kubernetes.io/tls"}),
    ],
)
def test_what_the_api_server_refuses_to_change_replaces(kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = found(kind, old, new)
    assert changes
    assert all(replaces for _, replaces in changes.values())


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (JOB, {"spec": {"activeDeadlineSeconds": 1}}, {"spec": {"activeDeadlineSeconds": 2}}),
        (JOB, {}, {"spec": {"activeDeadlineSeconds": 2}}),
        (Kind("apps", "v1", "StatefulSet"), {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}}),
        (Kind("", "v1", "Service"), {"spec": {"ports": [1]}}, {"spec": {"ports": [2]}}),
        (DEPLOYMENT, {"spec": {"template": UNKNOWN}}, {"spec": {"template": UNKNOWN}}),
    ],
)
def test_what_can_be_changed_in_place_does_not_replace(kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = found(kind, old, new)
    assert changes
    assert not any(replaces for _, replaces in changes.values())


def test_data_replaces_a_config_map_as_with_the_official_provider() -> None:
    old, new = {"data": {"a": "1"}}, {"data": {"a": "2"}}
    assert found(CONFIG_MAP, old, new) == {"data.a": (Change.UPDATE, True)}
    mutable = Mutability(config_maps=True)
    assert found(CONFIG_MAP, old, new, mutable) == {"data.a": (Change.UPDATE, False)}
    frozen = {"immutable": True}
    assert found(CONFIG_MAP, old | frozen, new | frozen, mutable) == {"data.a": (Change.UPDATE, True)}


def test_an_object_that_keeps_its_name_is_deleted_before_its_replacement() -> None:
    live = {"metadata": {"name": "a", "namespace": "x"}}
    assert delete_first(live, live)
    assert not delete_first(live, {"metadata": {"name": "b", "namespace": "x"}})
    assert not delete_first(live, {"metadata": {"name": "a", "namespace": "y"}})
    autonamed = {"metadata": {"name": "a", "namespace": "x", "annotations": {"pulumi.com/autonamed": "true"}}}
    assert not delete_first(live, autonamed)


@pytest.mark.parametrize("path", [("spec", "a.b/c", 0, "d"), ("data",), ("a", 'q"x', 3)])
def test_a_path_survives_its_notation(path: tuple[str | int, ...]) -> None:
    assert parse_property_path(property_path(path)) == path


def managed(manager: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": manager, "fieldsV1": fields}


def test_an_ignored_field_of_another_manager_is_left_out_of_the_apply() -> None:
    live = {
        "metadata": {"managedFields": [managed("cutover", {"f:data": {"f:route": {}}}), managed("us", {})]},
        "data": {"route": "new"},
    }
    new = {"data": {"route": "old"}, "kind": "ConfigMap"}
    assert merged_ignoring(new, live, ["data"], "us") == {"kind": "ConfigMap"}
    assert new["data"] == {"route": "old"}, "the inputs themselves stay as they are"


def test_an_ignored_field_of_ours_keeps_its_live_value() -> None:
    live = {"metadata": {"managedFields": [managed("us", {"f:spec": {"f:replicas": {}}})]}, "spec": {"replicas": 7}}
    assert merged_ignoring({"spec": {"replicas": 1}}, live, ["spec.replicas"], "us") == {"spec": {"replicas": 7}}

"""The `kubernetes` stand-in's plans, changes and state, driven by the real CLI against a real API server."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.plugins.cli import Project
from tests.plugins.control_plane import ControlPlane

pytestmark = pytest.mark.plugins

CANARY = "canary-3f9a1c77-of-these-tests"

BASICS = """
    import pulumi
    import pulumi_kubernetes as k8s

    config = pulumi.Config()
    other = k8s.core.v1.Namespace("other", metadata={"name": config.require("other")})
    k8s.core.v1.ConfigMap(
        "settings",
        metadata={"name": "settings", "namespace": other.metadata.name, "labels": {"tier": config.get("tier") or "a"}},
        data={"mode": "mvp"},
    )
    k8s.core.v1.Secret(
        "password", metadata={"name": "password"}, string_data={"password": config.require_secret("password")}
    )
"""


def names(plane: ControlPlane, namespace: str, kind: str) -> set[str]:
    """The objects of a kind that the tests made there."""
    own = {"kube-root-ca.crt", "default", "kubernetes"}
    return {item["metadata"]["name"] for item in plane.get(namespace, kind)["items"]} - own


def test_the_life_of_objects(kube_project: Project, plane: ControlPlane, namespace: str) -> None:
    other = f"{namespace}-other"
    kube_project.set("other", other)
    kube_project.set("password", CANARY, secret=True)
    kube_project.write(BASICS)

    assert kube_project.preview().counts() == {"create": 4}
    assert names(plane, namespace, "secrets") == set()
    assert not plane.kubectl.succeeds("get", "namespace", other)

    assert kube_project.up().counts() == {"created": 4}
    secret = plane.get(namespace, "secret", "password")
    assert base64.b64decode(secret["data"]["password"]).decode() == CANARY
    settings = plane.get(other, "configmap", "settings")

    again = kube_project.up()
    assert again.counts() == {"unchanged": 4}
    assert plane.get(other, "configmap", "settings") == settings
    assert plane.get(namespace, "secret", "password") == secret

    kube_project.set("tier", "b")
    plan = kube_project.preview("--diff")
    assert '~ tier: "a" => "b"' in plan.output
    assert plan.counts() == {"update": 1, "unchanged": 3}
    assert plane.get(other, "configmap", "settings") == settings
    assert kube_project.up().counts() == {"updated": 1, "unchanged": 3}
    changed = plane.get(other, "configmap", "settings")["metadata"]
    assert (changed["labels"], changed["uid"]) == ({"tier": "b"}, settings["metadata"]["uid"])

    assert kube_project.destroy().counts() == {"deleted": 4}
    assert kube_project.resources("") == []
    assert names(plane, namespace, "secrets") == set()
    assert not plane.kubectl.succeeds("get", "namespace", other)


def test_a_secret_is_nowhere_in_plain(kube_project: Project, namespace: str) -> None:
    kube_project.set("other", f"{namespace}-other")
    kube_project.set("password", CANARY, secret=True)
    kube_project.write(BASICS)
    shown = [kube_project.preview("--diff"), kube_project.preview("--json"), kube_project.up()]
    kube_project.set("password", f"{CANARY}-2", secret=True)
    shown += [kube_project.preview("--diff"), kube_project.up(), kube_project.refresh()]
    exported = kube_project.run("stack", "export")
    for text in (*(result.output for result in shown), exported.output, kube_project.written()):
        assert CANARY not in text
        # Base64 of the canary at each of the three alignments, without the ends that depend on what is around.
        for before in range(3):
            encoded = base64.b64encode(b"x" * before + CANARY.encode()).decode()
            assert encoded[4:32] not in text


def test_refresh_takes_over_what_others_changed_and_removed(
    kube_project: Project, plane: ControlPlane, namespace: str
) -> None:
    kube_project.write("""
        import pulumi_kubernetes as k8s

        k8s.core.v1.Service(
            "door",
            metadata={"name": "door", "annotations": {"pulumi.com/patchForce": "true"}},
            spec={"ports": [{"port": 80}], "sessionAffinity": "ClientIP"},
        )
        k8s.core.v1.ConfigMap("gone", metadata={"name": "gone"}, data={"a": "1"})
    """)
    kube_project.up()
    plane.kubectl.run("patch", "service", "door", "-n", namespace, "--type=merge", "-p",
                      '{"spec": {"sessionAffinity": "None"}}')  # fmt: skip
    plane.kubectl.run("delete", "configmap", "gone", "-n", namespace)

    refreshed = kube_project.refresh()
    assert refreshed.counts() == {"updated": 1, "deleted": 1, "unchanged": 1}
    (door,) = kube_project.resources("Service")
    assert door["outputs"]["spec"]["sessionAffinity"] == "None"
    assert kube_project.resources("ConfigMap") == []

    plan = kube_project.preview("--diff")
    assert '~ sessionAffinity: "None" => "ClientIP"' in plan.output
    assert plan.counts() == {"create": 1, "update": 1, "unchanged": 1}
    assert kube_project.up().counts() == {"created": 1, "updated": 1, "unchanged": 1}
    assert plane.get(namespace, "service", "door")["spec"]["sessionAffinity"] == "ClientIP"
    assert names(plane, namespace, "configmaps") == {"gone"}


def test_a_field_that_another_manager_owns_is_not_taken_silently(
    kube_project: Project, plane: ControlPlane, namespace: str
) -> None:
    program = """
        import pulumi
        import pulumi_kubernetes as k8s

        config = pulumi.Config()
        k8s.core.v1.ServiceAccount(
            "worker",
            metadata={{"name": "worker", "labels": {{"tier": config.get("tier") or "a"}}, {more}}},
        )
    """
    kube_project.write(program.format(more=""))
    kube_project.up()
    plane.kubectl.run("label", "serviceaccount", "worker", "tier=theirs", "--overwrite", "-n", namespace)
    kube_project.set("tier", "b")
    refused = kube_project.up(status=1)
    assert "owns metadata.labels.tier" in refused.output
    assert "pulumi.com/patchForce" in refused.output
    assert plane.get(namespace, "serviceaccount", "worker")["metadata"]["labels"] == {"tier": "theirs"}

    kube_project.write(program.format(more='"annotations": {"pulumi.com/patchForce": "true"}'))
    assert kube_project.up().counts() == {"updated": 1, "unchanged": 1}
    assert plane.get(namespace, "serviceaccount", "worker")["metadata"]["labels"] == {"tier": "b"}


def test_names_are_made_up_and_data_is_replaced(kube_project: Project, plane: ControlPlane, namespace: str) -> None:
    kube_project.write("""
        import pulumi
        import pulumi_kubernetes as k8s

        data = {"mode": pulumi.Config().get("mode") or "mvp"}
        automatic = k8s.core.v1.ConfigMap("automatic", data=data)
        k8s.core.v1.ConfigMap("fixed", metadata={"name": "fixed"}, data=data)
        pulumi.export("name", automatic.metadata.name)
    """)
    kube_project.up()
    first = kube_project.outputs()["name"]
    assert first.startswith("automatic-")
    fixed = plane.get(namespace, "configmap", "fixed")

    kube_project.set("mode", "scale")
    plan = kube_project.preview("--diff")
    assert '~ mode: "mvp" => "scale"' in plan.output
    assert plan.counts() == {"replace": 2, "unchanged": 1}
    assert names(plane, namespace, "configmaps") == {first, "fixed"}

    result = kube_project.up()
    assert result.counts() == {"replaced": 2, "unchanged": 1}
    second = kube_project.outputs()["name"]
    assert second != first
    assert names(plane, namespace, "configmaps") == {second, "fixed"}
    replaced = plane.get(namespace, "configmap", "fixed")
    assert replaced["data"] == {"mode": "scale"}
    assert replaced["metadata"]["uid"] != fixed["metadata"]["uid"]


def test_what_the_api_server_refuses_fails_the_preview(
    kube_project: Project, plane: ControlPlane, namespace: str
) -> None:
    kube_project.write("""
        import pulumi_kubernetes as k8s

        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings"}, data={"not a key!": "1"})
    """)
    result = kube_project.run("preview", status=1)
    assert "not a key!" in result.output
    assert "Traceback" not in result.output
    assert names(plane, namespace, "configmaps") == set()


def test_an_existing_object_is_adopted(kube_project: Project, plane: ControlPlane, namespace: str) -> None:
    plane.kubectl.run("create", "configmap", "old", "--from-literal=mode=mvp", "-n", namespace)
    uid = plane.get(namespace, "configmap", "old")["metadata"]["uid"]
    program = """
        import pulumi
        import pulumi_kubernetes as k8s

        k8s.core.v1.ConfigMap("old", metadata={{"name": "old"}}, data={{"mode": "mvp"}}{options})
    """
    kube_project.write(program.format(options=f', opts=pulumi.ResourceOptions(import_="{namespace}/old")'))
    assert kube_project.up().counts() == {"created": 1, "imported": 1}
    kube_project.write(program.format(options=""))
    assert kube_project.up().counts() == {"unchanged": 2}
    assert plane.get(namespace, "configmap", "old")["metadata"]["uid"] == uid


def test_state_has_the_official_shape(kube_project: Project, namespace: str) -> None:
    kube_project.write("""
        import pulumi_kubernetes as k8s

        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings"}, data={"mode": "mvp"})
    """)
    kube_project.up()
    (resource,) = kube_project.resources("ConfigMap")
    outputs: dict[str, Any] = resource["outputs"]
    assert resource["type"] == "kubernetes:core/v1:ConfigMap"
    assert resource["id"] == f"{namespace}/settings"
    assert {"__fieldManager", "__initialApiVersion", "__inputs", "apiVersion", "data", "kind", "metadata"} == set(
        outputs
    )
    assert outputs["__initialApiVersion"] == "v1"
    assert json.dumps(resource["inputs"]["metadata"], sort_keys=True) == json.dumps(
        {"name": "settings", "namespace": namespace}
    )

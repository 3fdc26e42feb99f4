"""Check: names, namespaces, secrets."""

from __future__ import annotations

import pytest

from local.pulumi_plugins.kube.inputs import CheckError, Naming, annotated, checked, dashed, imported, underscored
from local.pulumi_plugins.kube.objects import Kind
from local.pulumi_plugins.values import UNKNOWN, Secret, plain

CONFIG_MAP = Kind("", "v1", "ConfigMap")
NAMING = Naming("settings", b"seed")


def test_a_nameless_object_is_named_after_its_resource() -> None:
    made = checked({"data": {}}, {}, CONFIG_MAP, NAMING, "trading")
    name = made["metadata"]["name"]
    assert name.startswith("settings-")
    assert len(name.removeprefix("settings-")) == 8
    assert int(name.removeprefix("settings-"), 16) >= 0
    assert made["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    assert (made["apiVersion"], made["kind"], made["metadata"]["namespace"]) == ("v1", "ConfigMap", "trading")
    assert checked({"data": {}}, {}, CONFIG_MAP, NAMING, "trading") == made, "preview and update agree by their seed"


def test_a_made_up_name_is_kept() -> None:
    first = checked({}, {}, CONFIG_MAP, Naming("a"), "x")
    assert checked({}, first, CONFIG_MAP, Naming("a"), "x") == first


def test_a_name_that_the_program_no_longer_gives_is_made_up() -> None:
    old = {"metadata": {"name": "given"}}
    made = checked({}, old, CONFIG_MAP, NAMING, "x")
    assert made["metadata"]["name"] != "given"


def test_a_given_name_and_namespace_stay() -> None:
    given = {"metadata": {"name": "n", "namespace": "s"}}
    assert checked(given, {}, CONFIG_MAP, NAMING, "other")["metadata"] == {"name": "n", "namespace": "s"}


def test_a_kind_without_namespaces_gets_none() -> None:
    made = checked({"metadata": {"name": "n"}}, {}, Kind("", "v1", "Namespace"), NAMING, None)
    assert "namespace" not in made["metadata"]


def test_the_stacks_autonaming_rules() -> None:
    proposed = Naming("a", b"", "wanted")
    assert checked({}, {}, CONFIG_MAP, proposed, "x")["metadata"]["name"] == "wanted"
    with pytest.raises(CheckError, match="disabled"):
        checked({}, {}, CONFIG_MAP, Naming("a", disabled=True), "x")


def test_generate_name_is_refused() -> None:
    with pytest.raises(CheckError) as caught:
        checked({"metadata": {"generateName": "a-"}}, {}, CONFIG_MAP, NAMING, "x")
    assert caught.value.path == "metadata.generateName"


def test_unknown_metadata_stays_unknown() -> None:
    assert checked({"metadata": UNKNOWN}, {}, CONFIG_MAP, NAMING, "x")["metadata"] is UNKNOWN
    assert checked({"metadata": {"name": UNKNOWN}}, {}, CONFIG_MAP, NAMING, "x")["metadata"]["name"] is UNKNOWN


def test_a_secrets_content_is_secret_even_where_the_program_did_not_say_so() -> None:
    made = checked({"stringData": {"a": "b"}, "data": {"c": "ZA=="}}, {}, Kind("", "v1", "Secret"), NAMING, "x")
    assert made["stringData"] == Secret({"a": "b"})
    assert made["data"] == Secret({"c": "ZA=="})


def test_secrets_go_into_maps_but_take_whole_lists() -> None:
    ins = {"data": {"open": "1", "hidden": Secret("2")}, "spec": {"env": [{"name": "a", "value": Secret("3")}]}}
    assert annotated(plain(ins), ins) == {
        "data": {"open": "1", "hidden": Secret("2")},
        "spec": {"env": Secret([{"name": "a", "value": "3"}])},
    }


def test_the_spelling_of_definitions_is_translated_both_ways() -> None:
    ours = {"schema": [{"x_kubernetes_preserve_unknown_fields": True, "x_other": 1}]}
    assert dashed(ours) == {"schema": [{"x-kubernetes-preserve-unknown-fields": True, "x_other": 1}]}
    assert underscored(dashed(ours)) == ours


def test_an_imported_object_is_described_without_what_the_server_writes() -> None:
    live = {
        "kind": "Deployment",
        "metadata": {
            "name": "a",
            "uid": "u",
            "resourceVersion": "1",
            "annotations": {"deployment.kubernetes.io/revision": "3", "mine": "yes"},
        },
        "spec": {"replicas": 2},
        "status": {"replicas": 2},
    }
    assert imported(live) == {
        "kind": "Deployment",
        "metadata": {"name": "a", "annotations": {"mine": "yes"}},
        "spec": {"replicas": 2},
    }

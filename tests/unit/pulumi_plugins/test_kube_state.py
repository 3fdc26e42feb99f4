"""State and refresh: the program's spelling where nothing changed, the cluster's where something did."""

from __future__ import annotations

import base64

from local.pulumi_plugins import wire
from local.pulumi_plugins.kube.objects import Object
from local.pulumi_plugins.kube.redaction import MASK, Redactor
from local.pulumi_plugins.kube.state import checkpoint, field_manager, inputs_of, live_of, refreshed_inputs
from local.pulumi_plugins.values import Secret, plain

URN = "urn:pulumi:local::crossover::kubernetes:core/v1:Secret::password"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_password_stands_nowhere_plain_in_a_secrets_state() -> None:
    inputs = {"kind": "Secret", "apiVersion": "v1", "stringData": Secret({"password": "correct horse"})}
    live = {"kind": "Secret", "apiVersion": "v1", "data": {"password": b64("correct horse")}}
    state = checkpoint(inputs, live, secret_like=inputs, manager="m", initial_api_version="v1")
    assert state["data"] == Secret({"password": b64("correct horse")})
    assert state["__inputs"]["stringData"] == Secret({"password": "correct horse"})
    assert (state["__initialApiVersion"], state["__fieldManager"]) == ("v1", "m")


def test_a_checkpoint_survives_the_wire() -> None:
    inputs = {"kind": "Deployment", "spec": {"containers": Secret([{"name": "a"}])}}
    live: Object = {"kind": "Deployment", "spec": {"containers": [{"name": "a", "image": "b"}], "replicas": 1}}
    state = checkpoint(inputs, live, secret_like=inputs, manager="m", initial_api_version="apps/v1")
    again = wire.decode(wire.encode(state))
    assert live_of(again) == live
    assert plain(inputs_of(again)) == plain(inputs)
    assert again["spec"]["containers"] == Secret(live["spec"]["containers"])


def test_the_field_manager_is_the_same_for_every_try() -> None:
    first = field_manager(URN, {}, {})
    assert first == field_manager(URN, {}, {})
    assert first != field_manager(URN + "2", {}, {})
    assert field_manager(URN, {}, {"__fieldManager": "from-state"}) == "from-state"
    named = {"metadata": {"annotations": {"pulumi.com/patchFieldManager": "mine"}}}
    assert field_manager(URN, named, {"__fieldManager": "from-state"}) == "mine"


def test_refresh_keeps_what_the_server_only_writes_in_another_way() -> None:
    inputs = {"spec": {"cpu": "1000m", "memory": "1024Mi", "ingress": []}}
    live = {"spec": {"cpu": "1", "memory": "1Gi", "added": "by the server"}}
    assert refreshed_inputs(inputs, live, live) == inputs


def test_refresh_takes_what_changed_in_the_cluster() -> None:
    inputs = {"spec": {"cpu": "1000m", "replicas": 2}, "metadata": {"labels": {"a": "1", "b": "2"}}}
    before = {"spec": {"cpu": "1", "replicas": 2}, "metadata": {"labels": {"a": "1", "b": "2"}}}
    now = {"spec": {"cpu": "1", "replicas": 5}, "metadata": {"labels": {"a": "1", "new": "3"}}}
    assert refreshed_inputs(inputs, before, now) == {
        "spec": {"cpu": "1000m", "replicas": 5},
        "metadata": {"labels": {"a": "1"}},
    }


def test_refresh_finds_containers_by_name() -> None:
    def spec(*containers: dict[str, str]) -> dict[str, object]:
        return {"spec": {"containers": list(containers)}}

    inputs = spec({"name": "main", "cpu": "0.5"})
    before = spec({"name": "main", "cpu": "500m", "policy": "Always"})
    now = spec({"name": "sidecar", "cpu": "1"}, {"name": "main", "cpu": "500m", "policy": "Always"})
    wanted = spec({"name": "sidecar", "cpu": "1"}, {"name": "main", "cpu": "0.5"})
    assert refreshed_inputs(inputs, before, now) == wanted


def test_refresh_sees_a_secrets_text_changed_by_someone_else() -> None:
    inputs = {"kind": "Secret", "stringData": {"a": "mine", "b": "kept"}}
    before = {"kind": "Secret", "data": {"a": b64("mine"), "b": b64("kept")}}
    now = {"kind": "Secret", "data": {"a": b64("theirs"), "b": b64("kept")}}
    assert refreshed_inputs(inputs, before, now)["stringData"] == {"a": "theirs", "b": "kept"}


def test_errors_hide_what_the_program_marks_secret() -> None:
    hide = Redactor({"env": [{"name": "PASSWORD", "value": Secret("correct horse")}]}, exact=True)
    assert hide('env PASSWORD: invalid value "correct horse"') == f'env PASSWORD: invalid value "{MASK}"'
    assert hide(f"data: {b64('correct horse')}") == f"data: {MASK}"


def test_errors_stay_readable_where_a_whole_list_is_secret() -> None:
    containers = Secret([{"name": "main", "image": "a/b:1", "env": [{"name": "PASSWORD", "value": "correct horse"}]}])
    hide = Redactor({"spec": {"containers": containers}, "stringData": Secret({"k": "battery"})}, exact=False)
    assert hide("container main of a/b:1 got correct horse, battery") == f"container main of a/b:1 got {MASK}, {MASK}"

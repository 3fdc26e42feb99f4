"""What preflight asks the cluster for is what the program grants, and volumes are told as they are declared."""

from __future__ import annotations

import pytest

from components import bus_access, transition
from components.settings import parse
from contracts import names
from contracts.stages import Component, Stage
from contracts.volumes import volume_bytes
from cutover.event_bus.preflight.cluster_items import NEEDED, TOO_MUCH

SETTINGS = parse("test", {"kube_context": "test", "event_bus": {"redis": {"storage": "512Mi"}}})


def granted() -> set[tuple[str, str, str, str]]:
    """Verb, group, resource and name ("": any) of each right of the cutover's role."""
    [rules] = [
        manifest["rules"]
        for manifest in bus_access.rights(SETTINGS, [])
        if manifest["kind"] == "Role" and manifest["metadata"]["name"] == bus_access.CUTOVER
    ]
    return {
        (verb, group, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def test_the_role_of_a_cutover_grants_what_preflight_needs_and_nothing_that_it_refuses() -> None:
    asked = {(right.verb, right.group, right.resource, right.name) for right in NEEDED}
    assert asked <= granted()
    assert not {(right.verb, right.group, right.resource, right.name) for right in TOO_MUCH} & granted()


def test_a_transition_knows_the_volumes() -> None:
    made = transition.job(SETTINGS, Component.EVENT_BUS, Stage.SHADOW, owner="stack", watch_seconds=1, deadline=60)
    env = made["spec"]["template"]["spec"]["containers"][0]["env"]
    [told] = [entry["value"] for entry in env if entry["name"] == names.ENV_VOLUMES]
    assert volume_bytes(told) == {"redis": 512 << 20, "kafka": 10 << 30}


def test_no_volumes_are_none_and_nonsense_is_refused() -> None:
    assert volume_bytes("") == {}
    with pytest.raises(ValueError, match="Write a number and Mi, Gi or Ti"):
        volume_bytes("redis=10GB")

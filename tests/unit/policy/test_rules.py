"""What one resource may not be, and that the whole program, rendered, is none of it."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.stages import Stage
from policy import rules
from policy.rules import Facts, Resource
from tests.components.rendering import at, render

LAPTOP, PRODUCTION = Facts(production=False), Facts(production=True, kept=frozenset({"crossover-audit"}))
SAFE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
PINNED = "registry.example/redis@sha256:" + "a" * 64


def workload(kind: str = "Deployment", pod: dict[str, Any] | None = None, **container: Any) -> Resource:
    spec = {"containers": [{"name": "main", "image": PINNED, "securityContext": SAFE} | container], **(pod or {})}
    template: dict[str, Any] = {"template": {"spec": spec}}
    props = {"Pod": spec, "CronJob": {"jobTemplate": {"spec": template}}}.get(kind, template)
    return Resource(f"kubernetes:apps/v1:{kind}", "one", {"spec": props})


def broken(resource: Resource, facts: Facts = PRODUCTION) -> dict[str, list[str]]:
    """By rule: what is wrong."""
    found = {rule.name: list(rule.check(resource, facts)) for rule in rules.RULES}
    return {name: told for name, told in found.items() if told}


def resources(stage: Stage) -> list[Resource]:
    return [Resource(r.type, r.name, r.manifest, protect=r.protect) for r in at(stage).resources]


@pytest.mark.parametrize("stage", Stage)
def test_the_program_breaks_no_rule_at_any_stage(stage: Stage) -> None:
    assert {r.name: told for r in resources(stage) if (told := broken(r, LAPTOP))} == {}
    assert len([r for r in resources(stage) if rules.pod_spec(r) is not None]) > 8


def test_the_program_is_unpinned_in_production_and_nothing_else() -> None:
    assert {name for r in resources(Stage.SCALE) for name in broken(r)} == {"images-are-pinned"}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"])
def test_each_kind_that_makes_pods_is_looked_at(kind: str) -> None:
    assert broken(workload(kind)) == {}
    assert set(broken(workload(kind, securityContext={}))) == {"pods-are-restricted"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"securityContext": SAFE | {"privileged": True}}, "is privileged"),
        ({"securityContext": SAFE | {"allowPrivilegeEscalation": True}}, "may gain privileges"),
        ({"securityContext": SAFE | {"readOnlyRootFilesystem": False}}, "write to its root file system"),
        ({"securityContext": SAFE | {"runAsNonRoot": False}}, "may run as root"),
        ({"securityContext": SAFE | {"runAsUser": 0}}, "runs as user 0"),
        ({"securityContext": SAFE | {"capabilities": {"add": ["NET_ADMIN"]}}}, "NET_ADMIN"),
        ({"pod": {"hostNetwork": True}}, "hostNetwork"),
        ({"pod": {"hostPID": True}}, "hostPID"),
        ({"pod": {"volumes": [{"name": "sock", "hostPath": {"path": "/run"}}]}}, "'sock' is a hostPath"),
        ({"pod": {"initContainers": [{"name": "first", "image": PINNED}]}}, "'first'"),
    ],
)
def test_a_pod_with_privileges_is_told_by_name(change: dict[str, Any], told: str) -> None:
    found = broken(workload(**change), LAPTOP)
    assert set(found) == {"pods-are-restricted"}
    assert told in " ".join(found["pods-are-restricted"])


def test_what_the_pod_says_of_all_its_containers_counts() -> None:
    own = {key: value for key, value in SAFE.items() if key != "runAsNonRoot"}
    assert broken(workload(pod={"securityContext": {"runAsNonRoot": True}}, securityContext=own)) == {}


@pytest.mark.parametrize("image", ["redis", "redis:7", "redis@sha256:abc", "redis:7@sha256:" + "A" * 64])
def test_a_tag_is_refused_in_production_only(image: str) -> None:
    assert set(broken(workload(image=image))) == {"images-are-pinned"}
    assert broken(workload(image=image), LAPTOP) == {}


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("REDIS_PASSWORD", "hunter2", True),
        ("OPENAI_API_KEY", "sk-1", True),
        ("GITHUB_TOKEN", "ghp_9", True),
        ("DATABASE_URL", "postgresql://u:pw@host/db", True),
        ("DATABASE_URL", "postgresql://u@host/db", False),
        ("PASSWORD_FILE", "/run/secret", False),
        ("TLS_PRIVATE_KEY", "/etc/tls.key", False),
        ("LLM_SAMPLE_TOKENS_A_MINUTE", "1000", False),
        ("MAX_TOKENS", "1000", False),
    ],
)
def test_a_secret_in_plain_text_is_told_by_its_name_alone(name: str, value: str, secret: bool) -> None:
    found = broken(workload(env=[{"name": name, "value": value}]))
    assert (set(found) == {"no-plain-secrets"}) is secret
    assert value not in str(found)
    kept = Resource("kubernetes:core/v1:ConfigMap", "one", {"data": {name: value}})
    assert bool(broken(kept)) is secret


def test_a_secret_that_is_read_from_one_is_none_in_plain_text() -> None:
    read = {"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    assert broken(workload(env=[read])) == {}
    assert broken(workload(env=[{"name": "REDIS_PASSWORD", "value": rules.UNKNOWN}])) == {}


def test_what_holds_data_is_not_deleted_before_it_is_replaced() -> None:
    claim = Resource("kubernetes:core/v1:PersistentVolumeClaim", "one", {}, delete_before_replace=True)
    assert "deleted before it is replaced" in broken(claim)["data-is-kept"][0]
    made = {"volumeClaimTemplates": [{}], "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
    server = Resource("kubernetes:apps/v1:StatefulSet", "one", {"spec": made})
    assert "whenDeleted to Retain" in broken(server)["data-is-kept"][0]


def test_a_namespace_in_production_is_protected_or_one_that_stays_anyway() -> None:
    def space(name: str, protect: bool) -> Resource:
        return Resource("kubernetes:core/v1:Namespace", name, {"metadata": {"name": name}}, protect=protect)

    assert set(broken(space("trading", False))) == {"data-is-kept"}
    assert broken(space("trading", False), LAPTOP) == {}
    assert broken(space("trading", True)) == {}
    assert broken(space("crossover-audit", False)) == {}


def test_the_program_states_what_the_pack_goes_by_in_production_alone() -> None:
    seen = {"at": "2026-05-01T12:00:00Z", "components": {"event_bus": {"stage": "mvp"}}}
    program = render({"environment": "production", "evidence": seen, "event_bus": {"stage": "shadow"}})
    foundation = program.one("Foundation", "foundation")
    assert foundation.manifest == {"environment": "production", "kept": ["crossover-audit"]}
    stated = next(r.manifest for r in program.of("Transition") if r.manifest["component"] == "event_bus")
    assert stated["evidence"] == {"at": "2026-05-01T12:00:00+00:00", "stage": "mvp"}
    assert (stated["environment"], stated["verdict_hours"]) == ("production", 24)
    assert at(Stage.MVP).one("Foundation", "foundation").manifest == {}
    assert all(set(r.manifest) == {"component", "stage"} for r in at(Stage.MVP).of("Transition"))

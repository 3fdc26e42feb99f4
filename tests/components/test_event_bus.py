"""The event bus through its stages: what is deployed, what never changes, what waits for what."""

from __future__ import annotations

import json

import pytest

from components.kafka import cluster_id, config_files, properties
from components.settings import parse
from contracts import names
from contracts.stages import STAGE_TABLE, Component, Stage, deployed_backends
from tests.components.rendering import Program, Registered, at, decoded, render, template

BUS = Component.EVENT_BUS
BACKENDS = {"redis": "event-bus-redis", "kafka": "event-bus-kafka"}
JOB = "kubernetes:batch/v1:Job::transition-event-bus"


def _job(program: Program) -> Registered:
    return program.one("Job", "transition-event-bus")


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_deploys_what_its_row_says(stage: Stage) -> None:
    deployed = {kind for kind, name in BACKENDS.items() if name in at(stage).names("StatefulSet")}
    assert deployed == deployed_backends(BUS, stage)
    mirrored = "event-bus-mirror" in at(stage).names("Deployment")
    assert mirrored is (STAGE_TABLE[stage].follows is not None)


def test_a_switch_changes_nothing_but_backends_what_copies_and_transitions() -> None:
    coming_and_going = {*BACKENDS.values(), "event-bus-mirror"}
    coming_and_going |= {"hosted-postgres", "postgres", "postgres-service", "database-carrier", "database-base-backup"}
    coming_and_going |= {names.HOSTED_LLM_NAME}
    moving = {
        *("crossover:event_bus:EventBus", "crossover:database:Database", "crossover:llm_service:LlmService"),
        *("crossover:transition:Transition", "kubernetes:batch/v1:Job"),
    }
    kept = ("Secret", "NetworkPolicy", "Role", "RoleBinding")
    of_a_model = tuple(names.own_llm_name(alias) for alias in ("default", "trading"))  # all of it but the Secret

    def still(stage: Stage) -> dict[str, str]:
        return {
            r.key: json.dumps(r.manifest, sort_keys=True)
            for r in at(stage).resources
            if r.type not in moving
            and r.name not in of_a_model
            and not (r.name in coming_and_going and r.kind not in kept)
        }

    first = still(Stage.MVP)
    assert len(first) > 60
    for stage in (Stage.SHADOW, Stage.SCALE, Stage.COMPLETE):
        assert still(stage) == first


@pytest.mark.parametrize("stage", Stage)
def test_the_wanted_stage_shows_on_the_transition(stage: Stage) -> None:
    stated = at(stage).one("Transition", "event-bus").manifest
    assert stated == {"component": "event_bus", "stage": stage.value}
    container = template(_job(at(stage)))["spec"]["containers"][0]
    assert container["command"] == ["python", "-m", "cutover"]
    *told, named, owner = container["args"]
    assert told == ["--component", "event_bus", "--stage", stage.value, "--watch-seconds", "10"]
    assert named == "--owner" and len(owner) == 32
    assert at(stage).outputs["stages"]["event_bus"] == stage.value


def test_the_transition_is_found_by_who_checks_a_component() -> None:
    """`crossover validate` looks for it by this label, on the Job and, in what is made after it, on its pods."""
    job = _job(at(Stage.SCALE)).manifest
    assert job["metadata"]["labels"][names.LABEL_TRANSITION] == BUS.slug
    assert job["spec"]["template"]["metadata"]["labels"][names.LABEL_TRANSITION] == BUS.slug


def test_a_failed_job_runs_again_and_none_vanishes_or_retries() -> None:
    job = _job(at(Stage.SCALE)).manifest
    assert job["metadata"]["annotations"] == {"pulumi.com/replaceUnready": "true"}
    assert "name" not in job["metadata"]
    assert job["spec"]["backoffLimit"] == 0
    assert "ttlSecondsAfterFinished" not in job["spec"]


@pytest.mark.parametrize("stage", Stage)
def test_backends_come_before_the_transition_and_services_after(stage: Stage) -> None:
    program = at(stage)
    needed = _job(program).depends_on
    for kind in deployed_backends(BUS, stage):
        assert f"kubernetes:apps/v1:StatefulSet::{BACKENDS[kind]}" in needed
    assert ("kubernetes:apps/v1:Deployment::event-bus-mirror" in needed) is (STAGE_TABLE[stage].follows is not None)
    assert "kubernetes:core/v1:ConfigMap::crossover-route-event-bus" in needed
    for service in ("trading-engine", "market-feed"):
        assert JOB in program.one("Deployment", service).depends_on


def test_no_update_can_write_the_route() -> None:
    route = at(Stage.SCALE).one("ConfigMap", "crossover-route-event-bus")
    assert "data" not in route.manifest
    assert route.ignored == ("data",)


def test_retired_data_is_kept() -> None:
    for name in BACKENDS.values():
        spec = at(Stage.SHADOW).one("StatefulSet", name).manifest["spec"]
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_the_same_config_gives_the_same_program() -> None:
    config = {"event_bus": {"stage": "shadow"}, "size": "small"}

    def everything() -> dict[str, str]:
        return {r.key: json.dumps(r.manifest, sort_keys=True) for r in render(config).resources}

    assert everything() == everything()


def test_changed_configuration_makes_new_pods() -> None:
    def annotations(program: Program, kind: str, name: str) -> dict[str, str]:
        found: dict[str, str] = template(program.one(kind, name))["metadata"]["annotations"]
        return found

    before, after = at(Stage.SHADOW), render({"event_bus": {"stage": "shadow", "kafka": {"retention_hours": 24}}})
    assert annotations(before, "StatefulSet", "event-bus-kafka") != annotations(after, "StatefulSet", "event-bus-kafka")
    assert annotations(before, "StatefulSet", "event-bus-redis") == annotations(after, "StatefulSet", "event-bus-redis")
    assert annotations(before, "Deployment", "trading-engine") == annotations(after, "Deployment", "trading-engine")


def test_a_new_topic_runs_the_transition_anew_and_restarts_no_service() -> None:
    def told(program: Program) -> dict[str, str]:
        return {e["name"]: e.get("value", "") for e in template(_job(program))["spec"]["containers"][0]["env"]}

    more = render({"event_bus": {"topics": [*names.TOPICS, "orders"]}})
    assert told(at(Stage.MVP))[names.ENV_TOPICS] == "market_data,trading_signals"
    assert told(more)[names.ENV_TOPICS] == "market_data,trading_signals,orders"
    for name in ("trading-engine", "market-feed"):
        assert more.one("Deployment", name).manifest == at(Stage.MVP).one("Deployment", name).manifest


def test_redis_keeps_what_it_acknowledged() -> None:
    lines = decoded(at(Stage.MVP).one("Secret", "event-bus-redis"))["redis.conf"].splitlines()
    assert "appendonly yes" in lines
    assert "appendfsync always" in lines
    assert "maxmemory-policy noeviction" in lines


def _properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


USERS = dict.fromkeys(("broker", "cutover", "mirror", "trading"), "pw")


def test_a_single_kafka_keeps_its_controller_to_itself() -> None:
    read = _properties(properties(parse("local", {"kube_context": "c"}), 0, USERS))
    assert read["controller.quorum.voters"] == "0@localhost:9093"
    assert read["listeners"] == "CLIENT://:9092,CONTROLLER://localhost:9093"
    assert read["super.users"] == "User:cutover;User:broker"
    assert read["allow.everyone.if.no.acl.found"] == "false"
    assert "PLAINTEXT" not in read["listener.security.protocol.map"].replace("SASL_PLAINTEXT", "")


def test_three_kafkas_know_each_other() -> None:
    kafka = {"brokers": 3, "replication": 3, "min_insync_replicas": 2}
    settings = parse("local", {"kube_context": "c", "event_bus": {"kafka": kafka}})
    files = config_files(settings, USERS)
    assert sorted(files) == [f"event-bus-kafka-{i}.properties" for i in range(3)]
    read = [_properties(files[name]) for name in sorted(files)]
    assert [each["node.id"] for each in read] == ["0", "1", "2"]
    assert len({each["controller.quorum.voters"] for each in read}) == 1
    assert read[2]["advertised.listeners"].startswith("CLIENT://event-bus-kafka-2.event-bus-kafka.trading.svc")
    assert read[0]["transaction.state.log.min.isr"] == "2"


def test_kafka_comes_back_to_its_own_volume() -> None:
    assert cluster_id("local") == cluster_id("local")
    assert cluster_id("local") != cluster_id("mvp")
    assert len(cluster_id("local")) == 22

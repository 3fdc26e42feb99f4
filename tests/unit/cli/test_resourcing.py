"""What doctor makes of pods, nodes and volumes: what turns an answer red, and that it names a likely cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.known import Unknown
from adapters.routes.resources import Node, PodFacts, Volume
from cli import resourcing
from cli.causes import CAUSES, with_causes
from cli.resourcing import Resources
from contracts.stages import Component, Stage
from validation.result import Check, Verdict

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MIB = float(1 << 20)
NODE = Node("n", True, True, 8.0, 16384 * MIB)
ENGINE = PodFacts("engine-1", "trading-engine", "Running", True, node="n", limit=512 * MIB)
REDIS = PodFacts("redis-0", "event-bus-redis", "Running", True, node="n", limit=1024 * MIB)
KAFKA = PodFacts("kafka-0", "event-bus-kafka", "Running", True, node="n")
POSTGRES = PodFacts("postgres-0", "postgres", "Running", True, node="n")
MODEL = PodFacts("own-llm-default-1", "own-llm-default", "Running", True, node="n")
DONE = PodFacts("job-1", "cutover", "Succeeded", False)
PODS = [ENGINE, REDIS, KAFKA, POSTGRES, MODEL, DONE]
WELL = Resources(
    nodes=[NODE], pods=PODS, used={"engine-1": 100 * MIB, "job-1": MIB}, volumes=[Volume("data", MIB, 100 * MIB)],
    unready={"trading-engine": None}, models=["own-llm-default"],
    stages={
        Component.EVENT_BUS: Stage.SHADOW, Component.DATABASE: Stage.COMPLETE, Component.LLM_SERVICE: Stage.SCALE,
        Component.BACKTESTING: Stage.SCALE,
    },
)  # fmt: skip
ALL = {
    "nodes", "trading-engine: ready", "event_bus: redis answers", "event_bus: kafka answers",
    "database: selfhosted answers", "llm_service: own-llm-default answers", "pods: started", "pods: killed",
    "pods: memory", "volumes: room",
}  # fmt: skip


def asked(at: Resources) -> dict[str, Check]:
    return {check.name: check for check in resourcing.checks(at, NOW)}


def without(pod: PodFacts, *others: PodFacts) -> list[PodFacts]:
    return [*(one for one in PODS if one.name != pod.name), *others]


def test_where_all_is_well_all_is_asked_and_holds() -> None:
    assert {name: check.outcome for name, check in asked(WELL).items()} == dict.fromkeys(ALL, Verdict.HOLDS)


def test_only_what_a_stage_deploys_is_asked_for() -> None:
    at_mvp = replace(WELL, stages=dict.fromkeys(Component, Stage.MVP), pods=[ENGINE, REDIS])
    gone = {"event_bus: kafka answers", "database: selfhosted answers", "llm_service: own-llm-default answers"}
    assert set(asked(at_mvp)) == ALL - gone


OOM = (NOW - timedelta(hours=1), "OOMKilled")
WAITS = "Unschedulable: 0/1 nodes are available: 1 Insufficient memory"


@pytest.mark.parametrize(
    ("item", "changes", "says"),
    [
        ("nodes", {"nodes": [replace(NODE, ready=False)]}, "n is not ready. Likely cause"),
        ("nodes", {"nodes": [replace(NODE, trouble=("DiskPressure",))]}, "DiskPressure"),
        ("trading-engine: ready", {"unready": {"trading-engine": "bus: no route"}}, "likely cause"),
        ("event_bus: redis answers", {"pods": without(REDIS, replace(REDIS, ready=False))}, "likely cause"),
        ("event_bus: kafka answers", {"pods": without(KAFKA)}, "no pod of event-bus-kafka"),
        ("pods: started", {"pods": [*PODS, PodFacts("x", "x", "Pending", False, waits=WAITS)]}, "no node has the CPU"),
        ("pods: killed", {"pods": without(ENGINE, replace(ENGINE, restarts=1, killed=OOM))}, "OOMKilled at 2026"),
        ("pods: memory", {"used": {"engine-1": 500 * MIB}}, "engine-1 500 of 512 MiB. Likely cause"),
        ("volumes: room", {"volumes": [Volume("data", 95 * MIB, 100 * MIB)]}, "data 95 of 100 MiB. Likely cause"),
    ],
)
def test_what_is_wrong_turns_its_item_red_and_no_other(item: str, changes: dict[str, Any], says: str) -> None:
    found = asked(replace(WELL, **changes))
    assert {name: check.outcome for name, check in found.items()} == dict.fromkeys(ALL, Verdict.HOLDS) | {
        item: Verdict.DOES_NOT_HOLD
    }
    assert says in found[item].detail and found[item].fix


@pytest.mark.parametrize(
    ("item", "changes"),
    [
        ("nodes", {"nodes": Unknown("no right")}),
        ("nodes", {"nodes": []}),
        ("trading-engine: ready", {"unready": {"trading-engine": Unknown("away")}}),
        ("pods: memory", {"used": Unknown("metrics.k8s.io is not served")}),
        ("pods: memory", {"used": {}}),
        ("volumes: room", {"volumes": Unknown("no right")}),
        ("volumes: room", {"volumes": []}),
    ],
)
def test_what_cannot_be_had_is_unknown_and_nothing_else_is(item: str, changes: dict[str, Any]) -> None:
    outcomes = {name: check.outcome for name, check in asked(replace(WELL, **changes)).items()}
    assert outcomes == dict.fromkeys(ALL, Verdict.HOLDS) | {item: Verdict.COULD_NOT_CHECK}


def test_without_pods_that_is_said_once() -> None:
    found = asked(replace(WELL, pods=Unknown("no right")))
    assert found["pods"].outcome is Verdict.COULD_NOT_CHECK
    assert set(found) == {"nodes", "trading-engine: ready", "pods", "volumes: room"}


def test_restarts_of_another_kind_are_told_and_old_ones_are_not() -> None:
    failed = replace(ENGINE, restarts=1, killed=(NOW - timedelta(hours=1), "Error"))
    old = replace(ENGINE, restarts=1, killed=(NOW - timedelta(days=2), "OOMKilled"))
    assert asked(replace(WELL, pods=without(ENGINE, failed)))["pods: killed"].detail.startswith("engine-1: Error")
    assert asked(replace(WELL, pods=without(ENGINE, old)))["pods: killed"].detail == ""


def test_a_finding_that_tells_no_cause_gets_the_likely_one() -> None:
    def made(name: str, *, holds: bool = False, detail: str = "", expected: str = "e") -> Check:
        [check] = with_causes([Check.that(name, holds, expected=expected, found="f", detail=detail)])
        return check

    assert made("event_bus: route").detail == f"likely cause: {CAUSES['route']}"
    assert made("cluster: context here").detail == f"likely cause: {CAUSES['cluster']}"
    assert made("database: database-pooler", expected="all of its pods are ready").detail.startswith("likely cause")
    assert made("event_bus: route", detail="said").detail == "said"
    assert made("event_bus: route", holds=True).detail == ""
    assert made("event_bus: something").detail == ""


def test_the_document_on_troubleshooting_has_every_answer_that_doctor_gives() -> None:
    text = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text()
    found = {name.partition(": ")[2] or name for name in (*CAUSES, *ALL)} - {"own-llm-default answers", "ready"}
    assert [name for name in sorted(found) if f"{name}`" not in text] == []

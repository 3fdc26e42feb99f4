"""The demonstration's pure parts: the load's pod, the report, and what counts as trading."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.registry import LABEL_ADAPTER
from contracts.stages import Component
from local.demo import backtests, bank, chat, client, figures, pod, probes, trading
from local.demo.__main__ import wishes
from validation.load.verifying import WHOLE
from validation.probes.targets import PATHS
from validation.result import Check, Report

ENGINE: dict[str, Any] = {
    "spec": {
        "template": {
            "metadata": {"labels": {"app": "trading-engine", "tier": "bus-client"}},
            "spec": {
                "serviceAccountName": "trading-engine",
                "securityContext": {"runAsNonRoot": True},
                "containers": [
                    {
                        "name": "trading-engine",
                        "image": "localhost/crossover/workload:local",
                        "securityContext": {"readOnlyRootFilesystem": True},
                        "env": [
                            {"name": "CROSSOVER_ROUTES", "value": "kubernetes"},
                            {"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "r", "key": "p"}}},
                            {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "d", "key": "u"}}},
                            {"name": "LLM_ORCHESTRATOR_URL", "value": "http://llm-orchestrator:8000/v1"},
                            {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                        ],
                    }
                ],
            },
        }
    }
}


def test_the_pod_takes_the_engines_way_to_the_bus_and_nothing_else() -> None:
    made = pod.manifest(ENGINE, run="r1", rate=1050, seconds=60)
    containers = made["spec"]["containers"]
    assert [c["name"] for c in containers] == ["publish", *pod.GROUPS, "verify"]
    for container in containers[:-1]:
        assert {e["name"] for e in container["env"]} == {"CROSSOVER_ROUTES", "REDIS_PASSWORD", "POD_UID"}
        assert container["securityContext"] == {"readOnlyRootFilesystem": True}
    assert {e["name"] for e in containers[-1]["env"]} == {
        "CROSSOVER_ROUTES",
        "REDIS_PASSWORD",
        "POD_UID",
        "DATABASE_URL",
    }
    assert made["metadata"]["labels"] == {"app": pod.POD_NAME, "tier": "bus-client", LABEL_ADAPTER: "event-bus"}
    assert made["spec"]["serviceAccountName"] == "trading-engine"


def test_an_engine_that_follows_no_route_is_no_template() -> None:
    engine: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"image": "x", "env": []}]}}}}
    with pytest.raises(pod.NoTemplate):
        pod.manifest(engine, run="r1", rate=1, seconds=1)


@pytest.mark.parametrize(
    ("kind", "variable", "program"),
    [(bank.KIND, "DATABASE_URL", "validation.bank"), (chat.KIND, "LLM_ORCHESTRATOR_URL", "validation.chat")],
    ids=["bank", "chat"],
)
def test_a_client_takes_its_one_way_from_the_engine(kind: client.Kind, variable: str, program: str) -> None:
    made = client.manifest(kind, ENGINE, run="r1", rate=1.5)
    acting, judge = made["spec"]["containers"]
    assert acting["command"][2:4] == [program, "run"] and "1.5" in acting["command"]
    for container in (acting, judge):
        assert [entry["name"] for entry in container["env"]] == [variable]
        assert container["securityContext"] == {"readOnlyRootFilesystem": True}
    assert made["metadata"]["name"] == kind.pod and not made["spec"]["automountServiceAccountToken"]
    without: dict[str, Any] = {"containers": [{"name": "trading-engine", "image": "x", "env": []}]}
    with pytest.raises(pod.NoTemplate, match=variable):
        client.manifest(kind, {"spec": {"template": {"spec": without}}}, run="r1", rate=1)


def test_a_client_of_what_the_engine_does_not_call_has_its_address() -> None:
    for container in client.manifest(backtests.KIND, ENGINE, run="r1", rate=0.5)["spec"]["containers"]:
        assert container["env"] == [{"name": "BACKTESTING_URL", "value": "http://backtesting-service:8000"}]


@pytest.mark.parametrize(
    ("kind", "servers"),
    [(chat.KIND, ["llm-orchestrator"]), (backtests.KIND, ["backtesting-service"]), (probes.KIND, [*PATHS])],
    ids=["chat", "backtests", "probes"],
)
def test_a_load_may_call_its_servers_and_nobody_else(kind: client.Kind, servers: list[str]) -> None:
    going, coming = kind.policies
    load, called = {"app": kind.pod}, [{"key": "app", "operator": "In", "values": servers}]
    assert client.manifest(kind, ENGINE, run="r", rate=1)["metadata"]["labels"] == load
    assert going["spec"]["podSelector"]["matchLabels"] == load and going["spec"]["policyTypes"] == ["Egress"]
    assert going["spec"]["egress"][0]["to"] == [{"podSelector": {"matchExpressions": called}}]
    assert coming["spec"]["podSelector"]["matchExpressions"] == called and coming["spec"]["policyTypes"] == ["Ingress"]
    assert coming["spec"]["ingress"][0]["from"] == [{"podSelector": {"matchLabels": load}}]


SWITCH = figures.Switch(component="event_bus", origin="mvp", goal="scale", started=10**18, ended=10**18 + 2 * 10**9)
GOOD = Check.that("load offered", True, expected="x", found="x")
NUMBERS = dict.fromkeys((*figures.COUNTS, *figures.STALLS), 0.0) | {"acknowledged": 5.0, "rate": 1.0, "seconds": 2.0}


def report(subject: str, *checks: Check) -> Report:
    return Report(subject=subject, checks=checks, figures=NUMBERS)


def test_the_report_has_the_figures_that_machines_read() -> None:
    reports = {SWITCH.name: report(SWITCH.name, GOOD), WHOLE: report(WHOLE, GOOD), pod.EFFECTS_OF: report("e", GOOD)}
    body = figures.document([SWITCH], reports, {})
    entry = body["switches"][0]
    assert {"component", "from", "to", "started", "seconds", *figures.COUNTS, *figures.STALLS, "verdict"} <= set(entry)
    assert (entry["seconds"], entry["acknowledged"], entry["verdict"]) == (2.0, 5, "holds")
    assert body["verdict"] == "holds"
    assert figures.table(body, 3).row_count == 12


BAD = Check.none_wrong("a: lost", wrong=1, of=9, what="lost")
UNKNOWN = Check.unknown("load offered", expected="x", why="there was none")
PROOF = {SWITCH.name: GOOD, WHOLE: GOOD, pod.EFFECTS_OF: GOOD}


@pytest.mark.parametrize(
    ("checks", "problem", "verdict"),
    [
        (PROOF, "", "holds"),
        ({}, "", "could_not_check"),
        ({SWITCH.name: GOOD}, "", "could_not_check"),
        ({SWITCH.name: GOOD, WHOLE: GOOD}, "", "could_not_check"),
        (PROOF | {pod.EFFECTS_OF: BAD}, "", "does_not_hold"),
        (PROOF | {WHOLE: BAD}, "", "does_not_hold"),
        (PROOF | {SWITCH.name: UNKNOWN}, "", "could_not_check"),
        (PROOF, "the load ended", "does_not_hold"),
    ],
)
def test_nothing_but_a_whole_proof_holds(checks: dict[str, Check], problem: str, verdict: str) -> None:
    reports = {name: report(name, check) for name, check in checks.items()}
    assert figures.document([SWITCH], reports, {}, problem)["verdict"] == verdict


def test_a_failed_update_does_not_hold_whatever_the_ledger_says() -> None:
    failed = figures.Switch(component="event_bus", origin="mvp", goal="scale", started=1, ended=2, failure="VERDICT no")
    reports = {failed.name: report("w", GOOD), WHOLE: report(WHOLE, GOOD), pod.EFFECTS_OF: report("e", GOOD)}
    assert figures.document([failed], reports, {})["verdict"] == "does_not_hold"


def test_figures_that_are_missing_are_null_and_shown_as_unknown() -> None:
    body = figures.document([SWITCH], {}, {})
    assert body["switches"][0]["lost"] is None
    assert figures.table(body, 3).row_count == 12


LLM_SWITCH = figures.Switch(component=Component.LLM_SERVICE.value, origin="mvp", goal="scale", started=1, ended=2)


@pytest.mark.parametrize(
    ("checks", "problem", "verdict"),
    [
        ({"mvp->scale": GOOD, "chats": GOOD}, "", "holds"),
        ({"mvp->scale": GOOD}, "", "could_not_check"),
        ({"mvp->scale": GOOD, "chats": BAD}, "", "does_not_hold"),
        ({"mvp->scale": GOOD, "chats": GOOD}, "the load ended", "does_not_hold"),
    ],
)
def test_a_part_joins_with_its_own_proof(checks: dict[str, Check], problem: str, verdict: str) -> None:
    counted = {"acknowledged": 7.0, "acknowledged_vllm": 7.0, "ttft_ms_p50": 20.0, "rate": 1.5, "seconds": 9.0}
    reports = {name: Report(subject=name, checks=(check,), figures=counted) for name, check in checks.items()}
    part = figures.part_document([LLM_SWITCH], reports, reports.get("chats"), figures.CHAT_STALLS, problem)
    whole = {name: report(name, check) for name, check in PROOF.items()}
    body = figures.joined(figures.document([SWITCH], whole, {}), "llm", part)
    assert body["verdict"] == verdict
    assert [entry["component"] for entry in body["switches"]] == ["event_bus", "llm_service"]
    assert body["switches"][1]["acknowledged_by"] == {"vllm": 7}
    assert (body["problem"] or "") == problem
    assert bool(body["llm"]["figures"]) == ("chats" in checks)
    shown = figures.chat_table(body)
    assert (shown.row_count, len(shown.columns)) == (11, 2)


def test_the_figures_of_backtests_are_shown() -> None:
    switch = figures.Switch(component=Component.BACKTESTING.value, origin="mvp", goal="scale", started=1, ended=2)
    counted = {
        "acknowledged": 7.0,
        "acknowledged_nautilus": 7.0,
        "run_ms_p50": 20.0,
        "rate": 0.5,
        "seconds": 9.0,
        "moved": 0.0,
    }
    told = Report(subject=switch.name, checks=(GOOD,), figures=counted)
    part = figures.part_document([switch], {switch.name: told}, told, figures.BACKTEST_TIMES)
    shown = figures.backtest_table(part)
    assert (shown.row_count, len(shown.columns)) == (14, 2)
    assert (part["switches"][0]["moved"], part["switches"][0]["run_ms_p95"]) == (0.0, None)


def test_prices_of_the_load_are_not_real_market_data() -> None:
    page = {"items": [{"key": "LOAD-1", "last_price": "1"}, {"key": "SP500", "last_price": "2"}, {"key": "N"}]}
    assert trading.prices(page) == {"SP500": "2"}


def test_the_defaults_are_the_promise() -> None:
    asked, with_setup = wishes([])
    assert with_setup
    assert asked.around >= 60
    assert asked.min_rate >= 1000
    assert asked.rate >= asked.min_rate

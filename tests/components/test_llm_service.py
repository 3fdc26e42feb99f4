"""The language models through their stages: what is deployed, what never changes, what waits for what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import names
from contracts.llm import Endpoints
from contracts.llm_limits import Limits
from contracts.llm_moving import LlmMoving
from contracts.stages import Component, Stage, deployed_backends
from tests.components.rendering import Program, Registered, at, decoded, password, render, render_all, template

LLM = Component.LLM_SERVICE
SERVERS = {"hosted": {names.HOSTED_LLM_NAME}, "vllm": {"own-llm-default", "own-llm-trading"}}
HOSTED = {"base_url": "https://api.groq.com/openai/v1", "api_key": "gsk-secret", "models": {"default": "llama"}}


def _job(program: Program) -> Registered:
    return program.one("Job", "transition-llm-service")


def _env(workload: Registered) -> dict[str, Any]:
    (container,) = template(workload)["spec"]["containers"]
    return {entry["name"]: entry.get("value") for entry in container["env"]}


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_deploys_what_its_row_says(stage: Stage) -> None:
    there = at(stage).names("Deployment")
    for backend, apps in SERVERS.items():
        assert (apps <= there) is (backend in deployed_backends(LLM, stage))
        assert bool(apps & there) is (backend in deployed_backends(LLM, stage))


@pytest.mark.parametrize("stage", Stage)
def test_the_wanted_stage_shows_on_the_transition(stage: Stage) -> None:
    assert at(stage).one("Transition", "llm-service").manifest == {"component": "llm_service", "stage": stage.value}
    spec = template(_job(at(stage)))["spec"]
    (container,) = spec["containers"]
    assert container["args"][:4] == ["--component", "llm_service", "--stage", stage.value]
    assert container["envFrom"] == [{"secretRef": {"name": "llm-service"}}]
    assert spec["serviceAccountName"] == "llm-cutover"


@pytest.mark.parametrize("stage", Stage)
def test_no_stage_changes_the_orchestrators_pods(stage: Stage) -> None:
    def pods(program: Program) -> str:
        return json.dumps(template(program.one("Deployment", names.LLM_ORCHESTRATOR_NAME)), sort_keys=True)

    assert pods(at(stage)) == pods(at(Stage.MVP))
    env = _env(at(stage).one("Deployment", names.LLM_ORCHESTRATOR_NAME))
    assert set(Endpoints.parse(env["LLM_ENDPOINTS"]).root) == {"hosted", "vllm"}
    assert env["CROSSOVER_ROUTES"] == "kubernetes"
    assert (
        template(at(stage).one("Deployment", names.LLM_ORCHESTRATOR_NAME))["metadata"]["labels"][
            "crossover.dev/adapter"
        ]
        == "llm-service"
    )


def test_the_limits_of_config_are_those_of_the_orchestrators_pods() -> None:
    asked = {"connect_seconds": 2.5, "max_in_flight": 300, "retries_a_call": 0}
    small, usual = render({"llm_service": {"timeout_seconds": 40, "limits": asked}}), at(Stage.MVP)
    told, without = (_env(program.one("Deployment", names.LLM_ORCHESTRATOR_NAME)) for program in (small, usual))
    changed = {name: value for name, value in told.items() if value != without[name]}
    assert changed == {
        "LLM_TIMEOUT_SECONDS": "40", "LLM_CONNECT_TIMEOUT_SECONDS": "2.5", "LLM_MAX_IN_FLIGHT": "300",
        "LLM_RETRIES_A_CALL": "0",
    }  # fmt: skip
    assert set(Limits().env()) < set(told)


def test_a_rolled_orchestrator_may_answer_its_longest_call() -> None:
    made = render({"llm_service": {"limits": {"whole_seconds": 900}}}).one("Deployment", names.LLM_ORCHESTRATOR_NAME)
    assert template(made)["spec"]["terminationGracePeriodSeconds"] > 900


@pytest.mark.parametrize("stage", Stage)
def test_both_keys_are_there_at_every_stage(stage: Stage) -> None:
    keys = decoded(at(stage).one("Secret", "llm-service"))
    assert keys == {"LLM_API_KEY": password("hosted-llm-key"), "LLM_OWN_API_KEY": password("own-llm-key")}
    assert decoded(at(stage).one("Secret", "hosted-llm"))["api-key"] == keys["LLM_API_KEY"]
    assert decoded(at(stage).one("Secret", "own-llm"))["api-key"] == keys["LLM_OWN_API_KEY"]


def test_models_and_orchestrator_come_before_the_transition_and_wait_for_the_route() -> None:
    program = at(Stage.SCALE)
    waited = {key.rsplit("::", 1)[-1] for key in _job(program).depends_on}
    assert {"hosted-llm", "own-llm-default", "llm-orchestrator", "crossover-route-llm-service"} <= waited
    orchestrator = {key.rsplit("::", 1)[-1] for key in program.one("Deployment", "llm-orchestrator").depends_on}
    assert {"crossover-route-llm-service", "llm-service"} <= orchestrator
    assert "own-llm-default" not in orchestrator  # which may load for minutes


def test_no_update_can_write_the_route() -> None:
    route = at(Stage.SCALE).one("ConfigMap", "crossover-route-llm-service")
    assert "data" not in route.manifest and route.ignored == ("data",)


def test_what_config_asks_for_is_the_transitions_to_know() -> None:
    asked = {
        "stage": "scale", "canary_percent": 20, "sample_percent": 0, "watch_seconds": 7,
        "budget": {"error_rate": 0.1}, "quality": {"margin": 0.1, "per_kind": 9},
    }  # fmt: skip
    job = _job(render({"llm_service": asked}))
    told = LlmMoving.parse(_env(job)["CROSSOVER_LLM_MOVING"])
    assert (told.share, told.sample, told.budget.error_rate, told.budget.ttft_ratio) == (20, None, 0.1, 3.0)
    assert (told.quality.margin, told.quality.per_kind, told.prompts) == (0.1, 9, None)
    assert template(job)["spec"]["containers"][0]["args"][4:6] == ["--watch-seconds", "7"]
    assert _env(job)["CROSSOVER_VERDICT_HOURS"] == "24"
    usual = LlmMoving.parse(_env(_job(at(Stage.SCALE)))["CROSSOVER_LLM_MOVING"])
    assert (usual.share, usual.sample) == (None, 5.0)
    assert {need.app for need in usual.gpus.root} == SERVERS["vllm"]


def test_what_our_own_models_are_is_told_without_their_secrets_and_another_token_makes_new_pods() -> None:
    asked: tuple[dict[str, object], ...] = ({}, {"hf_token": "hf_1"}, {"hf_token": "hf_2"}, {"shutdown_seconds": 60})
    programs = render_all([{"llm_service": {"stage": "shadow", "own": own}} for own in asked])
    told = [LlmMoving.parse(_env(_job(program))["CROSSOVER_LLM_MOVING"]) for program in programs]
    pods = [template(program.one("Deployment", "own-llm-default")) for program in programs]
    notes = [pod["metadata"]["annotations"] for pod in pods]
    assert told[0].own and told[0].own == told[1].own == told[2].own
    assert notes[0] != notes[1] != notes[2]
    assert told[3].own != told[0].own


def test_the_small_size_runs_on_cpus_and_says_so() -> None:
    program = render({"size": "small", "llm_service": {"stage": "shadow"}})
    assert LlmMoving.parse(_env(_job(program))["CROSSOVER_LLM_MOVING"]).gpus.root == ()
    endpoints = Endpoints.parse(_env(_job(program))["LLM_ENDPOINTS"])
    assert endpoints.of("vllm", "default") == endpoints.of("vllm", "trading")


def test_prompts_of_yours_reach_the_transition_and_make_it_run_again() -> None:
    # Any text file of the project will do: what a prompt is, the gate says.
    program = render({"llm_service": {"quality": {"prompts": "pyproject.toml"}}})
    (kept,) = [r for r in program.of("ConfigMap") if r.name == "llm-prompts"]
    assert "[project]" in kept.manifest["data"]["prompts.jsonl"]
    pod = template(_job(program))
    assert LlmMoving.parse(_env(_job(program))["CROSSOVER_LLM_MOVING"]).prompts == "/run/prompts/prompts.jsonl"
    assert {"mountPath": "/run/prompts", "name": "prompts", "readOnly": True} in (
        pod["spec"]["containers"][0]["volumeMounts"]
    )
    assert pod["metadata"]["annotations"]["crossover.dev/prompts-hash"]
    assert "llm-prompts" not in at(Stage.SCALE).names("ConfigMap")


def test_the_users_own_provider_is_reached_and_none_is_played() -> None:
    program = render({"llm_service": {"stage": "scale", "provider": "groq", **HOSTED}})
    assert names.HOSTED_LLM_NAME not in program.names("Deployment") | program.names("Secret")
    assert decoded(program.one("Secret", "llm-service"))["LLM_API_KEY"] == "gsk-secret"
    env = _env(program.one("Deployment", "llm-orchestrator"))
    found = Endpoints.parse(env["LLM_ENDPOINTS"]).of("hosted", "trading")
    assert (found.base_url, found.model, env["LLM_SERVICE_TYPE"]) == (HOSTED["base_url"], "llama", "groq")
    for policy in ("llm-orchestrator-models", "llm-cutover"):
        rules = program.one("NetworkPolicy", policy).manifest["spec"]["egress"]
        assert {"ports": [{"port": 443, "protocol": "TCP"}]} in rules


def test_keys_stand_in_no_manifest_of_a_pod() -> None:
    for workload in at(Stage.SHADOW).of("Deployment", "Job"):
        assert password("own-llm-key") not in str(template(workload))
        assert password("hosted-llm-key") not in str(template(workload))

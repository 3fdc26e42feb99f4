"""Preflight of the language models, item by item: what turns each red, what is said, and who is not asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from adapters.llm import LLMGarbled, LLMRefused, LLMUnavailable
from adapters.routes.base import GpuNode, Permission, RouteUnavailable
from components import llm_access
from components.settings import parse
from contracts.llm_memory import GpuNeed, GpuNeeds, Need
from contracts.stages import Stage
from cutover import surroundings
from cutover.errors import CouldNotCheck
from cutover.llm_service import asking, opening
from cutover.llm_service.asking import wrong_with
from cutover.llm_service.preflight.cluster_items import NEEDED, unplaced
from cutover.plan import Transition, path
from tests.unit.cutover.llm_world import COMPONENT, LlmWorld
from validation.result import Verdict

WRONG, UNKNOWN = "does not hold", "could not be checked"
Spoil = Callable[[LlmWorld], None]


def refuses(side: str, status: int) -> Spoil:
    def spoil(world: LlmWorld) -> None:
        world.sides[side].fault = LLMRefused(side, status, b"no", "application/json")

    return spoil


def garbles(side: str) -> Spoil:
    def spoil(world: LlmWorld) -> None:
        world.sides[side].fault = LLMGarbled("GET models answered no list")

    return spoil


def serves(side: str, *models: str) -> Spoil:
    def spoil(world: LlmWorld) -> None:
        world.sides[side]._models = models

    return spoil


def says(side: str, reply: str) -> Spoil:
    def spoil(world: LlmWorld) -> None:
        world.sides[side].reply = reply

    return spoil


def silent(world: LlmWorld) -> None:
    world.registry.pods = {"pod-1"}
    world.registry.alter = lambda record: replace(record, age_seconds=100.0)


def nobody(world: LlmWorld) -> None:
    world.registry.orchestrators = ()
    world.registry.withdraw(COMPONENT, "pod-1.orchestrator")


def lacks(world: LlmWorld) -> None:
    world.cluster.granted = set(NEEDED[1:])


def may_too_much(world: LlmWorld) -> None:
    world.cluster.granted = {*NEEDED, Permission("get", "secrets")}


def need(gib: float | None, gpus: int = 1, pods: int = 1, app: str = "own-llm-default") -> GpuNeed:
    memory = None if gib is None else Need(weights=gib - 3, cache=1.0, tokens=4096, workspace=2.0)
    return GpuNeed(app=app, model="m", pods=pods, gpus=gpus, utilization=0.9, memory=memory)


def on_gpus(*nodes: GpuNode, wants: GpuNeed | None = None) -> Spoil:
    def spoil(world: LlmWorld) -> None:
        world.set(gpus=GpuNeeds((wants or need(20.0),)))
        world.nodes.nodes = list(nodes)

    return spoil


def nodes_unseen(world: LlmWorld) -> None:
    on_gpus()(world)
    world.nodes.failure = RouteUnavailable("403 Forbidden")


CASES: list[tuple[str, Spoil, str, str, str]] = [
    # item, what spoils it, verdict, found, fix
    ("hosted: reachable", lambda w: w.down("hosted"), UNKNOWN, "it is down", "crossover:llm_service.base_url"),
    ("hosted: reachable", refuses("hosted", 404), WRONG, "answered 404", "its version path included"),
    ("hosted: reachable", garbles("hosted"), WRONG, "no list", "its version path included"),
    ("vllm: reachable", refuses("vllm", 503), UNKNOWN, "answered 503", "may still be loading"),
    ("vllm: reachable", lambda w: w.down("vllm"), UNKNOWN, "it is down", "kubectl get pods"),
    ("hosted: key", refuses("hosted", 401), WRONG, "answered 401", "crossover:llm_service.api_key KEY --secret"),
    ("vllm: key", refuses("vllm", 403), WRONG, "answered 403", "Secret llm-service"),
    ("hosted: model of trading", serves("hosted", "gpt"), WRONG, "there are: gpt", "llm_service.models.trading MODEL"),
    ("vllm: model of default", serves("vllm"), WRONG, "there are: none", "llm_service.own.models.default"),
    ("vllm: answer as default", says("vllm", " "), WRONG, "it is empty", "chat template"),
    ("hosted: answer as trading", says("hosted", "sell " * 9), WRONG, "it repeats itself", "chat template"),
    ("vllm: GPUs", on_gpus(), WRONG, "no node has any; no room for own-llm-default", "Add nodes"),
    ("vllm: GPUs", on_gpus(GpuNode("n", 4, 16.0)), WRONG, "n: 4 of 16.0 GiB; no room", "smaller model"),
    ("vllm: GPUs", on_gpus(GpuNode("n", 1, None)), UNKNOWN, "n: 1 of unknown size", "GPU feature discovery"),
    ("vllm: GPUs", on_gpus(GpuNode("n", 1, 24.0), wants=need(None)), UNKNOWN, "is not known", "shape"),
    ("vllm: GPUs", nodes_unseen, UNKNOWN, "403 Forbidden", "may list nodes"),
    ("adapters: alive", silent, WRONG, "pod-1.orchestrator is silent for 100 s", "kubectl get pods"),
    ("adapters: alive", nobody, UNKNOWN, "no orchestrator makes itself known", "logs deployment/llm-orchestrator"),
    ("kubernetes: rights", lacks, WRONG, "may not get configmaps crossover-route-llm-service", "llm-cutover"),
    ("kubernetes: rights", may_too_much, WRONG, "may also get secrets", "llm-cutover"),
]


@pytest.mark.parametrize(("item", "spoil", "verdict", "found", "fix"), CASES, ids=[f"{c[0]}-{c[3]}" for c in CASES])
def test_it_refuses_and_says_why(item: str, spoil: Spoil, verdict: str, found: str, fix: str) -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    before = world.route()
    spoil(world)
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == verdict and outcome.stage is Stage.SHADOW
    (line,) = [line for line in outcome.message.splitlines() if f"- {item} " in line]
    assert found in line and "Fix: " in line and fix in line.partition("Fix: ")[2]
    assert (world.route().epoch, world.route().active) == (before.epoch, before.active)


@pytest.mark.parametrize(
    ("origin", "goal", "asked"),
    [
        (None, Stage.MVP, {"hosted"}),
        (None, Stage.COMPLETE, {"vllm"}),
        (Stage.MVP, Stage.SHADOW, {"hosted", "vllm"}),
        (Stage.SHADOW, Stage.SCALE, {"hosted", "vllm"}),
        (Stage.SCALE, Stage.SHADOW, {"hosted"}),
        (Stage.SCALE, Stage.COMPLETE, {"vllm"}),
        (Stage.SHADOW, Stage.MVP, {"hosted"}),
        (Stage.COMPLETE, Stage.SCALE, {"hosted", "vllm"}),
    ],
)
def test_only_who_is_needed_after_it_is_asked(origin: Stage | None, goal: Stage, asked: set[str]) -> None:
    world = LlmWorld()
    if origin is not None:
        world.reach(origin)
    (row,) = path(origin, goal, COMPONENT)
    context = world.context()
    context.read()
    world.steps(context).steps[row.steps[0]](row)
    assert {name.partition(":")[0] for name in (c.name for c in context.checks) if ": model of" in name} == asked


@pytest.mark.parametrize("spoil", [silent, nobody, may_too_much])
def test_what_is_no_danger_to_callers_does_not_hold_up_the_way_back(spoil: Spoil) -> None:
    world = LlmWorld()
    world.reach(Stage.SCALE)
    spoil(world)
    context = world.context()
    context.read()
    row = path(Stage.SCALE, Stage.SHADOW, COMPONENT)[0]
    assert "items hold" in world.steps(context).steps[row.steps[0]](row)


def test_gpus_are_placed_where_they_fit_most_tightly() -> None:
    needs = (need(40.0, gpus=2), need(18.0, pods=2, app="own-llm-trading"))
    assert unplaced(needs, [GpuNode("large", 2, 80.0), GpuNode("small", 2, 24.0)]) == []
    assert unplaced(needs, [GpuNode("large", 2, 80.0), GpuNode("small", 1, 24.0)]) == ["own-llm-trading"]
    assert unplaced(needs, [GpuNode("a", 1, 80.0), GpuNode("b", 1, 80.0)]) == ["own-llm-default"]


def test_enough_gpus_are_told_with_the_sum() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    on_gpus(GpuNode("n", 1, 24.0))(world)
    world.reach(Stage.SCALE)
    assert any("vllm: GPUs: n: 1 of 24.0 GiB" in line for line in world.lines)


def test_an_image_without_gpus_says_so() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    assert any("vllm: GPUs: the image is llama.cpp's" in line for line in world.lines)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b'{"choices": [{"message": {"content": "It is."}, "finish_reason": "length"}]}', ""),
        (b'{"choices": [{"message": {"content": "a\xef\xbf\xbd"}, "finish_reason": "stop"}]}', "it is no text"),
        (b'{"choices": [{"message": {"content": "a"}, "finish_reason": "content_filter"}]}', "it ended by"),
        (b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}', "it is empty"),
        (b'{"choices": []}', "no chat completion"),
        (b"[]", "no chat completion"),
        (b"\xff", "no chat completion"),
    ],
)
def test_what_is_an_answer(body: bytes, wrong: str) -> None:
    found = wrong_with(body)
    assert (wrong in found) if wrong else not found


def test_each_model_is_asked_once_however_many_aliases_it_has() -> None:
    world = LlmWorld()
    models = [world.model("hosted", alias) for alias in ("default", "trading")]
    assert list(asking.generations(models, 1.0).values()) == ["", ""]
    assert len(world.sides["hosted"].requests) == 1
    world.sides["hosted"].fault = LLMUnavailable("away")
    told = asking.first_tokens(models, 2, 1.0)
    assert [getattr(found, "why", None) for found in told.values()] == ["away", "away"]


def test_the_role_of_a_cutover_grants_what_preflight_needs_and_nothing_that_it_refuses() -> None:
    settings = parse("test", {"kube_context": "test"})
    [rules] = [
        manifest["rules"]
        for manifest in llm_access.rights(settings)
        if manifest["kind"] == "Role" and manifest["metadata"]["name"] == llm_access.CUTOVER
    ]
    granted = {
        (verb, group, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }
    assert {(right.verb, right.group, right.resource, right.name) for right in NEEDED} <= granted
    assert not {(r.verb, r.group, r.resource, r.name) for r in surroundings.TOO_MUCH} & granted


def _all_of(env: dict[str, str]) -> None:
    opening.models(env)
    opening.moving(env)
    opening.front(env)


def test_what_the_program_tells_is_what_a_transition_reads() -> None:
    settings = parse("test", {"kube_context": "test", "llm_service": {"canary_percent": 20}})
    env = {
        "LLM_ENDPOINTS": llm_access.endpoints(settings).to_json(),
        "LLM_API_KEY": "hosted-key",
        "LLM_OWN_API_KEY": "own-key",
        "LLM_ORCHESTRATOR_URL": llm_access.orchestrator_url(),
        "CROSSOVER_LLM_MOVING": llm_access.moving(settings).to_json(),
    }
    found = opening.models(env)
    assert set(found) == {"hosted", "vllm"} and {"default", "trading"} <= set(found["vllm"])
    assert found["hosted"]["default"].base_url == "http://hosted-llm.hosted.svc.cluster.local:8080/v1"
    assert opening.moving(env).canary_percent == 20
    assert opening.moving(env).gpus.gpus > 0
    assert opening.front(env).base_url == "http://llm-orchestrator:8000/v1"
    assert "own-key" not in repr(found) and "hosted-key" not in repr(found)
    for variable in env:
        with pytest.raises(CouldNotCheck, match=f"{variable} is not set"):
            _all_of({key: value for key, value in env.items() if key != variable})
    with pytest.raises(CouldNotCheck, match="cannot be used"):
        opening.models({**env, "LLM_ENDPOINTS": "{"})
    with pytest.raises(CouldNotCheck, match="canary_percent"):
        opening.moving({"CROSSOVER_LLM_MOVING": '{"canary_percent": 0}'})


def test_a_check_asks_those_that_are_there() -> None:
    world = LlmWorld()
    world.reach(Stage.COMPLETE)
    world.down("hosted")
    context = world.context()
    context.read()
    steps = world.steps(context).steps
    here = Transition(Stage.COMPLETE, Stage.COMPLETE, ())
    assert "items hold" in steps[path(Stage.MVP, Stage.SHADOW, COMPONENT)[0].steps[0]](here)
    assert all(check.outcome is Verdict.HOLDS for check in context.checks)

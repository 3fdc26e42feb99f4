"""What becomes of a transition where a side is dead, wrong, loading, busy, or refuses the key."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from adapters.llm import LLMRefused
from contracts.registry import PROTOCOL_VERSION, AdapterRecord
from contracts.stages import Stage
from cutover.plan import Step, Transition
from tests.unit.cutover.llm_world import LlmWorld


def test_going_back_asks_a_dead_new_side_nothing() -> None:
    world = LlmWorld()
    world.reach(Stage.SCALE)
    world.down("vllm")
    asked = len(world.sides["vllm"].requests)
    began = time.monotonic()
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.reached, outcome.message
    assert time.monotonic() - began < 5
    assert world.route().active == "hosted"
    assert len(world.sides["vllm"].requests) == asked
    assert world.migrate(Stage.MVP).reached


def test_a_dead_hosted_side_takes_no_traffic_back() -> None:
    world = LlmWorld()
    world.reach(Stage.SCALE)
    world.down("hosted")
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.verdict == "could not be checked" and world.route().active == "vllm"
    assert world.migrate(Stage.COMPLETE).reached  # which needs it no more


@pytest.mark.parametrize("side", ["hosted", "vllm"])
def test_a_side_that_does_not_answer_rightly_does_not_join(side: str) -> None:
    world = LlmWorld()
    world.reach(Stage.MVP)
    world.sides[side].reply = "buy " * 12
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.verdict == "does not hold" and "repeats itself" in outcome.message
    assert world.route().stage is Stage.MVP and world.route().sample is None


def test_a_model_that_says_it_loads_is_waited_for() -> None:
    world = LlmWorld()
    world.reach(Stage.MVP)

    def loads(transition: Transition) -> str:
        world.sides["vllm"].fault = LLMRefused("vllm", 503, b"Loading model", "application/json")
        threading.Timer(0.1, world.up, ["vllm"]).start()
        return ""

    world.pace = replace(world.pace, load=30.0)
    assert world.migrate(Stage.SHADOW, instead={Step.PREFLIGHT: loads}).reached


def test_a_model_that_never_comes_up_is_told_as_such() -> None:
    world = LlmWorld()
    world.reach(Stage.MVP)

    def dies(transition: Transition) -> str:
        world.down("vllm")
        return ""

    outcome = world.migrate(Stage.SHADOW, instead={Step.PREFLIGHT: dies})
    assert outcome.verdict == "could not be checked" and "vllm-model of vllm: it is down" in outcome.message


def test_a_refused_key_holds_up_who_needs_it_and_says_how_to_mend_it() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    world.sides["hosted"].fault = LLMRefused("hosted", 401, b"no", "application/json")
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold"
    assert "hosted: key does not hold" in outcome.message and "crossover:llm_service.api_key" in outcome.message


def test_orchestrators_of_another_protocol_hold_up_the_way_there_and_not_the_way_back() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW, Stage.SCALE)
    older = AdapterRecord("pod-0.orchestrator", "llm-orchestrator", 99, PROTOCOL_VERSION - 1, 0.0)
    world.registry.alter = lambda record: replace(record, protocol_version=older.protocol_version)
    assert world.migrate(Stage.SHADOW).reached
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "adapters: protocol" in outcome.message


@pytest.mark.parametrize(("origin", "goal"), [(Stage.SCALE, Stage.COMPLETE), (Stage.SHADOW, Stage.MVP)])
def test_a_side_is_kept_while_calls_are_under_way_there(origin: Stage, goal: Stage) -> None:
    world = LlmWorld()
    world.reach(origin)
    leaving = "hosted" if goal is Stage.COMPLETE else "vllm"
    world.front.in_flight = {leaving: 1}
    for _ in range(2):  # a run again must not take the first one's word for it
        outcome = world.migrate(goal)
        assert not outcome.reached and f"1 calls are under way at {leaving}" in outcome.message
    world.front.in_flight = {}
    assert world.migrate(goal).reached


def test_a_sample_that_a_join_left_is_ended_where_it_is_given_up() -> None:
    world = LlmWorld()
    world.reach(Stage.MVP)
    assert world.killed_at(Stage.SHADOW, Step.RECORD, after=False)
    assert world.route().sample == 5.0
    world.reach(Stage.MVP)
    assert world.route().sample is None

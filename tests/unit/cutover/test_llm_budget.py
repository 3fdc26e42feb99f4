"""A switch under watch: what crosses the budget goes back by itself, a canary as the whole."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from contracts.stages import Stage
from cutover.llm_service import Model
from cutover.plan import Step, Transition
from cutover.tables import SHIFTING
from tests.unit.cutover.llm_world import LlmWorld, ran
from validation.result import Check


def test_failures_beyond_the_budget_switch_back_within_ten_seconds() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)

    def breaks(transition: Transition) -> str:
        world.down("vllm")
        return ""

    began = time.monotonic()
    outcome = world.migrate(Stage.SCALE, instead={Step.ACKNOWLEDGE: breaks})
    assert time.monotonic() - began < 10
    assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW)
    assert "calls failed" in outcome.message and "budget.error_rate" in outcome.message
    route = world.route()
    assert (route.active, route.progress, route.history[-1].outcome) == ("hosted", None, "switched back")


def test_a_slow_first_token_switches_back() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    _callers_ask(world, 5)
    world.front.ttft = {"hosted": 100.0, "vllm": 400.0}
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold", "\n".join(world.lines)
    assert "takes 400 ms, 100 ms at the side that served before" in outcome.message
    assert world.route().active == "hosted"


def test_a_sample_that_shows_worse_answers_switches_back() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    world.worse_now = "1 of 8 right or in agreement"
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold"
    assert "vllm: sample: 1 of 8 right or in agreement" in outcome.message
    assert (world.route().active, world.route().stage) == ("hosted", Stage.SHADOW)
    assert world.sampled == [("hosted-model", "vllm-model", 8)]


def test_a_sample_is_asked_as_often_as_config_says_and_not_on_the_way_back() -> None:
    world = LlmWorld()
    world.set(budget=world.moving.budget.model_copy(update={"sample": 3}))
    world.reach(Stage.SCALE, Stage.SHADOW)
    assert [count for _, _, count in world.sampled] == [3]
    assert any("sample: as good" in line for line in world.lines)
    world.set(budget=world.moving.budget.model_copy(update={"sample": 0}))
    world.reach(Stage.SCALE)
    assert len(world.sampled) == 1


def test_a_sample_or_a_question_that_hangs_holds_up_no_watch() -> None:
    world, over = LlmWorld(), threading.Event()
    world.reach(Stage.SHADOW)
    world.pace = replace(world.pace, quiet=0.3)

    def hangs(old: Model, new: Model, count: int) -> Check:
        over.wait(20)
        return Check.unknown("sample", expected="-", why="it hung")

    world.sample = hangs  # type: ignore[method-assign]
    outcome = world.migrate(Stage.SCALE)
    assert outcome.reached, outcome.message
    assert any("its quality was not sampled in time" in line for line in world.lines)

    async def hang() -> None:
        await asyncio.to_thread(over.wait, 20)

    def falls_silent(transition: Transition) -> str:
        world.sides["vllm"].pause = hang
        return ""

    world.reach(Stage.SHADOW)
    world.pace = replace(world.pace, answer=60.0)
    began = time.monotonic()
    outcome = world.migrate(Stage.SCALE, instead={Step.ACKNOWLEDGE: falls_silent})
    assert outcome.verdict == "could not be checked" and "answers are known" in outcome.message
    assert time.monotonic() - began < 10
    over.set()


def _callers_ask(world: LlmWorld, count: int) -> None:
    async def ask() -> None:
        for _ in range(count):
            await world.front.complete({"messages": []})

    asyncio.run(ask())


def test_no_figures_are_no_pass() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    world.front.mute = True
    world.pace = replace(world.pace, quiet=0.2)
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "could not be checked"
    assert "0 answers are known, it takes 2; pod-1.orchestrator tell nothing of this epoch" in outcome.message
    assert world.route().active == "hosted"


def test_an_orchestrator_that_does_not_follow_takes_the_switch_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.fence._FOLLOW_SECONDS", 0.2)
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    world.front.deaf = True
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "pod-1.orchestrator" in outcome.message
    assert (world.route().active, world.route().stage) == ("hosted", Stage.SHADOW)
    world.front.deaf = False
    world.reach(Stage.SHADOW)
    assert world.route().progress is None


def test_going_back_stays_back_even_where_the_hosted_side_fails_then() -> None:
    world = LlmWorld()
    world.reach(Stage.SCALE)

    def breaks(transition: Transition) -> str:
        world.down("hosted")
        return ""

    outcome = world.migrate(Stage.SHADOW, instead={Step.ACKNOWLEDGE: breaks})
    assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW)
    route = world.route()
    assert (route.active, route.history[-1].outcome) == ("hosted", "failed")
    assert route.progress is not None and route.progress.step == Step.WATCH
    world.up("hosted")
    outcome = world.migrate(Stage.SHADOW)  # what was not seen to be well is watched again
    assert outcome.reached and ran(outcome) == ["acknowledge", "watch"]


def test_a_canary_grows_by_config_and_each_step_is_watched() -> None:
    world = LlmWorld()
    world.set(canary_percent=10)
    world.reach(Stage.SCALE)
    assert world.route().share == 10
    for percent, share in ((50, 50), (100, None)):
        epoch = world.route().epoch
        world.set(canary_percent=percent)
        outcome = world.migrate(Stage.SCALE)
        assert outcome.reached and ran(outcome) == [step.value for step in SHIFTING], outcome.message
        route = world.route()
        assert (route.share, route.epoch, route.progress) == (share, epoch + 1, None)


def test_another_sample_is_one_write_at_the_same_epoch() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    epoch = world.route().epoch
    world.set(sample_percent=0.0)
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.reached and ran(outcome) == ["shift"]
    assert (world.route().sample, world.route().epoch) == (None, epoch)


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_canary_that_fails_loses_all_its_traffic(cut_off: bool) -> None:
    world = LlmWorld()
    world.set(canary_percent=10)
    world.reach(Stage.SCALE)
    world.set(canary_percent=60)
    if cut_off:
        assert world.killed_at(Stage.SCALE, Step.WATCH, after=False)
    world.down("vllm")
    outcome = world.migrate(Stage.SCALE)
    assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW)
    assert (world.route().active, world.route().share) == ("hosted", None)


def test_back_from_complete_the_hosted_side_gets_its_share_again() -> None:
    world = LlmWorld()
    world.reach(Stage.COMPLETE)
    world.set(canary_percent=70)
    world.reach(Stage.SCALE)
    assert (world.route().active, world.route().share) == ("vllm", 70)

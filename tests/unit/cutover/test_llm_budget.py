"""A switch under watch: what crosses the budget goes back by itself, a canary as the whole."""

from __future__ import annotations

import asyncio
import time

import pytest

from contracts.stages import Stage
from cutover.plan import Step, Transition
from cutover.tables import SHIFTING
from tests.unit.cutover.llm_world import LlmWorld, ran


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


def _callers_ask(world: LlmWorld, count: int) -> None:
    async def ask() -> None:
        for _ in range(count):
            await world.front.complete({"messages": []})

    asyncio.run(ask())


def test_no_figures_are_no_pass() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    world.front.mute = True
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "could not be checked"
    assert "0 calls are known, it takes 2; pod-1.orchestrator tell nothing of this epoch" in outcome.message
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

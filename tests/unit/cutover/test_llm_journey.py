"""The language models' journey on models in memory: there and back, cut off anywhere, with either side dead."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.llm import LLMRefused
from contracts.registry import PROTOCOL_VERSION, AdapterRecord
from contracts.stages import STAGE_TABLE, Stage, serving_backend
from cutover.errors import StepFailed
from cutover.plan import Step, Transition
from cutover.previewing import Wishes, preview, steps_in
from cutover.run import Outcome
from cutover.tables import SHIFTING, TABLES
from tests.unit.cutover.llm_world import COMPONENT, LlmWorld
from tests.unit.cutover.world import QUICK

ROWS = TABLES[COMPONENT].rows
KILLS = [
    pytest.param(origin, goal, step, id=f"{origin.value}-{goal.value}-{step.value}")
    for (origin, goal), steps in ROWS.items()
    if origin is not None
    for step in steps
]


def _ran(outcome: Outcome) -> list[str]:
    return [record.step for record in outcome.records]


def test_there_and_back_and_the_whole_way() -> None:
    world = LlmWorld()
    for stage in (Stage.MVP, Stage.SCALE, Stage.SHADOW, Stage.SCALE, Stage.COMPLETE, Stage.SCALE, Stage.MVP):
        world.reach(stage)
        route = world.route()
        assert (route.stage, route.active) == (stage, serving_backend(COMPONENT, stage))
        assert route.progress is None and route.fence is None and route.share is None
        follows = STAGE_TABLE[stage].follows is not None
        assert route.sample == (5.0 if follows else None)
    # Each time they come to serve, our own models are judged before.
    assert world.judged == [("hosted-model", "vllm-model")] * 2


@pytest.mark.parametrize("wanted", Stage)
@pytest.mark.parametrize("origin", Stage)
def test_the_steps_that_are_listed_are_those_that_run(origin: Stage, wanted: Stage) -> None:
    world = LlmWorld()
    world.reach(origin)
    listed = _listed(world, wanted)
    outcome = world.migrate(wanted)
    assert outcome.reached and _ran(outcome) == listed


def _listed(world: LlmWorld, wanted: Stage) -> list[str]:
    lines = preview(world.route(), COMPONENT, wanted, Wishes(moving=world.moving))
    return [step.value for step in steps_in(lines)]


def test_a_canary_and_a_sample_that_config_asks_for_are_listed_too() -> None:
    world = LlmWorld()
    world.reach(Stage.SCALE)
    for changes, steps in (({"canary_percent": 40}, list(SHIFTING)), ({"sample_percent": 1.0}, [Step.SHIFT])):
        world.set(**changes)
        listed = _listed(world, Stage.SCALE)
        assert listed == [step.value for step in steps]
        assert _ran(world.migrate(Stage.SCALE)) == listed
    world.set(canary_percent=60)
    assert Step.SHIFT.value not in _listed(world, Stage.SHADOW)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("origin", "goal", "step"), KILLS)
@pytest.mark.parametrize("then", ["origin", "goal"])
def test_killed_at_a_step_the_next_run_converges(
    origin: Stage, goal: Stage, step: Step, after: bool, then: str
) -> None:
    world = LlmWorld()
    world.reach(Stage.MVP, origin)
    assert world.killed_at(goal, step, after=after)
    wanted = origin if then == "origin" else goal
    world.reach(wanted)
    route = world.route()
    assert (route.stage, route.progress) == (wanted, None)
    assert (route.sample is None) is (STAGE_TABLE[wanted].follows is None)


def test_a_run_at_the_wanted_stage_does_nothing() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    before = world.route()
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.reached and outcome.records == [] and world.route() == before


# -- a dead side


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


# -- the watch


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
    import asyncio

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
    assert outcome.reached and _ran(outcome) == ["acknowledge", "watch"]


# -- the canary


def test_a_canary_grows_by_config_and_each_step_is_watched() -> None:
    world = LlmWorld()
    world.set(canary_percent=10)
    world.reach(Stage.SCALE)
    assert world.route().share == 10
    for percent, share in ((50, 50), (100, None)):
        epoch = world.route().epoch
        world.set(canary_percent=percent)
        outcome = world.migrate(Stage.SCALE)
        assert outcome.reached and _ran(outcome) == [step.value for step in SHIFTING], outcome.message
        route = world.route()
        assert (route.share, route.epoch, route.progress) == (share, epoch + 1, None)


def test_another_sample_is_one_write_at_the_same_epoch() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    epoch = world.route().epoch
    world.set(sample_percent=0.0)
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.reached and _ran(outcome) == ["shift"]
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


# -- leaving


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


# -- what config allows, what is known of adapters


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


# -- any journey

_ACTS = st.one_of(
    st.tuples(st.just("migrate"), st.sampled_from(Stage)),
    st.tuples(
        st.just("kill"), st.sampled_from(Stage), st.sampled_from(sorted(set(sum(ROWS.values(), ())))), st.booleans()
    ),
    st.tuples(st.just("canary"), st.sampled_from([10, 50, 100])),
    st.tuples(st.just("down"), st.sampled_from(["hosted", "vllm"])),
    st.tuples(st.just("up"), st.sampled_from(["hosted", "vllm"])),
)


@settings(max_examples=25, deadline=None)
@given(acts=st.lists(_ACTS, max_size=6), wanted=st.sampled_from(Stage))
def test_whatever_happened_a_healthy_world_comes_to_the_wanted_stage(
    acts: list[tuple[object, ...]], wanted: Stage
) -> None:
    world = LlmWorld()
    hasty = replace(QUICK, watch=0.0, answer=0.0)
    for act in acts:
        match act:
            case ("migrate", Stage() as stage):
                epoch = route.epoch if (route := world.store.read(COMPONENT).route) else 0
                outcome = world.migrate(stage, hasty)
                after = world.store.read(COMPONENT).route
                assert outcome.reached or outcome.message
                assert after is None or after.epoch >= epoch
            case ("kill", Stage() as stage, Step() as step, bool() as late):
                world.killed_at(stage, step, after=late)
            case ("canary", int() as percent):
                world.set(canary_percent=percent)
            case ("down", str() as side):
                world.down(side)
            case ("up", str() as side):
                world.up(side)
        _is_sound(world)
    for side in world.sides:
        world.up(side)
    world.reach(wanted)
    _is_sound(world)
    assert (world.route().stage, world.route().progress) == (wanted, None)
    assert world.route().share == (world.moving.share if wanted is Stage.SCALE else None)


def _is_sound(world: LlmWorld) -> None:
    """Who serves is who the stage says: there is no moment at which a route names a side that is not deployed."""
    route = world.store.read(COMPONENT).route
    if route is not None:
        assert route.active == serving_backend(COMPONENT, route.stage)
        assert route.share is None or route.stage is Stage.SCALE


def test_a_failed_step_leaves_the_route_as_it_was() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)

    def fails(transition: Transition) -> str:
        raise StepFailed("made to fail")

    epoch = world.route().epoch
    for step in (Step.PREFLIGHT, Step.COMPARE, Step.OPEN):
        outcome = world.migrate(Stage.SCALE, instead={step: fails})
        assert outcome.verdict == "does not hold"
        assert (world.route().epoch, world.route().active) == (epoch, "hosted")

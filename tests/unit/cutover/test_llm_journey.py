"""The language models' journey on models in memory: there and back, and cut off anywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.stages import STAGE_TABLE, Stage, serving_backend
from cutover.errors import StepFailed
from cutover.plan import Step, Transition
from cutover.previewing import Wishes, preview, steps_in
from cutover.tables import SHIFTING, TABLES
from tests.unit.cutover.llm_world import COMPONENT, LlmWorld, ran
from tests.unit.cutover.world import QUICK

ROWS = TABLES[COMPONENT].rows
KILLS = [
    pytest.param(origin, goal, step, id=f"{origin.value}-{goal.value}-{step.value}")
    for (origin, goal), steps in ROWS.items()
    if origin is not None
    for step in steps
]


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
    assert outcome.reached and ran(outcome) == listed


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
        assert ran(world.migrate(Stage.SCALE)) == listed
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

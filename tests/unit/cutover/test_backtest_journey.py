"""The journey of backtests on a service in memory: there and back, what stops it, and cut off anywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.backtests import BacktestAsked
from contracts.stages import STAGE_TABLE, Stage, other_backend, serving_backend
from cutover.plan import Step
from cutover.previewing import Wishes, preview, steps_in
from cutover.run import Outcome
from cutover.tables import TABLES
from tests.unit.cutover.backtest_world import COMPONENT, ENGINES, BacktestWorld
from tests.unit.cutover.world import QUICK

ROWS = TABLES[COMPONENT].rows
KILLS = [
    pytest.param(origin, goal, step, id=f"{origin.value}-{goal.value}-{step.value}")
    for (origin, goal), steps in ROWS.items()
    if origin is not None
    for step in steps
]


def ran(outcome: Outcome) -> list[str]:
    return [record.step for record in outcome.records]


def test_there_and_back_and_the_whole_way() -> None:
    world = BacktestWorld()
    for stage in (Stage.MVP, Stage.SCALE, Stage.SHADOW, Stage.SCALE, Stage.COMPLETE, Stage.SCALE, Stage.MVP):
        world.reach(stage)
        route = world.route()
        assert (route.stage, route.active) == (stage, serving_backend(COMPONENT, stage))
        assert (route.progress, route.fence) == (None, None)
        assert route.sample == (100.0 if STAGE_TABLE[stage].follows is not None else None)
        world.service.follow()
        assert world.service.engines == {
            serving_backend(COMPONENT, stage),
            *(ENGINES if STAGE_TABLE[stage].follows is not None else ()),
        }


@pytest.mark.parametrize("wanted", Stage)
@pytest.mark.parametrize("origin", Stage)
def test_the_steps_that_are_listed_are_those_that_run(origin: Stage, wanted: Stage) -> None:
    world = BacktestWorld()
    world.reach(origin)
    lines = preview(world.route(), COMPONENT, wanted, Wishes(backtests=world.moving))
    outcome = world.migrate(wanted)
    assert outcome.reached and ran(outcome) == [step.value for step in steps_in(lines)]


def test_a_sample_that_config_asks_for_is_listed_and_written() -> None:
    world = BacktestWorld()
    world.reach(Stage.SCALE)
    wishes = Wishes.of({"stage": "scale", "sample_percent": 5.0})
    world.moving = world.moving.model_copy(update={"sample_percent": 5.0})
    assert steps_in(preview(world.route(), COMPONENT, Stage.SCALE, wishes)) == [Step.SHIFT]
    assert ran(world.migrate(Stage.SCALE)) == ["shift"]
    assert world.route().sample == 5.0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("origin", "goal", "step"), KILLS)
@pytest.mark.parametrize("then", ["origin", "goal"])
def test_killed_at_a_step_the_next_run_converges(
    origin: Stage, goal: Stage, step: Step, after: bool, then: str
) -> None:
    world = BacktestWorld()
    world.reach(Stage.MVP, origin)
    assert world.killed_at(goal, step, after=after)
    wanted = origin if then == "origin" else goal
    world.reach(wanted)
    route = world.route()
    assert (route.stage, route.progress) == (wanted, None)
    assert (route.sample is None) is (STAGE_TABLE[wanted].follows is None)


def test_one_cent_that_differs_stops_the_switch_and_is_named() -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)
    world.service.wrong = "nautilus"
    outcome = world.migrate(Stage.SCALE)
    assert not outcome.reached and (world.route().stage, world.route().active) == (Stage.SHADOW, "vectorbt")
    assert "sma_cross on SP500" in outcome.message and "price 10.0 and 10.01" in outcome.message, outcome.message
    world.service.wrong = ""
    world = BacktestWorld()
    world.reach(Stage.SHADOW, Stage.SCALE)


def test_the_gate_does_the_users_own_newest_runs_too() -> None:
    world = BacktestWorld()
    world.reach(Stage.MVP)
    mine = [BacktestAsked(strategy="sma_cross", symbol="SP500", initial_cash=cash) for cash in (1e3, 2e3, 3e3)]
    for asked in mine:
        world.service.submit(asked)
    world.reach(Stage.SHADOW, Stage.SCALE)
    both = {engine: [asked for by, asked in world.service.done if by == engine] for engine in ENGINES}
    assert [one in [a.model_copy(update={"engine": None}) for a in both["nautilus"]] for one in mine] == [
        False, True, True
    ]  # fmt: skip


@pytest.mark.parametrize("old", [False, True], ids=["fresh", "expired"])
def test_a_switch_that_was_cut_off_goes_on_by_a_verdict_that_is_fresh(old: bool) -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)
    assert world.killed_at(Stage.SCALE, Step.OPEN, after=False)
    world.verdict_limit = timedelta() if old else timedelta(hours=24)
    world.lines.clear()
    world.reach(Stage.SCALE)
    spared = any("by a run that was cut off" in line for line in world.lines)
    assert spared is not old, world.lines


def test_a_verdict_on_other_runs_spares_none() -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)
    assert world.killed_at(Stage.SCALE, Step.OPEN, after=False)
    world.service.submit(BacktestAsked(strategy="sma_cross", symbol="SP500", initial_cash=4e3))
    world.reach(Stage.SCALE)
    assert not any("by a run that was cut off" in line for line in world.lines)


def test_an_engine_that_fails_what_the_other_does_stops_the_switch() -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)
    world.service.broken = "nautilus"
    outcome = world.migrate(Stage.SCALE)
    assert not outcome.reached and "vectorbt did it, nautilus failed" in outcome.message
    assert world.route().active == "vectorbt"


def test_an_engine_that_joins_must_do_a_run_first() -> None:
    world = BacktestWorld()
    world.reach(Stage.MVP)
    world.service.broken = "nautilus"
    outcome = world.migrate(Stage.SHADOW)
    assert not outcome.reached and "it is broken" in outcome.message
    assert world.route().stage is Stage.MVP
    world.reach(Stage.MVP)  # and the sample that it began is ended
    assert world.route().sample is None


def test_a_run_that_fails_after_the_switch_takes_it_back() -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)

    def breaks(_: object) -> str:
        world.service.broken = "nautilus"
        return "acknowledged"

    outcome = world.migrate(Stage.SCALE, instead={Step.ACKNOWLEDGE: breaks})
    assert not outcome.reached and "it is broken" in outcome.message
    assert (world.route().stage, world.route().active) == (Stage.SHADOW, "vectorbt")


def test_a_service_that_does_not_follow_stops_the_switch() -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)
    outcome = world.migrate(Stage.SCALE, instead={Step.COMPARE: lambda _: _deafened(world)})
    assert not outcome.reached and "do not follow epoch" in outcome.message


def _deafened(world: BacktestWorld) -> str:
    world.service.deaf = True
    return "compared"


@pytest.mark.parametrize(("origin", "goal"), [(Stage.SCALE, Stage.COMPLETE), (Stage.SHADOW, Stage.MVP)])
def test_an_engine_is_retired_when_its_runs_have_ended(origin: Stage, goal: Stage) -> None:
    world = BacktestWorld()
    world.reach(origin)
    leaving = other_backend(COMPONENT, world.route().active)
    world.service.under_way[leaving] = 3
    outcome = world.migrate(goal)
    assert not outcome.reached and f"3 runs are under way at {leaving}" in outcome.message
    world.service.under_way[leaving] = 0
    world.reach(goal)


def test_a_service_that_is_away_changes_nothing() -> None:
    world = BacktestWorld()
    world.reach(Stage.SHADOW)
    before, world.service.away = world.route(), True
    outcome = world.migrate(Stage.SCALE, replace(QUICK, answer=0.0))
    assert outcome.verdict == "could not be checked"
    now = world.route()
    assert (now.stage, now.active, now.epoch) == (before.stage, before.active, before.epoch)


_ACTS = st.one_of(
    st.tuples(st.just("migrate"), st.sampled_from(Stage)),
    st.tuples(
        st.just("kill"), st.sampled_from(Stage), st.sampled_from(sorted(set(sum(ROWS.values(), ())))), st.booleans()
    ),
    st.tuples(st.just("break"), st.sampled_from(ENGINES)),
    st.tuples(st.just("mend"), st.just("")),
)


@settings(max_examples=25, deadline=None)
@given(acts=st.lists(_ACTS, max_size=6), wanted=st.sampled_from(Stage))
def test_whatever_happened_a_healthy_world_comes_to_the_wanted_stage(
    acts: list[tuple[object, ...]], wanted: Stage
) -> None:
    world = BacktestWorld()
    for act in acts:
        match act:
            case ("migrate", Stage() as stage):
                outcome = world.migrate(stage, replace(QUICK, watch=0.0, answer=0.0))
                assert outcome.reached or outcome.message
            case ("kill", Stage() as stage, Step() as step, bool() as late):
                world.killed_at(stage, step, after=late)
            case (_, str() as engine):
                world.service.broken = engine
        route = world.store.read(COMPONENT).route
        assert route is None or route.active == serving_backend(COMPONENT, route.stage)
    world.service.broken = ""
    world.reach(wanted)
    assert (world.route().stage, world.route().progress) == (wanted, None)

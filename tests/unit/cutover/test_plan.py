"""The plan is a table; these tests read all of it."""

from __future__ import annotations

import itertools
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.routes import Fence, Progress, Route, Segment, Stranded
from contracts.stages import BACKENDS, STAGE_TABLE, Component, Stage, serving_backend
from cutover.plan import WATCH_FAILED, ImpossiblePlan, Plan, Step, Transition, path, plan
from cutover.tables import ADDITION, MEANINGS, SHIFTING, TABLE_ADDITION, TABLES, TRANSITIONS

stages = st.sampled_from(Stage)
movable = st.sampled_from(sorted(TABLES))
FLEEING = sorted(component for component, table in TABLES.items() if table.emergencies)
"""Those whose backend that serves may hold what nobody else has."""


def _route(
    stage: Stage, *, fence: bool = False, watching: bool = False, component: Component = Component.EVENT_BUS
) -> Route:
    active = serving_backend(component, stage)
    return Route(
        component=component,
        stage=stage,
        active=active,
        epoch=3,
        fence=Fence(epoch=4, since="2026-01-01T00:00:00Z", holder="run-1") if fence else None,
        chains={"t": (Segment(backend=active, epoch=3, start={"0": "0"}),)},
        progress=Progress(from_stage=None, to_stage=stage, step=Step.WATCH, since="2026-01-01T00:00:00Z")
        if watching
        else None,
    )


@given(component=movable, origin=stages | st.none(), goal=stages)
def test_every_stage_is_reached_from_every_other_neighbour_by_neighbour(
    component: Component, origin: Stage | None, goal: Stage
) -> None:
    found = path(origin, goal, component)
    at = origin
    for transition in found:
        assert transition.origin == at
        assert transition.steps == TABLES[component].rows[transition.origin, transition.goal]
        at = transition.goal
    assert at == goal
    assert (found == ()) == (origin == goal)


@given(component=movable, stage=stages, wanted=stages)
def test_the_plan_is_a_function_of_record_and_wish(component: Component, stage: Stage, wanted: Stage) -> None:
    route = _route(stage, component=component)
    assert plan(route, wanted) == Plan(False, None, path(stage, wanted, component))
    assert plan(route, wanted).empty == (stage is wanted)


@given(component=movable, stage=stages, wanted=stages)
def test_what_was_cut_off_is_never_passed_over(component: Component, stage: Stage, wanted: Stage) -> None:
    fenced = _route(stage, component=component, fence=True)
    watched = _route(stage, component=component, watching=True)
    assert plan(fenced, wanted).undo
    assert not plan(fenced, wanted).empty
    assert plan(watched, wanted).watched
    assert not plan(watched, wanted).empty


def test_a_first_database_begins_at_the_hosted_side_whatever_is_wanted() -> None:
    first = path(None, Stage.SCALE, Component.DATABASE)
    assert [(row.origin, row.goal) for row in first] == [
        (None, Stage.MVP),
        (Stage.MVP, Stage.SHADOW),
        (Stage.SHADOW, Stage.SCALE),
    ]


def test_every_component_can_move() -> None:
    assert set(TABLES) == set(Component)


@pytest.mark.parametrize("component", FLEEING)
def test_what_holds_data_has_an_emergency_and_what_comes_after(component: Component) -> None:
    table = TABLES[component]
    assert set(table.emergencies) == {(Stage.SCALE, Stage.SHADOW)} and set(table.settlements) == {
        (Stage.SHADOW, Stage.SHADOW)
    }
    found = plan(_route(Stage.SCALE, component=component), Stage.SHADOW, emergency=True)
    assert found == Plan(False, None, (_flight(component),))
    stranded = _stranding(_route(Stage.SHADOW, component=component))
    assert plan(stranded, Stage.SHADOW).transitions == (_settlement(component),)
    assert plan(stranded, Stage.SHADOW, emergency=True).empty


def test_what_only_a_dead_database_has_is_told_before_it_is_filled_anew() -> None:
    steps = _settlement(Component.DATABASE).steps
    assert steps[0] is Step.LIST
    assert steps.index(Step.LIST) < steps.index(Step.PUBLISH) < steps.index(Step.COPY)


def test_no_commit_waits_for_a_stream_that_ends_and_none_for_a_client_is_not_waited_for() -> None:
    rows = TABLES[Component.DATABASE].rows
    assert rows[Stage.SHADOW, Stage.SCALE].index(Step.TIE) < rows[Stage.SHADOW, Stage.SCALE].index(Step.OPEN)
    assert rows[Stage.SCALE, Stage.SHADOW].index(Step.OPEN) < rows[Stage.SCALE, Stage.SHADOW].index(Step.UNTIE)
    assert rows[Stage.SCALE, Stage.COMPLETE].index(Step.UNTIE) < rows[Stage.SCALE, Stage.COMPLETE].index(Step.RETIRE)


def test_a_transition_switches_where_the_table_of_stages_says_that_who_serves_changes() -> None:
    for (origin, goal), steps in itertools.chain(*(table.rows.items() for table in TABLES.values())):
        if origin is not None:
            assert (Step.OPEN in steps) == (STAGE_TABLE[origin].serves is not STAGE_TABLE[goal].serves)


def test_a_switch_checks_before_it_opens_and_watches_after() -> None:
    order = [
        Step.PROVE_WAY_BACK,
        Step.COMPARE,
        Step.FENCE,
        Step.SEAL,
        Step.DRAIN,
        Step.SEQUENCES,
        Step.CHECK,
        Step.OPEN,
    ]
    for steps in itertools.chain(*(TABLES[component].rows.values() for component in FLEEING)):
        if Step.OPEN in steps:
            assert {*order} - {Step.SEAL, Step.SEQUENCES} <= {*steps}
            places = [steps.index(step) for step in order if step in steps]
            assert places == sorted(places)
            assert steps[-1] is Step.WATCH


def test_models_are_judged_before_they_serve_whatever_the_journey_and_watched_after() -> None:
    rows = TABLES[Component.LLM_SERVICE].rows
    there = rows[Stage.SHADOW, Stage.SCALE]
    assert there.index(Step.COMPARE) < there.index(Step.OPEN)
    for steps in (there, rows[Stage.SCALE, Stage.SHADOW]):
        assert steps[steps.index(Step.OPEN) :] == (Step.OPEN, Step.ACKNOWLEDGE, Step.WATCH)
    first = path(None, Stage.SCALE, Component.LLM_SERVICE)
    assert [row.goal for row in first] == [Stage.MVP, Stage.SHADOW, Stage.SCALE]
    assert path(None, Stage.COMPLETE, Component.LLM_SERVICE)[0].goal is Stage.COMPLETE


def test_nothing_is_retired_before_every_group_has_finished_it() -> None:
    for (origin, goal), steps in TRANSITIONS.items():
        if origin is not None and STAGE_TABLE[goal].deployed < STAGE_TABLE[origin].deployed:
            assert steps.index(Step.FINISH_GROUPS) < steps.index(Step.RETIRE)


def _stranding(route: Route) -> Route:
    tail = Stranded(backend="kafka", epoch=2, copied={"0": "7"})
    return route.model_copy(update={"stranded": {"t": tail}})


def _flight(component: Component) -> Transition:
    return Transition(Stage.SCALE, Stage.SHADOW, TABLES[component].emergencies[Stage.SCALE, Stage.SHADOW])


def _settlement(component: Component) -> Transition:
    return Transition(Stage.SHADOW, Stage.SHADOW, TABLES[component].settlements[Stage.SHADOW, Stage.SHADOW])


FLIGHT, SETTLEMENT = _flight(Component.EVENT_BUS), _settlement(Component.EVENT_BUS)


def test_language_models_need_no_emergency_for_going_back_asks_the_dead_side_nothing() -> None:
    row = TABLES[Component.LLM_SERVICE].rows[Stage.SCALE, Stage.SHADOW]
    assert not {Step.COMPARE, Step.WARM_UP, Step.DRAIN, Step.PROVE_WAY_BACK} & set(row)
    with pytest.raises(ImpossiblePlan, match="has no emergency"):
        plan(_route(Stage.SCALE, component=Component.LLM_SERVICE), Stage.SHADOW, emergency=True)


@pytest.mark.parametrize("component", FLEEING)
@pytest.mark.parametrize("cut_off", ["", "fence", "watching"])
def test_an_emergency_asks_the_dead_backend_nothing_whatever_was_cut_off(cut_off: str, component: Component) -> None:
    route = _route(Stage.SCALE, fence=cut_off == "fence", watching=cut_off == "watching", component=component)
    found = plan(route, Stage.SHADOW, emergency=True)
    flight = _flight(component)
    assert found == Plan(False, None, (flight,))
    asked = {Step.PREFLIGHT, Step.PROVE_WAY_BACK, Step.COMPARE, Step.SEAL, Step.DRAIN, Step.CHECK, Step.WATCH}
    assert not {*asked, Step.TIE, Step.UNTIE} & set(flight.steps)


def test_traffic_moves_first_and_nothing_is_retired_before_it_was_swept() -> None:
    found = plan(_route(Stage.SCALE), Stage.MVP, emergency=True)
    assert found.transitions == (FLIGHT, SETTLEMENT, *path(Stage.SHADOW, Stage.MVP))


@pytest.mark.parametrize("wanted", Stage)
def test_what_is_stranded_is_swept_before_anything_else(wanted: Stage) -> None:
    found = plan(_stranding(_route(Stage.SHADOW)), wanted)
    assert found.transitions == (SETTLEMENT, *path(Stage.SHADOW, wanted))
    assert SETTLEMENT.steps[0] is Step.SWEEP


def test_once_traffic_fled_an_emergency_has_nothing_more_to_do() -> None:
    assert plan(_stranding(_route(Stage.SHADOW)), Stage.SHADOW, emergency=True).empty


@pytest.mark.parametrize(("stage", "wanted"), [(Stage.COMPLETE, Stage.SHADOW), (Stage.SCALE, Stage.COMPLETE)])
def test_an_emergency_that_has_nowhere_to_flee_to_is_refused(stage: Stage, wanted: Stage) -> None:
    with pytest.raises(ImpossiblePlan):
        plan(_route(stage), wanted, emergency=True)


def test_what_is_not_in_the_table_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(cast(dict[object, object], TRANSITIONS), (Stage.MVP, Stage.SHADOW))
    with pytest.raises(ImpossiblePlan, match="mvp to shadow"):
        path(Stage.MVP, Stage.SCALE)


def test_every_step_says_what_it_means_and_every_component_has_two_backends() -> None:
    assert set(MEANINGS) == set(Step)
    rows = [rows for table in TABLES.values() for rows in (table.rows, table.emergencies, table.settlements)]
    done = itertools.chain.from_iterable(itertools.chain(*found.values()) for found in rows)
    back = itertools.chain.from_iterable(table.back for table in TABLES.values())
    assert {*done, *back, *ADDITION, *TABLE_ADDITION, *SHIFTING} == set(Step)
    assert all(len(set(sides.values())) == 2 for sides in BACKENDS.values())


@given(component=movable, stage=st.sampled_from([Stage.SHADOW, Stage.SCALE]), wanted=stages)
def test_a_switch_that_failed_its_post_checks_is_watched_again_unless_another_stage_is_wanted(
    component: Component, stage: Stage, wanted: Stage
) -> None:
    left = Progress(from_stage=None, to_stage=stage, step=WATCH_FAILED, since="2026-01-01T00:00:00Z")
    route = _route(stage, component=component).model_copy(update={"progress": left})
    made = plan(route, wanted)
    assert (made.watched is not None) is (wanted is stage) and made.empty is False
    assert made.transitions == path(stage, wanted, component)

"""The list of `crossover migrate event_bus --preview` is what then runs. The database's: test_database_journey.py."""

from __future__ import annotations

import pytest

from contracts.names import TOPICS, all_topics
from contracts.routes import Route
from contracts.stages import Component, Stage, serving_backend
from cutover.context import StepFailed
from cutover.database.due import due
from cutover.plan import Step, StepMethod, Transition
from cutover.previewing import Wishes, preview, steps_in
from cutover.run import Runner
from tests.unit.cutover.world import TOPIC, World

BUS = Component.EVENT_BUS


class Killed(BaseException):
    """Stands for SIGKILL."""


def as_previewed(world: World, goal: Stage) -> list[str]:
    """Run it; the list, which was right."""
    lines = preview(world.store.read(BUS).route, BUS, goal, Wishes(world.topics))
    outcome = world.migrate(goal)
    assert outcome.reached, outcome.message
    assert [record.step for record in outcome.records] == [step.value for step in steps_in(lines)]
    return lines


def kill(world: World, goal: Stage, step: Step) -> None:
    context = world.context()
    steps = world.steps(context)

    def die(_: Transition) -> str:
        raise Killed

    killing: dict[Step, StepMethod] = {step: die}
    steps.steps.update(killing)
    with pytest.raises(Killed):
        Runner(context, steps, goal).run()
    steps.close()


def test_there_back_for_good_and_with_a_topic_more() -> None:
    with World() as world:
        assert as_previewed(world, Stage.MVP)[0] == "nothing -> mvp"
        as_previewed(world, Stage.SCALE)
        world.configure((TOPIC, "orders"))
        assert steps_in(as_previewed(world, Stage.SHADOW))[0] is Step.ADD_TOPICS
        as_previewed(world, Stage.MVP)
        as_previewed(world, Stage.COMPLETE)
        assert as_previewed(world, Stage.COMPLETE) == ["event_bus is at complete: nothing to do"]


@pytest.mark.parametrize("step", [Step.COMPARE, Step.FENCE, Step.DRAIN, Step.OPEN, Step.WATCH])
def test_what_is_listed_for_a_switch_that_was_cut_off_is_what_ends_it(step: Step) -> None:
    with World() as world:
        world.migrate(Stage.SHADOW)
        world.publish(8)
        kill(world, Stage.SCALE, step)
        lines = as_previewed(world, Stage.SCALE)
        assert (lines[0].startswith("undo")) is (step in {Step.DRAIN, Step.OPEN})
        assert (steps_in(lines) == [Step.WATCH]) is (step is Step.WATCH)


def test_config_that_does_not_fit_is_told_instead() -> None:
    with World() as world:
        world.migrate(Stage.MVP)
        with pytest.raises(StepFailed, match="no longer names"):
            preview(world.route(), BUS, Stage.SCALE, Wishes(all_topics(("other",))))


def test_what_config_asks_for_beside_a_stage_is_read_from_its_entry() -> None:
    assert Wishes.of({}) == Wishes(all_topics(TOPICS), tied=False)
    assert Wishes.of({"topics": ["a"], "rollback_loss": "none"}) == Wishes(all_topics(("a",)), tied=True)
    asked = Wishes.of({"canary_percent": 20, "sample_percent": 0, "stage": "scale"}).moving
    assert (asked.share, asked.sample) == (20, None)
    with pytest.raises(StepFailed, match=r"crossover:llm_service cannot be used: canary_percent: .* greater than"):
        Wishes.of({"canary_percent": 0})


@pytest.mark.parametrize(
    ("stage", "since", "tied", "wanted", "steps"),
    [
        (Stage.SCALE, None, True, Stage.SCALE, (Step.TIE,)),
        (Stage.SCALE, None, True, Stage.SHADOW, ()),
        (Stage.SCALE, "noon", False, Stage.SHADOW, (Step.UNTIE,)),
        (Stage.SCALE, "noon", True, Stage.SCALE, ()),
        (Stage.SHADOW, "noon", True, Stage.SHADOW, (Step.UNTIE,)),
        (Stage.SHADOW, "noon", True, Stage.SCALE, ()),
    ],
)
def test_a_databases_commits_begin_or_end_to_wait_as_config_says(
    stage: Stage, since: str | None, tied: bool, wanted: Stage, steps: tuple[Step, ...]
) -> None:
    database = Component.DATABASE
    at = Route(component=database, stage=stage, active=serving_backend(database, stage), epoch=1, tied_since=since)
    assert due(at, wanted, tied=tied) == steps
    assert tuple(steps_in(preview(at, database, wanted, Wishes(tied=tied))))[: len(steps)] == steps

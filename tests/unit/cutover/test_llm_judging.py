"""What the quality gate finds decides the switch of the language models, is kept, and spares a run that was cut off."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.llm_moving import Quality
from contracts.stages import Stage
from cutover.plan import Step
from cutover.run import validate
from tests.unit.cutover.llm_world import LlmWorld
from validation.result import Verdict
from validation.verdicts import KeptVerdict


def test_worse_models_never_serve() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    epoch, world.worse = world.route().epoch, "4 of 200 fewer than the margin lets pass"
    outcome = world.migrate(Stage.SCALE)
    assert (outcome.verdict, outcome.stage) == ("does not hold", Stage.SHADOW)
    assert "4 of 200" in outcome.message and world.route().epoch == epoch
    compared = next(record for record in outcome.records if record.step == "compare")
    assert [check.name for check in compared.checks] == ["accuracy"]
    assert "    accuracy: 0.5" in world.lines


def test_a_check_judges_both_sides_and_changes_nothing_but_the_verdict() -> None:
    world = LlmWorld()
    world.reach(Stage.SCALE)
    before, world.judged = world.route(), []
    context = world.context()
    outcome = validate(context, world.steps(context))
    assert outcome.reached and [record.step for record in outcome.records] == ["preflight", "compare"]
    assert world.judged == [("hosted-model", "vllm-model")]
    after = world.route()
    assert after == before.model_copy(update={"verdict": after.verdict})
    kept = KeptVerdict.read(after.verdict)
    assert kept is not None and (kept.outcome, kept.ahead_of) == (Verdict.HOLDS, "")


def test_a_run_that_goes_on_with_a_switch_is_spared_the_gate() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    assert world.killed_at(Stage.SCALE, Step.OPEN, after=False)
    world.reach(Stage.SCALE)
    assert len(world.judged) == 1
    assert any("by a run that was cut off: 1 items hold of vllm-model" in line for line in world.lines)
    world.reach(Stage.SHADOW, Stage.SCALE)  # another switch has a judgement of its own
    assert len(world.judged) == 2


@pytest.mark.parametrize(
    "changes", [{"own": "of another model"}, {"quality": Quality(margin=0.01)}, {"prompts": __file__}]
)
def test_what_was_judged_is_judged_anew_where_it_is_another(changes: dict[str, object]) -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    assert world.killed_at(Stage.SCALE, Step.OPEN, after=False)
    world.set(**changes)
    world.reach(Stage.SCALE)
    assert len(world.judged) == 2


def test_a_judgement_that_expired_is_made_anew() -> None:
    world = LlmWorld()
    world.reach(Stage.SHADOW)
    assert world.killed_at(Stage.SCALE, Step.OPEN, after=False)
    world.verdict_limit = timedelta()
    world.reach(Stage.SCALE)
    assert len(world.judged) == 2

"""The database moved there and back on real servers while a bank transfers through the pooler, and killed at each step:
no transfer fails, none is lost, and what was cut off is finished by the next run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.postgres.driver import connect
from adapters.postgres.masks import Masks
from contracts.stages import Component, Stage
from cutover.context import StepFailed
from cutover.plan import Step, Transition
from cutover.previewing import Wishes, preview, steps_in
from cutover.reporting import as_json, summary
from cutover.tables import TABLES
from tests.contract.database_world import Bank, DatabaseWorld, before
from tests.contract.pooler.bench import Killed, die
from validation.result import Verdict
from validation.verdicts import KeptVerdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.usefixtures("quick")]
ROWS = TABLES[Component.DATABASE].rows


def test_there_and_back_and_there_for_good_while_a_bank_transfers(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    for stage, serving in (
        (Stage.MVP, "hosted"),
        (Stage.SCALE, "selfhosted"),
        (Stage.SHADOW, "hosted"),
        (Stage.MVP, "hosted"),
        (Stage.SCALE, "selfhosted"),
        (Stage.COMPLETE, "selfhosted"),
    ):
        world.reach(stage)
        bank.go_on()
        assert (world.route.stage, world.route.active, world.serves()) == (stage, serving, serving)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()
    print(f"longest stall {report.figures['stall_ms_max']:.0f} ms")


@pytest.mark.parametrize(
    ("origin", "goal"),
    [(Stage.MVP, Stage.SHADOW), (Stage.SHADOW, Stage.SCALE), (Stage.SCALE, Stage.SHADOW), (Stage.SHADOW, Stage.MVP)],
)
def test_a_run_that_is_killed_before_any_step_is_finished_by_the_next(
    world: DatabaseWorld, tmp_path: Path, origin: Stage, goal: Stage
) -> None:
    bank = Bank(world, tmp_path)
    world.reach(origin)
    for step in ROWS[origin, goal]:
        with pytest.raises(Killed):
            world.migrate(goal, before(step, die))
        world.reach(goal)
        bank.go_on(5)
        world.reach(origin)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_a_run_that_is_killed_after_its_comparison_goes_on_by_it_only_while_that_is_fresh(
    world: DatabaseWorld, tmp_path: Path
) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)

    def killed() -> None:
        with pytest.raises(Killed):
            world.migrate(Stage.SCALE, before(Step.TIE, die))
        kept = KeptVerdict.read(world.route.verdict)
        assert kept is not None and (kept.outcome, kept.ahead_of) == (Verdict.HOLDS, "shadow -> scale")
        assert set(kept.positions) == {"hosted", "selfhosted"} and kept.fingerprint

    def went_on() -> str:
        outcome = world.migrate(Stage.SCALE)
        assert outcome.reached, outcome.message
        (told,) = [record.detail for record in outcome.records if record.step == Step.COMPARE]
        return told

    killed()
    world.later = timedelta(hours=23)
    assert "by a run that was cut off" in went_on()
    world.reach(Stage.SHADOW)
    killed()
    world.later += timedelta(hours=25)
    assert "rows of" in went_on()
    world.reach(Stage.SHADOW)
    killed()
    with connect(world.pair.hosted, "test") as hosted, connect(world.pair.own, "test") as own:
        for side in (own, hosted):
            side.execute("create index transfer_at on bank.transfer (at)")
    assert "rows of" in went_on()  # of other definitions
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_a_gate_that_fails_in_the_pause_leaves_clients_where_they_were(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)

    def fails(_: Transition) -> str:
        raise StepFailed("the last comparison found a difference", "look at it")

    outcome = world.migrate(Stage.SCALE, lambda steps: steps.steps.update({Step.CHECK: fails}))
    assert outcome.verdict == "does not hold" and "difference" in outcome.message
    assert (world.route.fence, world.serves()) == (None, "hosted")
    bank.go_on()
    world.reach(Stage.SCALE)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_a_row_that_differs_stops_the_switch_before_the_pause(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    with connect(world.pair.own, "test") as own:
        own.execute("set session_replication_role = replica")
        own.execute("insert into crossover.mark values ('by hand', '0/1', now())")  # as if it had been carried
    with connect(world.pair.own, "test", autocommit=False) as own:
        own.execute("update crossover.mark set at = now() where stream = 'by hand'")
        own.execute(
            "update bank.transfer set amount = 987654 where id = (select min(id::text)::uuid from bank.transfer)"
        )
        own.commit()
    for masks, shown in ((Masks(frozenset({"bank.*.amount"})), False), (Masks(), True)):
        world.lines.clear()
        outcome = world.migrate(Stage.SCALE, moving=replace(world.moving, masks=masks))
        assert outcome.verdict == "does not hold" and "bank.transfer" in outcome.message and "amount" in outcome.message
        told = [*world.lines, summary(Component.DATABASE, outcome), as_json(Component.DATABASE, outcome)]
        last = world.route.model_copy(update={"history": world.route.history[-1:]})
        assert ("987654" in "".join([*told, last.model_dump_json()])) is shown
    assert world.route.stage is Stage.SHADOW and world.serves() == "hosted"
    bank.judged()


def test_a_stray_at_the_side_that_does_not_serve_stops_the_switch(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    with connect(world.pair.own, "test") as own:
        own.execute("update bank.account set balance = balance where number = 1")
    outcome = world.migrate(Stage.SCALE)
    assert not outcome.reached and "past the pooler" in outcome.message
    assert world.route.stage is Stage.SHADOW and world.serves() == "hosted"
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_definitions_that_change_under_way_stop_what_is_under_way(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.MVP)

    def migrate() -> None:
        with connect(world.pair.hosted, "test") as hosted:
            hosted.execute("alter table bank.transfer add column if not exists note text")

    outcome = world.migrate(Stage.SHADOW, before(Step.BUILD, migrate))
    assert outcome.verdict == "does not hold" and "column bank.transfer.note: added" in outcome.message
    world.reach(Stage.MVP)
    assert world.route.mirror is None
    world.reach(Stage.SHADOW)  # copied anew, with the column
    with connect(world.pair.hosted, "test") as hosted:
        hosted.execute("create index transfer_at on bank.transfer (at)")
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "transfer_at" in outcome.message
    assert world.route.stage is Stage.SHADOW and world.serves() == "hosted"
    with connect(world.pair.own, "test") as own:
        own.execute("create index transfer_at on bank.transfer (at)")
    outcome = world.migrate(Stage.SCALE, before(Step.FENCE, lambda: _drop_index(world)))
    assert outcome.verdict == "does not hold" and "index bank.transfer_at: gone" in outcome.message
    assert (world.route.fence, world.serves()) == (None, "hosted")
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def _drop_index(world: DatabaseWorld) -> None:
    with connect(world.pair.hosted, "test") as hosted:
        hosted.execute("drop index bank.transfer_at")


def test_the_plan_of_each_transition_is_what_runs(world: DatabaseWorld, tmp_path: Path) -> None:
    """What `crossover migrate database --preview` lists: there, back, and for good; what was cut off, too."""
    bank = Bank(world, tmp_path)
    world.reach(Stage.MVP)

    def as_previewed(goal: Stage) -> list[str]:
        lines = preview(world.route, Component.DATABASE, goal, Wishes(tied=world.tied))
        outcome = world.migrate(goal)
        assert outcome.reached, outcome.message
        assert [record.step for record in outcome.records] == [step.value for step in steps_in(lines)]
        return lines

    def killed(goal: Stage, step: Step) -> None:
        with pytest.raises(Killed):
            world.migrate(goal, before(step, die))

    as_previewed(Stage.SCALE)
    as_previewed(Stage.MVP)
    killed(Stage.SHADOW, Step.BUILD)
    as_previewed(Stage.SHADOW)
    killed(Stage.SCALE, Step.OPEN)
    assert "undo" in as_previewed(Stage.SCALE)[0]
    killed(Stage.SHADOW, Step.UNTIE)
    assert steps_in(as_previewed(Stage.SHADOW)) == [Step.UNTIE, Step.WATCH]
    as_previewed(Stage.SCALE)
    world.tied = True
    assert steps_in(as_previewed(Stage.SCALE)) == [Step.TIE]
    as_previewed(Stage.COMPLETE)
    assert steps_in(as_previewed(Stage.COMPLETE)) == []
    bank.judged()

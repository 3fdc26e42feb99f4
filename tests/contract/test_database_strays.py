"""What is written past the pooler at the side that does not serve: it closes no way, is told row by row, and is settled
by a person; on real servers, and killed at each effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import mending
from adapters.postgres.driver import connect
from adapters.postgres.target import Writer
from contracts.stages import Stage
from cutover.context import StepFailed
from cutover.database import straying
from cutover.plan import WATCH_FAILED, Step, Transition
from cutover.strays import Action, run
from tests.contract import database_world as worlds
from tests.contract.database_world import Bank, DatabaseWorld, asked, before
from tests.contract.pooler.bench import Killed, until
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def impatient(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straying, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(worlds, "TIMING", replace(worlds.TIMING, drain=3.0))


def write(world: DatabaseWorld, side: str, *statements: str) -> None:
    """Past the pooler, in one transaction."""
    with connect(world.servers[side], "somebody", autocommit=False) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.commit()


def once(world: DatabaseWorld, side: str, *statements: str) -> Callable[[], None]:
    """Write so when it is called first: a switch back has the same steps."""
    left = [statements]
    return lambda: write(world, side, *(left.pop() if left else ()))


def strays(world: DatabaseWorld, action: Action, *chosen: str) -> dict[str, Any]:
    """Run the verb."""
    context = world.context()
    steps = world.steps(context)
    try:
        return run(context, steps.straying, action, chosen, "me")
    finally:
        steps.close()


NOTES = "select id, text from bank.note order by id"


def notes(world: DatabaseWorld, side: str) -> list[tuple[Any, ...]]:
    """The rows that strays touch here."""
    return asked(world, side, NOTES)


def make_notes(world: DatabaseWorld) -> None:
    """A table that only a test writes to."""
    with connect(world.client, "test", session={}) as client:
        client.execute("create schema if not exists bank")
        client.execute("create table bank.note (id int primary key, text text)")
        client.execute("insert into bank.note values (1, 'one'), (2, 'two')")


def with_notes(world: DatabaseWorld, folder: Path) -> Bank:
    """The same, beside a bank."""
    bank = Bank(world, folder)
    make_notes(world)
    return bank


def test_a_stray_after_the_opening_does_not_close_the_way_back(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = with_notes(world, tmp_path)
    world.reach(Stage.SHADOW)
    stray = ("insert into bank.note values (9, 'stray')", "update bank.note set text = 'stray' where id = 1")
    outcome = world.migrate(Stage.SCALE, before(Step.WATCH, once(world, "hosted", *stray)))
    assert outcome.verdict == "does not hold" and "crossover strays database" in outcome.message
    assert (world.route.stage, world.serves(), world.route.progress) == (Stage.SHADOW, "hosted", None)
    assert world.route.history[-1].outcome == "switched back"
    told = "\n".join(world.lines)
    assert "bank.note (id = '9'): only by the stray" in told and "text: 'one' at selfhosted, 'stray' by the st" in told
    for side in ("hosted", "selfhosted"):
        assert notes(world, side) == [(1, "one"), (2, "two")]
        kept = asked(world, side, "select kind, is_now ->> 'id' from crossover.stranded order by number")
        assert kept == [("insert", "9"), ("update", "1")]
    world.reach(Stage.SCALE)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_what_strayed_before_the_side_was_opened_goes_with_it(world: DatabaseWorld, tmp_path: Path) -> None:
    """It is read by clients from the opening on, so it is carried, not undone."""
    bank = with_notes(world, tmp_path)
    world.reach(Stage.SHADOW)
    stray = before(Step.OPEN, once(world, "selfhosted", "insert into bank.note values (9, 'stray')"))
    outcome = world.migrate(Stage.SCALE, stray)
    assert outcome.verdict == "does not hold"
    assert (world.route.stage, world.serves()) == (Stage.SHADOW, "hosted")
    for side in ("hosted", "selfhosted"):
        assert notes(world, side) == [(1, "one"), (2, "two"), (9, "stray")]
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_a_switch_that_could_not_be_switched_back_is_not_taken_for_a_good_one(
    world: DatabaseWorld, tmp_path: Path
) -> None:
    bank = with_notes(world, tmp_path)
    world.reach(Stage.SHADOW)

    def fails(_: Transition) -> str:
        raise StepFailed("made to fail", "none")

    outcome = world.migrate(Stage.SCALE, lambda steps: steps.steps.update({Step.WATCH: fails, Step.DRAIN: fails}))
    # The drain fails on the way there, too: traffic stays.
    assert not outcome.reached and world.route.stage is Stage.SHADOW

    def only_back(steps: Any) -> None:
        before(Step.WATCH, lambda: steps.steps.update({Step.SET_ASIDE: fails}))(steps)
        before(Step.WATCH, once(world, "hosted", "delete from bank.note where id = 2"))(steps)

    outcome = world.migrate(Stage.SCALE, only_back)
    assert not outcome.reached and world.serves() == "selfhosted"
    progress = world.route.progress
    assert progress is not None and progress.step == WATCH_FAILED
    world.lines.clear()
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "past the pooler" in outcome.message
    assert any("failed its post-checks, and could not be switched back (made to fail" in line for line in world.lines)
    assert (world.route.stage, world.serves()) == (Stage.SHADOW, "hosted")
    assert notes(world, "hosted") == [(1, "one"), (2, "two")]
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


@pytest.mark.parametrize("action", [Action.APPLY, Action.DISCARD])
def test_a_stray_is_listed_and_settled_though_killed_at_each_effect(
    world: DatabaseWorld, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    make_notes(world)
    world.reach(Stage.SHADOW)
    assert strays(world, Action.LIST)["strays"] == []
    write(world, "selfhosted", "insert into bank.note values (9, 'stray')", "delete from bank.note where id = 2")
    write(world, "selfhosted", "update bank.note set text = repeat('x', 500) where id in (1, 9)")
    found = strays(world, Action.LIST)
    assert found["error"] == "" and [len(one["rows"]) for one in found["strays"]] == [2, 2]
    assert max(len(line) for one in found["strays"] for line in one["lines"]) < 250
    first, second = (one["name"] for one in found["strays"])
    refused = strays(world, action, first)
    assert f"the same rows were changed by {second}" in refused["error"]
    assert "there is no stray 0/1" in strays(world, action, "0/1")["error"]
    assert [one["name"] for one in strays(world, Action.LIST)["strays"]] == [first, second]  # listing settles nothing
    killed = 0
    while _killed_at(world, monkeypatch, action, killed + 1):
        killed += 1
    assert killed == 2
    settled = strays(world, action)
    assert settled["error"] == ""
    wanted = [(1, "x" * 500), (9, "x" * 500)] if action is Action.APPLY else [(1, "one"), (2, "two")]
    until(lambda: notes(world, "hosted") == notes(world, "selfhosted") == wanted, "both sides are alike")
    assert strays(world, Action.LIST)["strays"] == []
    known = asked(world, "hosted", "select verdict, decided_by, done is not null from crossover.stray")
    assert known == [("applied" if action is Action.APPLY else "discarded", "me", True)] * 2


def _killed_at(world: DatabaseWorld, monkeypatch: pytest.MonkeyPatch, action: Action, at: int) -> bool:
    """Whether there was an `at`-th effect to be killed after."""
    left = [at]

    class Mortal(Writer):
        def end(self) -> None:
            super().end()
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(mending, "Writer", Mortal)
        try:
            strays(world, action)
        except Killed:
            return True
    return False


def test_what_a_stray_may_not_do_again_is_refused_and_discarded_all_the_same(world: DatabaseWorld) -> None:
    make_notes(world)
    world.reach(Stage.SHADOW)
    write(world, "selfhosted", "update bank.note set text = 'stray' where id = 1")
    with connect(world.client, "test", session={}) as client:
        client.execute("update bank.note set text = 'newer' where id = 1")
    refused = strays(world, Action.APPLY)
    assert "was written at the side that serves since" in refused["error"], refused
    # A stray's key, given out at the serving side: the stream there stops.
    write(world, "selfhosted", "insert into bank.note values (9, 'stray')")
    with connect(world.client, "test", session={}) as client:
        client.execute("insert into bank.note values (9, 'client')")
    settled = strays(world, Action.DISCARD)
    assert settled["error"] == "", settled
    wanted = [(1, "newer"), (2, "two"), (9, "client")]
    until(lambda: notes(world, "hosted") == notes(world, "selfhosted") == wanted, "both sides are alike")
    write(world, "selfhosted", "truncate bank.note")
    refused = strays(world, Action.DISCARD)
    assert "it emptied bank.note (TRUNCATE)" in refused["error"] and "join anew" in refused["error"]
    world.reach(Stage.MVP)
    world.reach(Stage.SHADOW)
    assert notes(world, "selfhosted") == wanted

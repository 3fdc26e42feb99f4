"""After an emergency: our own Postgres is back, and what only it has is told and kept before it is filled anew; runs
that are killed anywhere, and a carrier that never heard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.postgres import slots, unfollowed
from adapters.postgres.driver import connect, psycopg, sql
from adapters.postgres.side import opened
from contracts.stages import Component, Stage
from cutover.context import Interrupted
from cutover.plan import Step
from cutover.tables import TABLES
from tests.contract.database_world import Bank, before
from tests.contract.mortal_database import (
    Account,
    Mortal,
    held_up,
    mortal_world,
    stranded,
    waiting,
    whole,
)
from tests.contract.pooler.bench import Killed, die, until
from tests.contract.postgres_server import PASSWORD
from tests.contract.two_postgres import OWN_ROLE

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.usefixtures("quick")]


@pytest.fixture
def world() -> Iterator[Mortal]:
    with mortal_world() as made:
        yield made


@pytest.mark.parametrize("tied", [False, True])
def test_what_never_came_over_is_told_kept_and_not_applied(world: Mortal, tmp_path: Path, tied: bool) -> None:
    world.tied = tied
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    bank.go_on()
    account = Account(world, bank)
    with held_up(world):
        if tied:
            until(lambda: waiting(world) > 1, "clients wait")
        else:
            bank.go_on()
        world.kill()
        # A carrier that holds the mark, and does not get on, is ended.
        assert world.flee() < 10
    bank.go_on()
    lost = account.lost()
    assert bool(lost) is not tied
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.verdict == "could not be checked" and "does not answer" in outcome.message
    bank.go_on()
    world.restart()
    only_there = account.there("selfhosted") - account.there("hosted")
    assert set(lost) <= only_there
    world.tied = False
    outcome = world.migrate(Stage.SCALE)
    assert outcome.reached, outcome.message
    assert [record.step for record in outcome.records][:3] == ["list", "untie", "preflight"]
    assert stranded(world) == only_there
    told = [line for line in world.lines if "transactions that only selfhosted has" in line]
    assert any(f"{len(only_there)} transactions" in line for line in told), told
    assert any("select * from crossover.stranded" in line for line in world.lines)
    assert not only_there & account.there("hosted") and not only_there & account.there("selfhosted")
    assert (world.route.stranded, world.serves()) == (None, "selfhosted")
    bank.go_on()
    report = bank.judged()
    # The bank counts as lost just what was told.
    wrong = {check.name for check in report.failures()} - {"no statement failed", "nothing lost"}
    assert not wrong, report.failures()
    assert account.lost() == lost


def test_a_side_that_lost_its_data_is_filled_anew_only_by_the_operators_word(world: Mortal, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    world.kill_for_good()
    world.flee()
    world.own.initialise()
    world.restart()
    with connect(replace(world.servers["selfhosted"], database="postgres"), "test") as admin:
        name, role = sql.Identifier(world.servers["selfhosted"].database), sql.Identifier(OWN_ROLE)
        admin.execute(sql.SQL("create role {} login password {}").format(role, sql.Literal(PASSWORD)))
        admin.execute(sql.SQL("create database {} owner {}").format(name, role))
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "no slot" in outcome.message, outcome.message
    assert "what was stranded" in outcome.message and world.route.stranded is not None
    world.accepted |= {"what was stranded"}
    world.reach(Stage.SCALE)
    bank.go_on()
    assert world.serves() == "selfhosted"
    bank.judged()


def test_tables_that_only_the_side_that_is_back_has_are_told_and_not_taken_away(world: Mortal, tmp_path: Path) -> None:
    bank, make = Bank(world, tmp_path), "create table bank.later (id int primary key)"
    world.tied = True
    world.reach(Stage.SCALE)
    with connect(world.servers["selfhosted"], "test") as own, opened(world.servers["hosted"], "test") as hosted:
        own.execute(make)
        own.execute(sql.SQL("alter table bank.later owner to {}").format(sql.Identifier(OWN_ROLE)))
        own.execute("insert into bank.later values (1), (2)")
        until(lambda: unfollowed.noted(hosted) == ("bank.later",), "the carrier saw it", 20)
    world.kill()
    world.flee()
    assert world.reached.unfollowed == "bank.later"
    world.restart()
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.verdict == "does not hold" and "bank.later" in outcome.message, outcome.message
    assert world.route.stranded is not None and world.serves() == "hosted"
    with connect(world.servers["hosted"], "test") as hosted:  # as the message says
        hosted.execute(make)
        hosted.execute("insert into bank.later values (1), (2)")
    world.tied = False
    world.reach(Stage.SHADOW)
    with connect(world.servers["selfhosted"], "test") as own:
        assert own.execute("select id from bank.later order by 1").fetchall() == [(1,), (2,)]
    bank.go_on()
    whole(bank)


def test_an_emergency_that_was_cut_off_before_it_fled_is_undone_by_a_plain_run(world: Mortal, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    for step in (Step.SEQUENCES, Step.FLEE):
        world.signal_all(signal.SIGSTOP)
        with pytest.raises(Killed):
            world.migrate(Stage.SHADOW, before(step, die), emergency=True)
        world.signal_all(signal.SIGCONT)
        world.reach(Stage.SCALE)
        bank.go_on()
    world.reach(Stage.SHADOW)
    bank.go_on()
    whole(bank)


def test_a_run_that_is_killed_anywhere_in_it_is_finished_by_the_next(
    world: Mortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, bank = TABLES[Component.DATABASE], Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    account = Account(world, bank)
    with held_up(world):
        bank.go_on()
        world.kill()
        for step in table.emergencies[Stage.SCALE, Stage.SHADOW]:
            with pytest.raises(Killed):
                world.migrate(Stage.SHADOW, before(step, die), emergency=True)
    outcome = world.migrate(Stage.SHADOW, emergency=True)
    assert outcome.reached and [record.step for record in outcome.records] == ["count"]
    bank.go_on()
    lost = account.lost()
    world.restart()
    only_there = account.there("selfhosted") - account.there("hosted")
    for step in table.settlements[Stage.SHADOW, Stage.SHADOW]:
        with pytest.raises(Killed):
            world.migrate(Stage.SHADOW, before(step, die))
        assert world.route.stranded is not None
        if step is Step.PUBLISH:  # and in its midst, when what it took away is gone
            with monkeypatch.context() as dying:
                dying.setattr(slots, "ensure_slot", lambda *_: die())
                with pytest.raises(Killed):
                    world.migrate(Stage.SHADOW)
    world.reach(Stage.SCALE)
    bank.go_on()
    assert lost and stranded(world) == only_there >= set(lost)
    # Ours serves again: its stream brings what was written since to the hosted side a moment later.
    until(lambda: account.lost() == lost, "the hosted side has all but what was lost", 40)
    bank.judged()


def test_a_carrier_that_never_heard_of_it_brings_nothing_more(
    world: Mortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    account = Account(world, bank)
    own = connect(world.servers["selfhosted"], "left-behind", autocommit=False)
    own.execute("update bank.account set balance = balance where number = 1")
    with held_up(world):
        bank.go_on()
        world.signal_all(signal.SIGSTOP)
        hears = threading.Event()
        monkeypatch.setattr(world.carrier, "_take", lambda _: hears.wait(120))
        world.flee()
    bank.go_on()
    lost = account.lost()
    world.signal_all(signal.SIGCONT)
    only_there = account.there("selfhosted") - account.there("hosted")
    until(lambda: _told_off(world), "the carrier was told off", 40)
    assert lost and account.lost() == lost
    outcome = world.migrate(Stage.SHADOW, before(Step.UNTIE, _stop))
    assert "asked to stop" in outcome.message, outcome.message
    assert stranded(world) == only_there >= set(lost)
    with pytest.raises(psycopg.Error):  # who was left behind there can commit no more
        own.commit()
    own.close()
    hears.set()
    bank.judged()


def _told_off(world: Mortal) -> bool:
    return any("broken off" in direction.error for direction in world.carrier.directions)


def _stop() -> None:
    raise Interrupted("asked to stop", "")

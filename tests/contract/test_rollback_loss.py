"""rollback_loss on real servers: what is at the hosted side once our own is killed for good under load."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adapters.postgres import slots, synchronous
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import connect
from adapters.postgres.side import opened
from contracts.stages import Component, Stage
from cutover.reporting import as_json
from cutover.run import Outcome, validate
from tests.contract.database_world import Bank, DatabaseWorld, asked, database_servers, database_world
from tests.contract.pooler.bench import until
from tests.contract.two_postgres import OWN_ROLE
from validation.bank.account import read
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.usefixtures("quick")]
STREAM = "crossover_from_selfhosted"


def _named(world: DatabaseWorld) -> str:
    with opened(world.servers["selfhosted"], "test") as side:
        return synchronous.named(side)


def test_commits_wait_from_the_first_at_our_side_to_the_last(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.tied = True
    for stage, tied in (
        (Stage.SHADOW, False),
        (Stage.SCALE, True),
        (Stage.SHADOW, False),
        (Stage.SCALE, True),
        (Stage.COMPLETE, False),
        (Stage.SCALE, True),
        (Stage.MVP, False),
    ):
        world.reach(stage)
        bank.go_on()
        assert (_named(world) == STREAM, world.route.tied_since is not None) == (tied, tied), stage
        if stage is Stage.COMPLETE:  # what is left of the first time there, its owner takes away
            with connect(world.servers["hosted"], "test") as hosted:
                hosted.execute("truncate bank.account, bank.transfer")
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()
    assert any("nothing acknowledged" in line for line in world.lines), world.lines


def test_config_alone_changes_it_while_clients_write(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    assert any("only at selfhosted" in line for line in world.lines)
    for tied in (True, False, True, False):
        world.tied = tied
        outcome = world.migrate(Stage.SCALE)
        assert outcome.reached, outcome.message
        assert [record.step for record in outcome.records] == ["tie" if tied else "untie"]
        assert (_named(world) == STREAM, world.route.tied_since is not None) == (tied, tied)
        bank.go_on()
        assert world.migrate(Stage.SCALE).records == []
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def _exempt(world: DatabaseWorld, setting: str) -> None:
    with connect(world.servers["selfhosted"], "test") as own:
        own.execute(f"alter role {OWN_ROLE} {setting}".encode())


def test_clients_whose_commits_would_not_wait_are_named_before_anything_is_touched(
    world: DatabaseWorld, tmp_path: Path
) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    world.tied = True
    _exempt(world, "set synchronous_commit = off")
    try:
        outcome = world.migrate(Stage.SCALE)
        assert outcome.verdict == "does not hold"
        assert f"role {OWN_ROLE}" in outcome.message and "synchronous_commit=off" in outcome.message
        assert (world.route.fence, world.route.tied_since, world.serves(), _named(world)) == (None, None, "hosted", "")
    finally:
        _exempt(world, "reset synchronous_commit")
    world.reach(Stage.SCALE)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_a_server_with_standbys_of_its_own_is_left_as_it_is(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    world.tied = True
    with connect(world.servers["selfhosted"], "test", session={"synchronous_commit": "local"}) as own:
        own.execute("alter system set synchronous_standby_names = 'crossover_from_selfhosted, another'")
        own.execute("select pg_reload_conf()")
        try:
            outcome = world.migrate(Stage.SCALE)
            assert outcome.verdict == "does not hold" and "another" in outcome.message
            assert _named(world) == "crossover_from_selfhosted, another"
        finally:
            own.execute("alter system reset synchronous_standby_names")
            own.execute("select pg_reload_conf()")
    assert world.route.tied_since is None
    bank.go_on()
    bank.judged()


def test_where_the_hosted_side_is_away_writers_wait_until_config_says_bounded(tmp_path: Path) -> None:
    with database_servers() as (hosted, own), database_world(hosted, own) as world:
        bank = Bank(world, tmp_path)
        world.tied = True
        world.reach(Stage.SCALE)
        bank.go_on()
        hosted.stop()
        try:
            until(lambda: _waiting(world) >= 4, "all clients wait")
            noted = len(list(read(bank.path)))
            outcome = world.migrate(Stage.SHADOW)
            assert not outcome.reached and _waiting(world) >= 4
            outcome = world.migrate(Stage.SHADOW, emergency=True)  # there is nothing to flee to
            assert outcome.verdict == "could not be checked" and world.route.fence is None
            assert world.route.active == "selfhosted" and world.route.tied_since is not None
            world.tied = False
            assert world.migrate(Stage.SCALE).reached
            assert world.route.tied_since is None
            bank.go_on()
            assert noted < len(list(read(bank.path)))
        finally:
            hosted.start()
        until(lambda: all(_read(world, name) for name in world.servers), "the carrier is back", 60)
        world.reach(Stage.SHADOW)
        report = bank.judged()
        assert report.overall() is Verdict.HOLDS, report.failures()


def _read(world: DatabaseWorld, name: str) -> bool:
    with connect(world.servers[name], "test") as connection:
        slot = slots.slot_state(connection, slot_name(name))
    return slot is not None and slot.reader is not None


def _waiting(world: DatabaseWorld) -> int:
    """Clients whose commit waits for the hosted side, or that wait for the locks of such a one."""
    waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep' or wait_event_type = 'Lock'"
    return int(asked(world, "selfhosted", waits)[0][0])


def test_the_verdict_tells_what_would_be_lost(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    context = world.context()
    steps = world.steps(context)
    try:
        outcome = validate(context, steps)
        told = _item(outcome)
        assert told["verdict"] == "holds"
        found = re.search(r"the last ([0-9.]+) s, (\d+) bytes of WAL, is only at selfhosted", told["found"])
        assert found is not None and float(found[1]) < 5
    finally:
        steps.close()
    world.tied = True  # config says so, and no run has been since
    context = world.context()
    steps = world.steps(context)
    try:
        outcome = validate(context, steps)
        assert outcome.verdict == "does not hold" and "commits do not wait" in _item(outcome)["found"]
    finally:
        steps.close()
    bank.judged()


def _item(outcome: Outcome) -> dict[str, str]:
    items = [item for step in json.loads(as_json(Component.DATABASE, outcome))["steps"] for item in step["items"]]
    (found,) = (item for item in items if item["name"] == "rollback loss")
    assert isinstance(found, dict)
    return found

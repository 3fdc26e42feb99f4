"""rollback_loss on real servers: what is at the hosted side once our own is killed for good under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres import asking, synchronous
from adapters.postgres.driver import connect
from adapters.postgres.side import opened
from contracts.stages import Stage
from tests.contract.database_world import Bank, DatabaseWorld, database_servers, database_world
from tests.contract.postgres_server import Postgres
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]
STREAM = "crossover_from_selfhosted"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with database_servers() as both:
        yield both


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAL_SECONDS", 0.05)  # how fast WAL grows is no matter here


@pytest.fixture
def world(servers: tuple[Postgres, Postgres]) -> Iterator[DatabaseWorld]:
    with database_world(*servers) as made:
        yield made


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

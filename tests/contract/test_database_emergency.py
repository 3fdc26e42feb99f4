"""Our own Postgres is dead while it serves, on real servers under a bank's load: clients go on at the hosted one in
seconds, and what may be missing there is told."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from adapters.postgres.driver import connect, psycopg
from adapters.postgres.errors import Unavailable
from contracts.stages import Stage
from cutover.plan import Step
from tests.contract.database_world import Bank, before, database_servers, database_world
from tests.contract.mortal_database import Account, Mortal, fill_up, mortal_world, small_disk, whole
from tests.contract.pooler.bench import until
from tests.contract.postgres_server import Postgres
from tests.contract.slow_link import SlowLink
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.usefixtures("quick")]


@pytest.fixture
def world() -> Iterator[Mortal]:
    with mortal_world() as made:
        yield made


@pytest.mark.parametrize("moment", [0.05, 0.4, 1.3])
def test_with_none_nothing_that_was_acknowledged_is_lost_with_our_side(
    world: Mortal, tmp_path: Path, moment: float
) -> None:
    world.tied = True
    bank = Bank(world, tmp_path, rate=300)
    world.reach(Stage.SCALE)
    bank.go_on()
    time.sleep(moment * random.random())  # a random moment
    world.kill_for_good()
    assert world.flee() < 10
    bank.go_on()
    assert Account(world, bank).lost() == {}
    assert world.reached.tied and any("nothing that selfhosted acknowledged is missing" in line for line in world.lines)
    whole(bank)


def test_with_none_not_even_the_first_commits_at_our_side_are_lost(world: Mortal, tmp_path: Path) -> None:
    world.tied = True
    bank = Bank(world, tmp_path, rate=300)
    world.reach(Stage.SHADOW)
    account = Account(world, bank)

    def once_it_serves() -> None:
        begun = len(account.acknowledged())
        until(lambda: len(account.acknowledged()) > begun + 5, "it serves", 5)
        world.kill_for_good()

    outcome = world.migrate(Stage.SCALE, before(Step.WATCH, once_it_serves))
    assert not outcome.reached and world.route.active == "selfhosted"
    world.flee()
    bank.go_on()
    assert account.lost() == {}
    whole(bank)


DEATHS: dict[str, Callable[[Mortal], None]] = {
    "killed": Mortal.kill,
    "killed for good": Mortal.kill_for_good,
    "hanging": lambda world: world.signal_all(signal.SIGSTOP),
}


@pytest.mark.parametrize("how", DEATHS)
def test_clients_go_on_at_the_hosted_side_within_seconds(world: Mortal, tmp_path: Path, how: str) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    bank.go_on()
    DEATHS[how](world)
    try:
        assert world.flee() < 10
        began = time.monotonic()
        bank.go_on()
        assert time.monotonic() - began < 3
        # What is told is exact: all from before the last heartbeat that came is there, and what is not is younger.
        told = datetime.fromisoformat(world.reached.at).timestamp() * 1e9
        assert all(ended > told for ended in Account(world, bank).lost().values())
    finally:
        if how == "hanging":
            world.signal_all(signal.SIGCONT)
    bank.judged()


def test_a_side_that_serves_is_not_fled_from(world: Mortal, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    outcome = world.migrate(Stage.SHADOW, emergency=True)
    assert outcome.verdict == "does not hold" and "selfhosted serves" in outcome.message
    assert (world.route.stage, world.route.fence, world.serves()) == (Stage.SCALE, None, "selfhosted")
    bank.go_on()
    world.reach(Stage.SHADOW)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_clients_go_on_where_our_side_cannot_be_reached(tmp_path: Path) -> None:
    with database_servers() as (hosted, own):
        link = SlowLink(own.port, (0.0, 0.0), 1)
        try:
            beyond = Postgres(own.folder, Path("/nonexistent"))
            beyond.port = link.port
            with database_world(hosted, beyond, Mortal) as world:
                assert isinstance(world, Mortal)
                bank = Bank(world, tmp_path)
                world.reach(Stage.SCALE)
                bank.go_on()
                link._delay = (3600.0, 3600.0)  # every packet is lost, and nobody is told
                world.gone.add("selfhosted")
                assert world.flee() < 10
                bank.go_on()
                bank.judged()
        finally:
            link.close()


def test_where_our_side_is_dead_and_does_not_serve_clients_go_on_and_it_can_be_left(
    world: Mortal, tmp_path: Path
) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    world.kill_for_good()
    bank.go_on()
    outcome = world.migrate(Stage.SCALE)
    assert (
        not outcome.reached and "selfhosted: reachable" in outcome.message and "nothing was changed" in outcome.message
    )
    assert world.migrate(Stage.SHADOW, emergency=True).reached and world.route.stranded is None
    world.reach(Stage.MVP)
    bank.go_on()
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_where_the_hosted_side_is_dead_and_serves_nothing_can_be_done_and_nothing_is(world: Mortal) -> None:
    with world.bouncer.client() as client:
        client.execute("create schema bank")
        client.execute("create table bank.plain (id int primary key)")
    world.reach(Stage.SHADOW)
    before_it = world.route
    world.hosted.stop(signal.SIGKILL)
    try:
        for stage, emergency in ((Stage.SCALE, False), (Stage.MVP, False), (Stage.MVP, True)):
            assert not world.migrate(stage, emergency=emergency).reached
            now = world.route
            assert (now.stage, now.active, now.mirror, now.fence) == (Stage.SHADOW, "hosted", before_it.mirror, None)
    finally:
        world.hosted.start()


def test_clients_go_on_where_the_disk_of_our_side_is_full(tmp_path: Path) -> None:
    with database_servers() as (hosted, own), small_disk(own) as disk, database_world(hosted, own, Mortal) as world:
        assert isinstance(world, Mortal)
        world.own = own
        bank = Bank(world, tmp_path)
        world.reach(Stage.SCALE)
        bank.go_on()
        filler = fill_up(disk)
        # It may be down before it is asked.
        with contextlib.suppress(psycopg.Error, Unavailable), connect(world.servers["selfhosted"], "test") as admin:
            while True:  # each segment of WAL is a file of 16 MiB
                admin.execute("select pg_logical_emit_message(false, '', ''), pg_switch_wal()")
        assert world.flee() < 10
        bank.go_on()
        filler.unlink()
        own.stop(signal.SIGKILL)
        own.start()
        world.reach(Stage.SCALE)
        bank.go_on()
        assert world.serves() == "selfhosted"
        bank.judged()


def _drawn(world: Mortal, name: str, count: int) -> list[int]:
    with world.bouncer.client() as client:
        query = "select nextval(%s::regclass) from generate_series(1, %s)"
        return [row[0] for row in client.execute(query, (name, count)).fetchall()]


def test_no_value_of_a_sequence_comes_again(world: Mortal, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    with world.bouncer.client() as client:
        for statement in (
            "create table bank.numbered (id bigserial primary key)",
            "create sequence bank.free",
            "create sequence bank.down increment -3 maxvalue 100000000 minvalue -1000000000 start 5",
            "create sequence bank.unused",
        ):
            client.execute(statement)
    names = ("bank.numbered_id_seq", "bank.free", "bank.down")
    world.reach(Stage.SCALE)
    # Farther than is taken to be possible since it was looked at last: so it has to have been looked at.
    seen = {name: set(_drawn(world, name, 200_000)) for name in names}
    until(lambda: _noted(world, "free") >= 200_000 and _noted(world, "down") < -500_000, "they were looked at")
    with connect(world.servers["hosted"], "test", autocommit=False) as locker:
        locker.execute("lock table crossover.counted in share mode")  # from here on unseen
        for name in names:
            seen[name] |= set(_drawn(world, name, 30_000))
        seen["bank.unused"] = set(_drawn(world, "bank.unused", 10))
        world.kill()
    world.flee()
    for name, given in seen.items():
        again = _drawn(world, name, 1000)
        assert not given & set(again), (name, max(given), again[:3])
    bank.go_on()
    bank.judged()


def _noted(world: Mortal, name: str) -> int:
    with connect(world.servers["hosted"], "test") as connection:
        query = "select last from crossover.counted where name = %s"
        row = connection.execute(query, (f'"bank"."{name}"',)).fetchone()
    return row[0] if row else 0

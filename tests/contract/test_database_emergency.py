"""Our own Postgres is dead while it serves, on real servers under a bank's load: clients go on at the hosted one in
seconds, and what only the dead one has is told, kept, and never applied by itself."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from adapters.postgres import asking, slots
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import connect, psycopg, sql
from adapters.postgres.transfers import transfers
from contracts.stages import Component, Stage
from cutover.context import Interrupted
from cutover.database.positions import WAL, Reached
from cutover.plan import Step
from cutover.tables import TABLES
from tests.contract.database_world import Bank, DatabaseWorld, before, database_servers, database_world
from tests.contract.pooler.bench import until
from tests.contract.postgres_server import PASSWORD, Postgres
from tests.contract.slow_link import SlowLink
from tests.contract.two_postgres import OWN_ROLE
from validation.bank.account import Fate, read
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAL_SECONDS", 0.05)  # how fast WAL grows is no matter here


class Mortal(DatabaseWorld):
    """One whose own server may die."""

    hosted: Postgres
    own: Postgres

    def kill(self) -> None:
        """SIGKILL, all of its processes."""
        self.signal_all(signal.SIGKILL)
        self.own.stop(signal.SIGKILL)
        self.gone.add("selfhosted")

    def restart(self) -> None:
        """It is back, as it was."""
        self.own.start()
        self.gone.discard("selfhosted")

    def kill_for_good(self) -> None:
        """And its folder is gone."""
        self.kill()
        shutil.rmtree(self.own.folder / "data")

    def signal_all(self, number: signal.Signals) -> None:
        """To all of its processes."""
        for process in self.processes:
            os.kill(process, number)

    @property
    def processes(self) -> list[int]:
        """The postmaster first."""
        pid = int((self.own.folder / "data" / "postmaster.pid").read_text().split()[0])
        return [pid, *_children(pid)]

    def flee(self) -> float:
        """The emergency; how long it took until the pooler served."""
        began = time.monotonic()
        outcome = self.migrate(Stage.SHADOW, emergency=True)
        took = time.monotonic() - began
        assert outcome.reached, "\n".join([outcome.message, *self.lines[-30:]])
        assert (self.route.active, self.route.stage, self.serves()) == ("hosted", Stage.SHADOW, "hosted")
        with connect(self.servers["hosted"], "test") as hosted:
            assert slots.slot_state(hosted, slot_name("hosted")) is None, "nothing is kept for the dead side"
        return took

    @property
    def reached(self) -> Reached:
        """What the route says that the hosted side has."""
        assert self.route.stranded is not None
        return Reached.of(self.route.stranded[WAL].copied)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def world() -> Iterator[Mortal]:
    with database_servers() as (hosted, own), database_world(hosted, own, Mortal) as made:
        assert isinstance(made, Mortal)
        made.hosted, made.own = hosted, own
        yield made


class Account:
    """What the bank's clients were told, against what a side has."""

    def __init__(self, world: Mortal, bank: Bank) -> None:
        self._world, self._bank = world, bank

    def there(self, side: str) -> set[str]:
        """The transfers at `side`."""
        with connect(self._world.servers[side], "judge") as connection:
            return {money.id for money in transfers(connection, self._bank.run)}

    def acknowledged(self) -> dict[str, int]:
        """Each with when its client was told, in ns."""
        return {one.id: one.ended for one in read(self._bank.path) if one.fate is Fate.ACKNOWLEDGED}

    def lost(self) -> dict[str, int]:
        """Those that were acknowledged and are not at the hosted side."""
        told = self.acknowledged()  # first: the load goes on
        there = self.there("hosted")
        return {name: ended for name, ended in told.items() if name not in there}


def _whole(bank: Bank) -> None:
    """Nothing acknowledged is lost at the side that serves, nothing came twice, no money came or went. Transfers that
    were under way as the side died failed, or nobody knows."""
    report = bank.judged()
    assert {check.name for check in report.failures()} <= {"no statement failed"}, report.failures()


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
    _whole(bank)


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
    _whole(bank)


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


@contextmanager
def held_up(world: Mortal) -> Iterator[None]:
    """The hosted side takes no transfers for as long as it lasts: what our side commits does not come over."""
    with connect(world.servers["hosted"], "test", autocommit=False) as locker:
        locker.execute("lock table bank.transfer in share mode")
        yield


def _stranded(world: Mortal) -> set[str]:
    """The transfers that were kept."""
    query = "select is_now ->> 'id' from crossover.stranded where relation = 'bank.transfer' and kind = 'insert'"
    with connect(world.servers["hosted"], "test") as connection:
        return {row[0] for row in connection.execute(query).fetchall()}


@pytest.mark.parametrize("tied", [False, True])
def test_what_never_came_over_is_told_kept_and_not_applied(world: Mortal, tmp_path: Path, tied: bool) -> None:
    world.tied = tied
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    bank.go_on()
    account = Account(world, bank)
    with held_up(world):
        if tied:
            until(lambda: _waiting(world) > 1, "clients wait")
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
    assert _stranded(world) == only_there
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


def _waiting(world: Mortal) -> int:
    with connect(world.servers["selfhosted"], "test") as connection:
        row = connection.execute("select count(*) from pg_stat_activity where wait_event = 'SyncRep'").fetchone()
    return row[0] if row else 0


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
    world.accepted = frozenset({"what was stranded"})
    world.reach(Stage.SCALE)
    bank.go_on()
    assert world.serves() == "selfhosted"
    bank.judged()


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


@contextmanager
def small_disk(server: Postgres) -> Iterator[Path]:
    """The server's data lies on a disk of its own."""
    disk, data = server.folder / "disk", server.folder / "data"
    server.stop()
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        shutil.copytree(data, disk / "data", symlinks=True)
        shutil.rmtree(data)
        for path in (disk, *disk.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")
        data.symlink_to(disk / "data")
        (disk / "data").chmod(0o700)
        server.start()
        yield disk
    finally:
        server.stop(signal.SIGKILL)
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_clients_go_on_where_the_disk_of_our_side_is_full(tmp_path: Path) -> None:
    with database_servers() as (hosted, own), small_disk(own) as disk, database_world(hosted, own, Mortal) as world:
        assert isinstance(world, Mortal)
        world.own = own
        bank = Bank(world, tmp_path)
        world.reach(Stage.SCALE)
        bank.go_on()
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 20))
        with connect(world.servers["selfhosted"], "test") as admin, contextlib.suppress(psycopg.Error):
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
    seen = {name: set(_drawn(world, name, 5000)) for name in names}
    until(lambda: _noted(world, "free") >= 5000, "it was looked at")
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
    _whole(bank)


def _noted(world: Mortal, name: str) -> int:
    with connect(world.servers["hosted"], "test") as connection:
        query = "select last from crossover.counted where name = %s"
        row = connection.execute(query, (f'"bank"."{name}"',)).fetchone()
    return row[0] if row else 0


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors may handle it."""


def _die() -> None:
    raise Killed


def test_an_emergency_that_was_cut_off_before_it_fled_is_undone_by_a_plain_run(world: Mortal, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    for step in (Step.SEQUENCES, Step.FLEE):
        world.signal_all(signal.SIGSTOP)
        with pytest.raises(Killed):
            world.migrate(Stage.SHADOW, before(step, _die), emergency=True)
        world.signal_all(signal.SIGCONT)
        world.reach(Stage.SCALE)
        bank.go_on()
    world.reach(Stage.SHADOW)
    bank.go_on()
    _whole(bank)


def test_a_run_that_is_killed_anywhere_in_it_is_finished_by_the_next(world: Mortal, tmp_path: Path) -> None:
    table, bank = TABLES[Component.DATABASE], Bank(world, tmp_path)
    world.reach(Stage.SCALE)
    account = Account(world, bank)
    with held_up(world):
        bank.go_on()
        world.kill()
        for step in table.emergencies[Stage.SCALE, Stage.SHADOW]:
            with pytest.raises(Killed):
                world.migrate(Stage.SHADOW, before(step, _die), emergency=True)
    outcome = world.migrate(Stage.SHADOW, emergency=True)
    assert outcome.reached and [record.step for record in outcome.records] == ["count"]
    bank.go_on()
    lost = account.lost()
    world.restart()
    only_there = account.there("selfhosted") - account.there("hosted")
    for step in table.settlements[Stage.SHADOW, Stage.SHADOW]:
        with pytest.raises(Killed):
            world.migrate(Stage.SHADOW, before(step, _die))
        assert world.route.stranded is not None
    world.reach(Stage.SCALE)
    bank.go_on()
    assert lost and _stranded(world) == only_there >= set(lost)
    assert account.lost() == lost
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
    assert _stranded(world) == only_there >= set(lost)
    with pytest.raises(psycopg.Error):  # who was left behind there can commit no more
        own.commit()
    own.close()
    hears.set()
    bank.judged()


def _told_off(world: Mortal) -> bool:
    return any("broken off" in direction.error for direction in world.carrier.directions)


def _stop() -> None:
    raise Interrupted("asked to stop", "")

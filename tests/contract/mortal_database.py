"""Our own Postgres of a world, mortal: ways to kill it, and what is said of the bank's transfers afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from adapters.postgres import slots
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import connect
from adapters.postgres.transfers import transfers
from contracts.stages import Stage
from cutover.database.reached import Reached
from cutover.positions import WAL
from tests.contract.database_world import Bank, DatabaseWorld, asked, database_servers, database_world
from tests.contract.postgres_server import Postgres
from validation.bank.account import Fate, read


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
        """To all of its processes. One may end meanwhile: what goes on first lets others go."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    @property
    def processes(self) -> list[int]:
        """The postmaster first."""
        pid = int((self.own.folder / "data" / "postmaster.pid").read_text().split()[0])
        return [pid, *children(pid)]

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


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def mortal_world() -> Iterator[Mortal]:
    """On servers of its own."""
    with database_servers() as (hosted, own), database_world(hosted, own, Mortal) as made:
        assert isinstance(made, Mortal)
        made.hosted, made.own = hosted, own
        yield made


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


def fill_up(disk: Path) -> Path:
    """Not a byte is free; the file that takes all."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * (1 << 20))
    return filler


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


def whole(bank: Bank) -> None:
    """Nothing acknowledged is lost at the side that serves, nothing came twice, no money came or went. Transfers that
    were under way as the side died failed, or nobody knows."""
    report = bank.judged()
    assert {check.name for check in report.failures()} <= {"no statement failed"}, report.failures()


@contextmanager
def held_up(world: Mortal) -> Iterator[None]:
    """The hosted side takes no transfers for as long as it lasts: what our side commits does not come over."""
    with connect(world.servers["hosted"], "test", autocommit=False) as locker:
        locker.execute("lock table bank.transfer in share mode")
        yield


def stranded(world: Mortal) -> set[str]:
    """The transfers that were kept."""
    query = "select is_now ->> 'id' from crossover.stranded where relation = 'bank.transfer' and kind = 'insert'"
    with connect(world.servers["hosted"], "test") as connection:
        return {row[0] for row in connection.execute(query).fetchall()}


def waiting(world: Mortal) -> int:
    """Clients whose commit waits for the hosted side."""
    return int(asked(world, "selfhosted", "select count(*) from pg_stat_activity where wait_event = 'SyncRep'")[0][0])

"""Our own Postgres is dead while it serves, on real servers under a bank's load: clients go on at the hosted one in
seconds, and what only the dead one has is told, kept, and never applied by itself."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from adapters.postgres import asking
from adapters.postgres.driver import connect
from adapters.postgres.transfers import transfers
from contracts.stages import Stage
from cutover.database.positions import WAL, Reached
from tests.contract.database_world import Bank, DatabaseWorld, database_servers, database_world
from tests.contract.postgres_server import Postgres
from validation.bank.account import Fate, read
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAL_SECONDS", 0.05)  # how fast WAL grows is no matter here


class Mortal(DatabaseWorld):
    """One whose own server may die."""

    own: Postgres

    def kill(self) -> None:
        """SIGKILL, all of its processes."""
        pid = int((self.own.folder / "data" / "postmaster.pid").read_text().split()[0])
        for process in (pid, *_children(pid)):
            os.kill(process, signal.SIGKILL)
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
        pid = int((self.own.folder / "data" / "postmaster.pid").read_text().split()[0])
        for process in (pid, *_children(pid)):
            os.kill(process, number)

    def flee(self) -> float:
        """The emergency; how long it took until the pooler served."""
        began = time.monotonic()
        outcome = self.migrate(Stage.SHADOW, emergency=True)
        took = time.monotonic() - began
        assert outcome.reached, "\n".join([outcome.message, *self.lines[-30:]])
        assert (self.route.active, self.route.stage, self.serves()) == ("hosted", Stage.SHADOW, "hosted")
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
        made.own = own
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

"""Strategies of the user's own, in the service with its real workers: run by both engines, and confined."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.backtesting.strategies import check_named
from adapters.backtesting.strategies.own import KNOWN
from adapters.csv_bars import SHIPPED
from contracts.stages import Component, Stage
from services.backtesting_service import own_strategies
from services.backtesting_service.frames import framed
from services.backtesting_service.histories import Histories
from services.backtesting_service.models import BacktestRequest, RunState
from services.backtesting_service.own_strategies import know
from services.backtesting_service.routing import fixed
from services.backtesting_service.runs import Runs
from services.backtesting_service.store import RunStore
from tests.contract.test_backtesting_service import World, route, until

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

_OWN = Path(__file__).parent / "own_strategies"
_SPY = """
import os, socket
from pathlib import Path
from adapters.backtesting.strategies.holding import BuyAndHold

class Spy(BuyAndHold):
    \"\"\"Tells what it can reach, for it has no other way.\"\"\"
    def state(self):
        told = []
        for what in (
            lambda: socket.create_connection(("127.0.0.1", 9)),
            lambda: Path(os.environ["SECRET_FILE"]).read_text(),
            lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
            lambda: Path(__file__).write_text("other"),
        ):
            try:
                what()
                told.append("done")
            except Exception as error:
                told.append(type(error).__name__)
        raise RuntimeError(" ".join(told))
"""


_BOMB = """
import os, pickle, sys
from pathlib import Path
from adapters.backtesting.strategies.holding import BuyAndHold
from services.backtesting_service.frames import framed

class Bomb(BuyAndHold):
    def state(self):
        os.write(int(sys.argv[2]), framed(pickle.dumps(Armed())))
        return super().state()

class Armed:
    def __reduce__(self):
        return Path.touch, (Path(__file__).with_name("exploded"),)
"""
_TOLD = {"parameters": [], "legs": 1, "sha256": "0" * 64}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One that works, and others that do not."""
    made = tmp_path / "strategies"
    made.mkdir()
    shutil.copy(_OWN / "momentum.py", made)
    (made / "spy.py").write_text(_SPY)
    (made / "broken.py").write_text("import nothing_that_is_there\n")
    (made / "sma_cross.py").write_text("")
    yield made
    KNOWN.tell(None)


@pytest.fixture
def world(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    secret = tmp_path / "token"
    secret.write_text("secret")
    monkeypatch.setenv("SECRET_FILE", str(secret))
    know(folder)
    made = World(tmp_path / "runs", {"STRATEGIES_PATH": str(folder)})
    made.routes.write(route(Stage.SHADOW, 1, 100.0), made.routes.read(Component.BACKTESTING).version)
    with made.served():
        yield made


def ended(world: World, **asked: object) -> Any:
    return world.ended(world.submit(parameters=asked.pop("parameters", {}), **asked)["id"])


def test_a_strategy_of_ones_own_is_done_by_both_engines_and_sees_nothing_else(world: World, folder: Path) -> None:
    client = world.client
    offer = client.get("/offer").json()
    assert {"name": "momentum", "parameters": ["period"], "symbols": 1} in offer["strategies"]
    assert set(offer["unusable"]) == {"broken", "sma_cross"}
    assert "nothing_that_is_there" in offer["unusable"]["broken"]
    run = ended(world, strategy="momentum", parameters={"period": 50})
    assert run["state"] == "done", run
    until(lambda: client.get(f"/backtests/{run['id']}/divergence").status_code == 200, "both have done it")
    found = client.get(f"/backtests/{run['id']}/divergence").json()
    assert found["same"] and found["fills"][0] > 50, found
    result = client.get(f"/backtests/{run['id']}/result").json()
    assert len(result["source_sha256"]) == 64
    failed = ended(world, strategy="spy")
    assert "PermissionError PermissionError PermissionError PermissionError" in failed["error"], failed
    wrong = client.post("/backtests", json={"symbol": "SP500", "strategy": "momentum", "parameters": {"days": 1}})
    assert wrong.status_code == 422 and "it has period" in wrong.text
    bad = ended(world, strategy="momentum", parameters={"period": 0})
    assert "Give at least 1" in bad["error"]
    broken = client.post("/backtests", json={"symbol": "SP500", "strategy": "broken"})
    assert broken.status_code == 422 and "nothing_that_is_there" in broken.text
    (folder / "momentum.py").write_text((folder / "momentum.py").read_text() + "\n")
    changed = ended(world, strategy="momentum", parameters={"period": 51})
    assert "restart it to use the new one" in changed["error"]


def test_packages_that_lie_elsewhere_are_found_as_in_an_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "only_there.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    (folder / "momentum.py").write_text("import only_there\n" + (_OWN / "momentum.py").read_text().split("\n", 4)[4])
    know(folder)
    found = KNOWN.described["momentum"]
    assert not found.problem and found.parameters == ("period",), found


def test_a_file_that_ends_the_process_stops_nobody_else(folder: Path) -> None:
    (folder / "broken.py").write_text("import os\nos._exit(0)\n")
    know(folder)
    assert "one of them ended the process" in KNOWN.described["momentum"].problem


def test_a_strategy_that_answers_for_its_worker_fails_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "bomb.py").write_text(_BOMB)
    know(folder)
    store = RunStore(tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    runs = Runs(store, lambda: fixed("memory"), Histories(SHIPPED), 1, strategies=folder)
    runs.start()
    try:
        asked = [BacktestRequest(strategy=name, symbol="SP500") for name in ("buy_and_hold", "bomb", "momentum")]
        submitted = [runs.submit(one)[0].id for one in asked]
        until(lambda: not any(run is None or run.ended_at is None for run in map(store.get, submitted)), "all end")
        found = [run for run in map(store.get, submitted) if run is not None]
    finally:
        runs.stop(1.0)
    assert [run.state for run in found] == [RunState.DONE, RunState.FAILED, RunState.DONE]
    assert "what its worker sent is no answer, and the worker was ended" in (found[1].error or "")
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"described": {"../token": {**_TOLD, "name": "../token"}}}, "what is told of them is not of their files"),
        ({"described": {"momentum": {**_TOLD, "name": "../token"}}}, "what is told of them is not of their files"),
        ({"described": {"momentum": {**_TOLD, "name": "momentum", "sha256": "x"}}}, "is not of their files"),
        ({"described": {"momentum": {**_TOLD, "name": "momentum", "legs": "many"}}}, "gave an answer that is none"),
        ({"described": [[]]}, "gave an answer that is none"),
        (None, "gave an answer that is none"),
    ],
)
def test_a_file_that_answers_for_the_process_gives_nothing(folder: Path, told: object, says: str) -> None:
    content = bytes(9) if told is None else framed(json.dumps(told).encode())
    (folder / "broken.py").write_text(f"import os, sys\nos.write(int(sys.argv[3]), {content!r})\nos._exit(0)\n")
    know(folder)
    assert says in KNOWN.described["momentum"].problem
    assert not any(KNOWN.usable(name) for name in KNOWN.described)


def test_where_their_code_cannot_be_confined_none_is_run_and_the_service_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_strategies, "_DESCRIBE_SECONDS", 0.01)
    know(folder)
    assert set(KNOWN.described) == {"momentum", "spy", "broken", "sma_cross"}
    assert all("were not imported within" in one.problem for one in KNOWN.described.values())
    with pytest.raises(ValueError, match="momentum cannot be used: the strategies in"):
        check_named("momentum", {})

"""The backtesting service over a route, with both real engines: who takes a run, what both make of it, what ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts.names import BACKTESTING_NAME
from contracts.routes import Route
from contracts.stages import Component, Stage, serving_backend
from services.backtesting_service.service import assemble
from services.backtesting_service.settings import BacktestingSettings

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

ASKED = {"strategy": "sma_cross", "parameters": {"fast": 10, "slow": 30}, "symbol": "SP500"}
SECONDS = 120.0


class World:
    """The service, its route, and what it told of itself."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.routes, self.registry = MemoryRouteStore(route(Stage.MVP, 1)), MemoryRegistry()
        told = {"RESULTS_PATH": str(folder), "POD_NAME": "pod-1", **(env or {})}
        self.app = assemble(BacktestingSettings.from_env(BACKTESTING_NAME, told), self.routes, self.registry)
        self.client: TestClient

    @contextmanager
    def served(self) -> Iterator[World]:
        with TestClient(self.app) as self.client:
            yield self

    def go(self, stage: Stage, epoch: int, sample: float | None = None) -> None:
        self.routes.write(route(stage, epoch, sample), self.routes.read(Component.BACKTESTING).version)
        until(lambda: self.told().get("epoch") == str(epoch), f"epoch {epoch} is followed")

    def told(self) -> Mapping[str, str]:
        records = self.registry.records(Component.BACKTESTING)
        return records[0].status if records else {}

    def submit(self, **change: object) -> Any:
        answer = self.client.post("/backtests", json={**ASKED, **change})
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def ended(self, run_id: str) -> Any:
        found: Any = {}

        def over() -> bool:
            found.update(self.client.get(f"/backtests/{run_id}").json())
            return found["state"] in ("done", "failed", "cancelled")

        until(over, f"the run has ended: {found}")
        return found


def route(stage: Stage, epoch: int, sample: float | None = None) -> Route:
    active = serving_backend(Component.BACKTESTING, stage)
    return Route(component=Component.BACKTESTING, stage=stage, active=active, epoch=epoch, sample=sample)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path).served() as made:
        yield made


def test_the_route_says_who_takes_a_run_and_a_run_ends_where_it_began(world: World) -> None:
    offer = world.client.get("/offer").json()
    assert (offer["serving"], offer["engines"]) == ("vectorbt", ["vectorbt"])
    first = world.submit()
    assert first["engine"] == "vectorbt"
    refused = world.client.post("/backtests", json={**ASKED, "engine": "nautilus"})
    assert refused.status_code == 422 and "not deployed now: vectorbt can run it" in refused.text
    world.go(Stage.SHADOW, 2)
    world.go(Stage.SCALE, 3)  # while the first is loading its engine
    assert world.submit()["engine"] == "nautilus"
    by_request = world.submit(engine="vectorbt", symbol="NASDAQ")
    assert by_request["engine"] == "vectorbt"
    assert world.ended(first["id"])["state"] == world.ended(by_request["id"])["state"] == "done"
    until(lambda: world.told()["vectorbt.under_way"] == "0", "nothing is under way at the engine that leaves")
    world.go(Stage.COMPLETE, 4)
    refused = world.client.post("/backtests", json={**ASKED, "engine": "vectorbt"})
    assert refused.status_code == 422 and "nautilus can run it" in refused.text
    world.go(Stage.SCALE, 5)
    world.go(Stage.SHADOW, 6)
    assert world.submit() == world.client.get(f"/backtests/{first['id']}").json()  # as it was, and readable for ever


def test_a_sample_is_done_by_both_and_what_came_of_it_is_kept(world: World) -> None:
    world.go(Stage.SHADOW, 2, 100.0)
    run = world.submit()
    world.ended(run["id"])
    until(lambda: world.client.get(f"/backtests/{run['id']}/divergence").status_code == 200, "it is compared")
    found = world.client.get(f"/backtests/{run['id']}/divergence").json()
    assert (found["same"], found["engines"], found["named"]) == (True, ["vectorbt", "nautilus"], [])
    assert found["bars"] == 5031 and found["fills"][0] > 100 and found["equity_apart"] < 1e-12
    page = world.client.get("/divergences").json()
    assert (page["compared"], page["differing"], len(page["items"])) == (1, 0, 1)
    until(lambda: world.told().get("compared") == "1", "it is told")
    world.go(Stage.SHADOW, 3)
    other = world.submit(symbol="NASDAQ")
    world.ended(other["id"])
    assert world.client.get(f"/backtests/{other['id']}/divergence").status_code == 404
    runs = world.client.get("/backtests").json()["items"]
    assert [one["twin_of"] for one in runs if one["twin_of"]] == [run["id"]]


def test_what_waits_and_what_runs_can_be_cancelled(world: World) -> None:
    first, second = world.submit(), world.submit(symbol="NASDAQ")
    assert world.client.post(f"/backtests/{second['id']}/cancel").json()["state"] == "cancelled"
    until(lambda: world.client.get(f"/backtests/{first['id']}").json()["state"] == "running", "it runs")
    world.client.post(f"/backtests/{first['id']}/cancel")
    assert world.ended(first["id"])["state"] == "cancelled"
    assert world.client.get(f"/backtests/{first['id']}/result").status_code == 409
    again = world.submit()
    assert (again["id"], world.ended(again["id"])["state"]) == (first["id"], "done")
    assert world.client.post(f"/backtests/{first['id']}/cancel").status_code == 409
    assert world.client.post(f"/backtests/{'0' * 32}/cancel").status_code == 404


def test_a_run_that_never_ends_is_ended_alone(tmp_path: Path) -> None:
    with World(tmp_path, {"BACKTESTING_LIMIT_SECONDS": "0.05"}).served() as world:
        world.go(Stage.SHADOW, 2)
        failed = world.ended(world.submit(engine="nautilus")["id"])
        assert failed["state"] == "failed"
        assert "it ran longer than 0.05 s, which is the limit of one run" in failed["error"]
        assert world.client.get("/healthz").status_code == 200


def test_a_run_that_takes_too_much_memory_fails_alone(tmp_path: Path) -> None:
    with World(tmp_path, {"BACKTESTING_LIMIT_MIB": "1"}).served() as world:
        failed = world.ended(world.submit(parameters={"fast": 10, "slow": 5_000_000})["id"])
        assert failed["state"] == "failed", failed
        assert "memory" in failed["error"].lower() or "MiB" in failed["error"], failed

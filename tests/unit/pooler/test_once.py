"""Before PgBouncer starts: the ini is that of the side that the route names, or nothing is written."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from adapters.postgres.driver import Address
from adapters.postgres.pooler_config import PoolerSettings, rendered
from adapters.routes.base import RouteMissing
from adapters.routes.memory import MemoryRouteStore
from contracts import names
from contracts.routes import Fence, Route
from contracts.stages import Component, Stage
from cutover.pooler.__main__ import Environment, main, write_once
from cutover.pooler.desk import INI, Desk, Memory
from cutover.pooler.sides import read_sides

POOL = PoolerSettings(folder="/run/pooler", logins="/etc/userlist.txt")
SIDES = {side: Address(side, 5432, "trading", "app", "pw", "disable") for side in ("hosted", "selfhosted")}
ROUTE = Route(component=Component.DATABASE, stage=Stage.SCALE, active="selfhosted", epoch=4)


def test_it_is_the_side_that_the_route_names(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert write_once(MemoryRouteStore(ROUTE), desk, SIDES, POOL) == "selfhosted"
    assert desk.ini == rendered(POOL, SIDES["selfhosted"])
    assert stat.S_IMODE((tmp_path / INI).stat().st_mode) == 0o600


def test_a_route_that_was_never_written_means_the_hosted_side(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert write_once(MemoryRouteStore(), desk, SIDES, POOL) == "hosted"
    assert desk.ini == rendered(POOL, SIDES["hosted"])


def test_under_a_fence_no_server_is_reached(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    fenced = ROUTE.model_copy(update={"fence": Fence(epoch=5, since="", holder="x")})
    assert "switch is under way" in write_once(MemoryRouteStore(fenced), desk, SIDES, POOL)
    assert desk.ini == rendered(POOL, None)


def test_a_pause_of_a_pooler_that_is_gone_is_forgotten_a_fence_that_was_given_up_is_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.memory = Memory(paused=True, epoch=5, side="hosted", at=1.0, refused=5)
    write_once(MemoryRouteStore(ROUTE), desk, SIDES, POOL)
    assert desk.memory == Memory(refused=5)


def test_a_route_that_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(RouteMissing):
        write_once(MemoryRouteStore(create=False), desk, SIDES, POOL, wait=0)
    assert desk.ini == ""


def test_a_side_without_an_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="selfhosted"):
        write_once(MemoryRouteStore(ROUTE), Desk(tmp_path), {"hosted": SIDES["hosted"]}, POOL)


def test_without_kubernetes_it_fails_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hosted").write_text("postgresql://app:s3cret@host/trading\n")
    monkeypatch.setenv(names.ENV_POOLER_SIDES, str(tmp_path))
    monkeypatch.setenv(names.ENV_POOLER_FOLDER, str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["--once"]) == 1
    assert "not guessed" in caplog.text
    assert not (tmp_path / INI).exists()
    assert "s3cret" not in caplog.text


def test_sides_are_read_from_files_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "hosted").write_text("postgresql://app:s3cret@db.example.com:6000/postgres?sslmode=require\n")
    (tmp_path / "other").write_text("x")
    sides = read_sides(tmp_path)
    assert sides == {"hosted": Address("db.example.com", 6000, "postgres", "app", "s3cret", "require")}


def test_memory_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.memory == Memory()
    (tmp_path / "agent.json").write_text("{")
    assert desk.memory == Memory()
    assert desk.route is None
    desk.route = ROUTE
    assert desk.route == ROUTE


def test_the_environment_has_defaults() -> None:
    given = Environment.read({names.ENV_POD_NAME: "database-pooler-x", names.ENV_POOLER_PAUSE: "1.5"})
    assert (given.pod, given.namespace, given.settings.pause_seconds) == ("database-pooler-x", "trading", 1.5)

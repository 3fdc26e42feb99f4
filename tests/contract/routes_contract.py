"""The contract of a route store, an adapter registry, bulletins and a switch lock, for the fake and the real one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from adapters.routes.base import AdapterRegistry, Bulletins, LockHeld, RouteConflict, RouteStore, SwitchLock
from contracts.registry import PROTOCOL_VERSION
from contracts.routes import Fence, HistoryEntry, Progress, Route, Segment
from contracts.stages import Component, Stage

BUS = Component.EVENT_BUS


@dataclass(slots=True)
class Routes:
    """One backend's parts."""

    store: RouteStore
    registry: AdapterRegistry
    lock: SwitchLock
    bulletins: Bulletins


def route(epoch: int = 1) -> Route:
    segment = Segment(backend="redis", epoch=1, start={"0": "0-0"})
    return Route(component=BUS, stage=Stage.MVP, active="redis", epoch=epoch, chains={"t": (segment,)})


class RoutesContract:
    """Subclasses give a fixture `routes`, new for each test, whose record exists and is empty."""

    def test_a_record_that_nobody_wrote_has_no_route(self, routes: Routes) -> None:
        assert routes.store.read(BUS).route is None

    def test_what_is_written_is_read(self, routes: Routes) -> None:
        written = routes.store.write(route(), routes.store.read(BUS).version)
        assert routes.store.read(BUS) == written
        fenced = route().model_copy(update={"fence": Fence(epoch=2, since="2026-01-01T00:00:00Z", holder="x")})
        again = routes.store.write(fenced, written.version)
        assert routes.store.read(BUS).route == fenced
        routes.store.write(route(2), again.version)
        assert routes.store.read(BUS).route == route(2)

    def test_a_journey_that_began_from_nothing_is_read_as_it_was_written(self, routes: Routes) -> None:
        began = Progress(from_stage=None, to_stage=Stage.MVP, step="establish", since="2026-01-01T00:00:00Z")
        ended = HistoryEntry(at="2026-01-01T00:00:01Z", from_stage=None, to_stage=Stage.MVP, epoch=1, outcome="holds")
        first = route().model_copy(update={"progress": began}).with_history(ended)
        routes.store.write(first, routes.store.read(BUS).version)
        assert routes.store.read(BUS).route == first

    def test_a_write_against_an_older_version_is_refused_and_changes_nothing(self, routes: Routes) -> None:
        first = routes.store.read(BUS)
        routes.store.write(route(1), first.version)
        with pytest.raises(RouteConflict):
            routes.store.write(route(9), first.version)
        found = routes.store.read(BUS).route
        assert found is not None and found.epoch == 1

    def test_a_watch_tells_what_is_and_what_changes(self, routes: Routes) -> None:
        seen: list[int] = []
        stop = threading.Event()
        version = routes.store.write(route(1), routes.store.read(BUS).version).version
        watcher = threading.Thread(
            target=routes.store.watch, args=(BUS, lambda r: seen.append(r.epoch), stop.is_set), daemon=True
        )
        watcher.start()
        _eventually(lambda: seen[-1:] == [1])
        for epoch in (2, 3, 4):
            version = routes.store.write(route(epoch), version).version
        _eventually(lambda: seen[-1:] == [4])
        assert seen == sorted(seen)
        stop.set()
        routes.store.write(route(5), version)  # wakes a watch that waits for the next change
        watcher.join(10)
        assert not watcher.is_alive()

    def test_an_adapter_is_known_until_it_withdraws(self, routes: Routes) -> None:
        routes.registry.announce(BUS, "pod-a.bus", "bus", 3)
        routes.registry.announce(BUS, "pod-a.bus", "bus", 4, status={"state": "held"})
        routes.registry.announce(BUS, "pod-b.bus", "bus", 1)
        records = {r.name: r for r in routes.registry.records(BUS)}
        assert set(records) == {"pod-a.bus", "pod-b.bus"}
        assert records["pod-a.bus"].acknowledged_epoch == 4
        assert [dict(records[name].status) for name in sorted(records)] == [{"state": "held"}, {}]
        assert records["pod-a.bus"].live and records["pod-a.bus"].protocol_version == PROTOCOL_VERSION
        routes.registry.withdraw(BUS, "pod-a.bus")
        routes.registry.withdraw(BUS, "pod-a.bus")
        assert [r.name for r in routes.registry.records(BUS)] == ["pod-b.bus"]

    def test_what_is_told_beside_the_adapters_is_read_and_no_fence_knows_of_it(self, routes: Routes) -> None:
        assert list(routes.bulletins.posted(BUS)) == []
        routes.bulletins.post(BUS, "pod-a", {"hosted": "1"})
        routes.bulletins.post(BUS, "pod-a", {"hosted": "2", "selfhosted": '{"a": "ü"}'})
        routes.bulletins.post(BUS, "pod-b", {})
        routes.bulletins.post(Component.DATABASE, "pod-a", {"of": "another"})
        found = {bulletin.name: bulletin for bulletin in routes.bulletins.posted(BUS)}
        assert {name: dict(one.status) for name, one in found.items()} == {
            "pod-a": {"hosted": "2", "selfhosted": '{"a": "ü"}'},
            "pod-b": {},
        }
        assert all(one.live for one in found.values())
        assert list(routes.registry.records(BUS)) == []

    def test_a_held_lock_refuses_another_holder_and_names_the_first(self, routes: Routes) -> None:
        routes.lock.acquire(BUS, "first", 0)
        routes.lock.acquire(BUS, "first", 0)
        routes.lock.renew(BUS, "first")
        with pytest.raises(LockHeld, match="first") as caught:
            routes.lock.acquire(BUS, "second", 0.1)
        assert caught.value.holder == "first"
        with pytest.raises(LockHeld):
            routes.lock.renew(BUS, "second")
        routes.lock.release(BUS, "second")
        with pytest.raises(LockHeld):
            routes.lock.acquire(BUS, "second", 0)
        routes.lock.release(BUS, "first")
        routes.lock.acquire(BUS, "second", 0)

    def test_a_newer_run_of_the_same_owner_is_given_way_to(self, routes: Routes) -> None:
        routes.lock.acquire(BUS, "first", 0, "stack-a")
        assert routes.lock.renew(BUS, "first") is None
        with pytest.raises(LockHeld, match="first"):
            routes.lock.acquire(BUS, "stranger", 0, "stack-b")
        with pytest.raises(LockHeld, match="first"):
            routes.lock.acquire(BUS, "nameless", 0)
        assert routes.lock.renew(BUS, "first") is None
        with pytest.raises(LockHeld, match="first"):
            routes.lock.acquire(BUS, "second", 0, "stack-a")
        assert routes.lock.renew(BUS, "first") == "second"
        routes.lock.release(BUS, "first")
        routes.lock.acquire(BUS, "second", 0, "stack-a")
        assert routes.lock.renew(BUS, "second") is None
        routes.lock.release(BUS, "second")


def _eventually(holds: object, seconds: float = 10.0) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)  # polling with a deadline

"""The in-memory routes keep the routes contract."""

from __future__ import annotations

import pytest

from adapters.routes.memory import MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.registry import LEASE_SECONDS
from contracts.stages import Component
from tests.contract.routes_contract import Routes, RoutesContract


class TestMemoryRoutes(RoutesContract):
    @pytest.fixture
    def routes(self) -> Routes:
        registry = MemoryRegistry()
        return Routes(MemoryRouteStore(), registry, MemoryLock(), registry)


def test_a_lock_whose_holder_stopped_renewing_is_taken_over() -> None:
    now = [0.0]
    lock = MemoryLock(lambda: now[0])
    lock.acquire(Component.EVENT_BUS, "dead", 0)
    now[0] += LEASE_SECONDS + 1
    lock.acquire(Component.EVENT_BUS, "next", 0)


def test_an_adapter_that_stopped_renewing_is_not_live() -> None:
    now = [0.0]
    registry = MemoryRegistry(lambda: now[0])
    registry.announce(Component.EVENT_BUS, "pod.bus", "bus", 1)
    now[0] += LEASE_SECONDS + 1
    assert not registry.records(Component.EVENT_BUS)[0].live


def test_a_bulletin_that_is_not_renewed_is_not_live() -> None:
    now = [0.0]
    registry = MemoryRegistry(lambda: now[0])
    registry.post(Component.DATABASE, "pod", {})
    now[0] += LEASE_SECONDS + 1
    assert not registry.posted(Component.DATABASE)[0].live

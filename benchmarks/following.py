"""How soon all adapters of a process follow a changed route: the fence's acknowledgement, and the new epoch.

The store is in memory: what the Kubernetes API adds to it, `make demo` shows as part of each pause.
"""

from __future__ import annotations

import statistics
import time

from adapters.event_bus.base import LogSettings
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from benchmarks.frame import Figure
from contracts.stages import Component

ADAPTERS = 20
CHANGES = 100
_PATIENCE_SECONDS = 10.0
_SETTINGS = LogSettings(topics=("followed",))


def _seen(buses: list[RoutedEventBus], epoch: int) -> float:
    """Seconds until all of `buses` follow `epoch`."""
    began = time.perf_counter()
    while any(bus.epoch < epoch for bus in buses):
        if time.perf_counter() - began > _PATIENCE_SECONDS:
            raise TimeoutError(f"not every adapter followed epoch {epoch} in {_PATIENCE_SECONDS:g} s")
        time.sleep(0.0005)  # the adapters' own threads go on meanwhile
    return time.perf_counter() - began


def figures() -> list[Figure]:
    """The slowest adapter of each change."""
    server, route = MemoryServer(), fixed_route("memory", _SETTINGS)
    store, registry = MemoryRouteStore(route), MemoryRegistry()
    buses = [
        RoutedEventBus(store, lambda name: MemoryLog(name, _SETTINGS, server), _SETTINGS, f"bench-{number}", registry)
        for number in range(ADAPTERS)
    ]
    try:
        _seen(buses, route.epoch)
        taken = []
        for _ in range(CHANGES):
            route = route.model_copy(update={"epoch": route.epoch + 1})
            store.write(route, store.read(Component.EVENT_BUS).version)
            taken.append(_seen(buses, route.epoch) * 1e3)
    finally:
        for bus in buses:
            bus.close()
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return [
        Figure(
            figure="route_change_seen_p99", value=cuts[98], unit="ms", limit=300, aim=100, at_most=True,
            how=f"until the last of {ADAPTERS} adapters follows, {CHANGES} changes, the store in memory; median "
            f"{cuts[49]:.1f}, IQR {cuts[24]:.1f} to {cuts[74]:.1f}, max {max(taken):.1f}",
        )
    ]  # fmt: skip

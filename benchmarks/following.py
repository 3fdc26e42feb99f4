"""How soon all adapters follow a changed route, through a real Kubernetes API server.

The route of a namespace of the benchmark's own is written, and each adapter is told by its watch.
Needs `make up`, and `. .crossover/env`.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator

from adapters.event_bus.base import LogSettings
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from adapters.routes.memory import MemoryRegistry
from benchmarks.frame import Figure
from contracts.routes import route_name
from contracts.stages import Component
from local.demo.commands import CommandFailed

ADAPTERS = 20
CHANGES = 100
_PATIENCE_SECONDS = 10.0
_SETTINGS = LogSettings(topics=("followed",))


def _kubectl(*arguments: str) -> None:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(["kubectl", *arguments], done.returncode, done.stderr)


@contextlib.contextmanager
def _namespace() -> Iterator[str]:
    """A namespace with an empty route in it, on the cluster of the environment."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    _kubectl("create", "namespace", name)
    try:
        _kubectl("create", "configmap", route_name(Component.EVENT_BUS), "--namespace", name)
        yield name
    finally:
        _kubectl("delete", "namespace", name, "--wait=false")


def _seen(buses: list[RoutedEventBus], epoch: int) -> float:
    """Seconds until all of `buses` follow `epoch`."""
    began = time.perf_counter()
    while any(bus.epoch < epoch for bus in buses):
        if time.perf_counter() - began > _PATIENCE_SECONDS:
            raise TimeoutError(f"not every adapter followed epoch {epoch} in {_PATIENCE_SECONDS:g} s")
        time.sleep(0.0005)  # the adapters' own threads go on meanwhile
    return time.perf_counter() - began


def _changes(namespace: str) -> list[float]:
    """Milliseconds from each change's write until the slowest adapter follows it, the write included."""
    server, route, registry = MemoryServer(), fixed_route("memory", _SETTINGS), MemoryRegistry()
    store = KubernetesRouteStore(namespace, connect())
    version = store.write(route, store.read(Component.EVENT_BUS).version).version
    buses = [
        RoutedEventBus(
            KubernetesRouteStore(namespace, connect()),
            lambda name: MemoryLog(name, _SETTINGS, server), _SETTINGS, f"bench-{number}", registry,
        )
        for number in range(ADAPTERS)
    ]  # fmt: skip
    taken = []
    try:
        _seen(buses, route.epoch)
        for _ in range(CHANGES):
            route = route.model_copy(update={"epoch": route.epoch + 1})
            began = time.perf_counter()
            version = store.write(route, version).version
            _seen(buses, route.epoch)
            taken.append((time.perf_counter() - began) * 1e3)
    finally:
        for bus in buses:
            bus.close()
    return taken


def figures() -> list[Figure]:
    """The slowest adapter of each change."""
    with _namespace() as namespace:
        taken = _changes(namespace)
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return [
        Figure(
            figure="route_change_seen_p99", value=cuts[98], unit="ms", limit=300, aim=100, at_most=True,
            how=f"from the write to the API server until the last of {ADAPTERS} adapters follows, {CHANGES} changes; "
            f"median {cuts[49]:.1f}, IQR {cuts[24]:.1f} to {cuts[74]:.1f}, max {max(taken):.1f}",
        )
    ]  # fmt: skip

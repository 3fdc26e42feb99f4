"""Routes, registry and lock in this process: the shipped fake, and a fixed route for a service
that is started without a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from adapters.routes.base import (
    AdapterRegistry,
    BackupNotes,
    Bulletins,
    ClusterAccess,
    ClusterNodes,
    GpuNode,
    LockHeld,
    Permission,
    RouteConflict,
    RouteError,
    RouteMissing,
    RouteStore,
    SwitchLock,
    Versioned,
)
from contracts.backups import BackupNote
from contracts.registry import LEASE_SECONDS, PROTOCOL_VERSION, AdapterRecord, Bulletin, Tail
from contracts.routes import Route
from contracts.stages import Component


class MemoryRouteStore(RouteStore):
    """Keeps routes in memory; many adapters of one process may share it."""

    def __init__(self, *routes: Route, create: bool = True) -> None:
        self._changed = threading.Condition()
        self._version = 1
        self._create = create
        self._routes: dict[Component, Versioned] = {r.component: Versioned(r, "1") for r in routes}

    def read(self, component: Component) -> Versioned:
        with self._changed:
            if component not in self._routes:
                if not self._create:
                    raise RouteMissing(f"no route record for {component.value}")
                self._routes[component] = Versioned(None, "0")
            return self._routes[component]

    def write(self, route: Route, version: str) -> Versioned:
        with self._changed:
            if self.read(route.component).version != version:
                raise RouteConflict(f"the route of {route.component.value} changed since version {version}")
            self._version += 1
            self._routes[route.component] = Versioned(route, str(self._version))
            self._changed.notify_all()
            return self._routes[route.component]

    def watch(self, component: Component, changed: Callable[[Route], None], stopped: Callable[[], bool]) -> None:
        seen = ""
        while not stopped():
            with self._changed:
                if self.read(component).version == seen:
                    self._changed.wait(0.2)  # a write wakes it; a stop does not
                current = self.read(component)
            if current.version != seen:
                seen = current.version
                if current.route is not None:
                    changed(current.route)


class MemoryRegistry(AdapterRegistry, Bulletins):
    """Adapter records and bulletins in memory. `clock` gives seconds, monotonic; `alter` makes records tell something
    else."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[tuple[Component, str], tuple[AdapterRecord, float]] = {}
        self._posted: dict[tuple[Component, str], tuple[dict[str, str], float]] = {}
        self.pods: set[str] = set()
        self.alter: Callable[[AdapterRecord], AdapterRecord] = lambda record: record

    def announce(
        self,
        component: Component,
        name: str,
        role: str,
        acknowledged_epoch: int,
        lag: Mapping[str, int] | None = None,
        stranded: Mapping[str, Tail] | None = None,
        status: Mapping[str, str] | None = None,
    ) -> None:
        told = AdapterRecord(
            name, role, acknowledged_epoch, PROTOCOL_VERSION, 0.0, dict(lag or {}), 0.0, dict(stranded or {}),
            dict(status or {}),
        )  # fmt: skip
        with self._lock:
            self._records[component, name] = told, self._clock()

    def withdraw(self, component: Component, name: str) -> None:
        with self._lock:
            self._records.pop((component, name), None)

    def records(self, component: Component) -> Sequence[AdapterRecord]:
        with self._lock:
            return [
                self.alter(replace(told, age_seconds=self._clock() - seen))
                for (owner, _), (told, seen) in self._records.items()
                if owner == component
            ]

    def present(self, component: Component) -> frozenset[str]:
        return frozenset(self.pods)

    def post(self, component: Component, name: str, status: Mapping[str, str]) -> None:
        with self._lock:
            self._posted[component, name] = dict(status), self._clock()

    def posted(self, component: Component) -> Sequence[Bulletin]:
        with self._lock:
            return [
                Bulletin(name, status, self._clock() - at)
                for (owner, name), (status, at) in self._posted.items()
                if owner == component
            ]


@dataclass(slots=True)
class _Held:
    holder: str
    owner: str
    since: float
    renewed: float
    wanted_by: str | None = None


class MemoryLock(SwitchLock):
    """A lock in memory with the rules of a Lease. `clock` gives seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._held: dict[Component, _Held] = {}

    def acquire(self, component: Component, holder: str, wait: float, owner: str = "") -> None:
        deadline = self._clock() + wait
        with self._changed:
            while (held := self._held.get(component)) and held.holder != holder:
                now = self._clock()
                if now - held.renewed > LEASE_SECONDS:
                    break
                if owner and owner == held.owner:
                    held.wanted_by = holder
                if now >= deadline:
                    raise LockHeld(component, held.holder, f"{now - held.since:.1f} s ago")
                self._changed.wait(0.05)
            self._held[component] = _Held(holder, owner, self._clock(), self._clock())

    def renew(self, component: Component, holder: str) -> str | None:
        with self._changed:
            held = self._held.get(component)
            if held is None or held.holder != holder:
                raise LockHeld(component, held.holder if held else "nobody", "an unknown time")
            held.renewed = self._clock()
            return held.wanted_by

    def release(self, component: Component, holder: str) -> None:
        with self._changed:
            if component in self._held and self._held[component].holder == holder:
                del self._held[component]
                self._changed.notify_all()


class MemoryAccess(ClusterAccess):
    """Has the rights in `granted`; the store's clock is `ahead` seconds. While `failure` is set, both raise it."""

    def __init__(self, granted: Collection[Permission] = ()) -> None:
        self.granted = set(granted)
        self.ahead = 0.0
        self.failure: RouteError | None = None

    def allows(self, permission: Permission) -> bool:
        self._check()
        return permission in self.granted

    def clock_ahead(self) -> tuple[float, float]:
        self._check()
        return self.ahead, 0.0

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryBackupNotes(BackupNotes):
    """Keeps one note."""

    def __init__(self, note: BackupNote | None = None) -> None:
        self._note = note

    def read(self) -> BackupNote | None:
        return self._note

    def write(self, note: BackupNote) -> None:
        self._note = note


class MemoryNodes(ClusterNodes):
    """Has the nodes that it was given. While `failure` is set, asking raises it."""

    def __init__(self, *nodes: GpuNode) -> None:
        self.nodes = list(nodes)
        self.failure: RouteError | None = None

    def with_gpus(self) -> Sequence[GpuNode]:
        if self.failure is not None:
            raise self.failure
        return tuple(self.nodes)

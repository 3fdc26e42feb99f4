"""Routes and adapter records in files: for tests in which adapters are processes of their own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adapters.routes.base import AdapterRegistry, RouteConflict, RouteStore, Versioned
from contracts.registry import PROTOCOL_VERSION, AdapterRecord, Tail
from contracts.routes import Route
from contracts.stages import Component

_LOOK_SECONDS = 0.02


def _replace(path: Path, text: str) -> None:
    """Readers see the old content or the new one, whole."""
    aside = path.with_name(f"{path.name}.{threading.get_ident()}")
    aside.write_text(text)
    aside.rename(path)


class FileRouteStore(RouteStore):
    """One route in one file. One process writes; any may read and watch."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "route.json"
        self._lock = threading.Lock()

    def read(self, component: Component) -> Versioned:
        if not self._path.exists():
            return Versioned(None, "0")
        found = json.loads(self._path.read_text())
        return Versioned(Route.model_validate_json(found["route"]), found["version"])

    def write(self, route: Route, version: str) -> Versioned:
        with self._lock:
            if self.read(route.component).version != version:
                raise RouteConflict(f"the route changed since version {version}")
            now = str(int(version) + 1)
            _replace(self._path, json.dumps({"version": now, "route": route.model_dump_json()}))
            return Versioned(route, now)

    def watch(self, component: Component, changed: Callable[[Route], None], stopped: Callable[[], bool]) -> None:
        seen = ""
        while not stopped():
            current = self.read(component)
            if current.version != seen and current.route is not None:
                seen = current.version
                changed(current.route)
            time.sleep(_LOOK_SECONDS)  # a file announces nothing


class FileRegistry(AdapterRegistry):
    """One record a file. `pods`: those that are there, as the test says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "adapters"
        self._folder.mkdir(exist_ok=True)
        self.pods: set[str] = set()

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
        record = {"role": role, "epoch": acknowledged_epoch, "at": time.time(), "lag": dict(lag or {})}
        _replace(self._folder / name, json.dumps(record))

    def withdraw(self, component: Component, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def records(self, component: Component) -> Sequence[AdapterRecord]:
        found = []
        for path in sorted(self._folder.glob("*.bus")):
            record = json.loads(path.read_text())
            age = time.time() - record["at"]
            found.append(
                AdapterRecord(path.name, record["role"], record["epoch"], PROTOCOL_VERSION, age, record["lag"], 0.0)
            )
        return found

    def present(self, component: Component) -> frozenset[str]:
        return frozenset(self.pods)

"""Which engine takes a run, by the route; and what the service tells the cutover of itself."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import override

from adapters.routes import AdapterRegistry, RouteStore
from contracts.names import BACKTESTING_NAME
from contracts.routes import Route
from contracts.stages import BACKENDS, Component, Stage, deployed_backends, other_backend
from services.common.following import RouteFollower

COMPONENT = Component.BACKTESTING


class NotServed(ValueError):
    """The engine that was asked for is not deployed at this stage."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a route means: new runs go to `active`, or to one of `deployed` by request; `sample` percent of the runs of
    the one are done by the other, too."""

    epoch: int
    active: str
    deployed: frozenset[str]
    sample: float = 0.0

    def engine(self, asked: str | None) -> str:
        """Who takes a run for which `asked` is named. Raises NotServed."""
        if asked is None:
            return self.active
        if asked not in self.deployed:
            raise NotServed(
                f"engine is {asked!r}, which is not deployed now: {', '.join(sorted(self.deployed))} can run it. "
                "Leave it out for the one that serves"
            )
        return asked

    def second(self, run_id: str, engine: str) -> str | None:
        """Who does a run of `engine` too, for comparison: the same runs are sampled whenever it is asked."""
        if engine != self.active or len(self.deployed) < 2:
            return None
        place = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4]) / (1 << 32) * 100
        return other_backend(COMPONENT, engine) if place < self.sample else None


def fixed(engine: str) -> Plan:
    """Of a service that is started without a cluster."""
    return Plan(0, engine, frozenset({engine}))


def plan_of(route: Route) -> Plan:
    """What `route` means."""
    deployed = deployed_backends(COMPONENT, route.stage)
    if route.sample is not None:  # one joins, and is tried before the stage is recorded
        deployed |= frozenset(BACKENDS[COMPONENT].values())
    return Plan(route.epoch, route.active, deployed, route.sample or 0.0)


class Tally:
    """By engine: runs that wait or run now, and what ended in this epoch: done, failed; and of the runs that both did,
    how many were compared, and differ. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._counts: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()

    def begin(self, epoch: int) -> None:
        """Count anew for `epoch`."""
        with self._lock:
            if epoch != self._epoch:
                self._epoch = epoch
                self._counts.clear()

    def under_way(self, engine: str, more: int) -> None:
        """`more` runs of `engine` than before."""
        with self._lock:
            self._under_way[engine] += more

    def count(self, what: str, engine: str = "") -> None:
        """One more of `what` (done, failed; compared, differing without an engine)."""
        with self._lock:
            self._counts[f"{engine}.{what}" if engine else what] += 1

    def status(self) -> dict[str, str]:
        """As it is told."""
        with self._lock:
            told = {"epoch": str(self._epoch)}
            told |= {f"{engine}.under_way": str(self._under_way[engine]) for engine in BACKENDS[COMPONENT].values()}
            return told | {name: str(count) for name, count in sorted(self._counts.items())}


class Follower(RouteFollower):
    """The plan is exchanged whole by the watching thread, and read without a lock."""

    component = COMPONENT
    role = BACKTESTING_NAME

    def __init__(
        self, store: RouteStore, registry: AdapterRegistry | None, name: str, tally: Tally, changed: Callable[[], None]
    ) -> None:
        self._tally = tally
        self._changed = changed
        # Before there is a route nothing was ever moved: the old engine serves.
        self._plan = plan_of(Route(component=COMPONENT, stage=Stage.MVP, active="vectorbt", epoch=1))
        super().__init__(store, registry, name)

    def plan(self) -> Plan:
        """What the newest route means."""
        return self._plan

    @property
    @override
    def epoch(self) -> int:
        return self._plan.epoch

    @override
    def status(self) -> Mapping[str, str]:
        return self._tally.status()

    @override
    def take(self, route: Route) -> None:
        plan = plan_of(route)
        if plan != self._plan:
            self._tally.begin(plan.epoch)
            self._plan = plan
            self._changed()
            self.tell_soon()

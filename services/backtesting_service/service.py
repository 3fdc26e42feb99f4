"""The backtesting service as a whole."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from adapters.backtesting import engine_problem
from adapters.csv_bars import load_bars
from adapters.routes import AdapterRegistry, RouteStore
from contracts.stages import BACKENDS
from services.backtesting_service.api import create_api
from services.backtesting_service.histories import Histories
from services.backtesting_service.imports import Imports
from services.backtesting_service.own_strategies import know
from services.backtesting_service.pools import JobLimits
from services.backtesting_service.routing import COMPONENT, Follower, Plan, Tally, fixed
from services.backtesting_service.runs import Runs
from services.backtesting_service.settings import BacktestingSettings
from services.backtesting_service.store import RunStore
from services.backtesting_service.sweeps import Sweeps
from services.common.runner import Abort
from services.common.web import Health

STOP_SECONDS = 20.0
"""How long running backtests may take at the end, in seconds."""


class Backtesting:
    """The runs, and who follows the route where there is one, as a Lifecycle."""

    def __init__(self, runs: Runs, follower: Follower | None = None) -> None:
        self._runs = runs
        self._follower = follower

    def start(self) -> None:
        """See Lifecycle."""
        self._runs.start()
        if self._follower is not None:
            self._follower.start()

    def stop(self) -> None:
        """See Lifecycle."""
        self._runs.stop(STOP_SECONDS)
        if self._follower is not None:
            self._follower.stop()


class _Later:
    """Told to a follower before there are runs to tell."""

    def __init__(self) -> None:
        self.runs: Runs | None = None

    def __call__(self) -> None:
        if self.runs is not None:
            self.runs.changed()


def assemble(settings: BacktestingSettings, store: RouteStore, registry: AdapterRegistry | None) -> FastAPI:
    """The app over the route in `store`."""
    tally, changed = Tally(), _Later()
    follower = Follower(store, registry, settings.adapter_name, tally, changed)
    changed.runs = runs = _runs(settings, follower.plan, tally)
    ready = {"route": follower.ready, **{f"engine {name}": _probe(name) for name in BACKENDS[COMPONENT].values()}}
    health = Health(ready=ready, live={"runs": runs.alive})
    return _api(settings, runs, health, Backtesting(runs, follower))


def _runs(settings: BacktestingSettings, plan: Callable[[], Plan], tally: Tally) -> Runs:
    limits = JobLimits(settings.limit_seconds, settings.limit_mib)
    return Runs(
        RunStore(settings.results), plan, Histories(settings.sources, settings.data), settings.workers, tally=tally,
        limits=limits, strategies=settings.strategies,
    )  # fmt: skip


def _api(settings: BacktestingSettings, runs: Runs, health: Health, lifecycle: Backtesting) -> FastAPI:
    imports = None if settings.data is None else Imports(settings.data, settings.bars_mib)
    sweeps = Sweeps(settings.sweeps, runs.plan, runs.histories.of_sweeps, settings.strategies)
    return create_api(runs, runs.store, health, lifecycle, imports=imports, sweeps=sweeps)


def _probe(engine: str) -> Callable[[], str | None]:
    return lambda: engine_problem(engine)


def build(settings: BacktestingSettings, abort: Abort) -> FastAPI:
    """The app, with real workers. Raises BarsError where a history cannot be used."""
    del abort
    know(settings.strategies)
    for path in settings.sources.values():
        load_bars(path)
    if not settings.routes:
        plan = fixed(settings.engine)
        runs = _runs(settings, lambda: plan, Tally())
        health = Health(ready={"engine": _probe(settings.engine)}, live={"runs": runs.alive})
        return _api(settings, runs, health, Backtesting(runs))
    # Imported here: a service that is started without a cluster does not pay for the client.
    from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect

    api = connect()
    return assemble(
        settings, KubernetesRouteStore(settings.namespace, api), KubernetesRegistry(settings.namespace, api)
    )

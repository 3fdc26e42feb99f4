"""The backtesting service as a whole."""

from __future__ import annotations

from fastapi import FastAPI

from adapters.backtesting import engine_problem
from services.backtesting_service.api import create_api
from services.backtesting_service.runs import Runs
from services.backtesting_service.settings import BacktestingSettings
from services.backtesting_service.store import RunStore
from services.common.bars import load_bars
from services.common.runner import Abort
from services.common.web import Health

STOP_SECONDS = 20.0
"""How long running backtests may take at the end, in seconds."""


class Backtesting:
    """The runs, as a Lifecycle."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def start(self) -> None:
        """See Lifecycle."""
        self._runs.start()

    def stop(self) -> None:
        """See Lifecycle."""
        self._runs.stop(STOP_SECONDS)


def build(settings: BacktestingSettings, abort: Abort) -> FastAPI:
    """The app, with real workers. Raises BarsError where a history cannot be used."""
    del abort
    for path in settings.sources.values():
        load_bars(path)
    store = RunStore(settings.results)
    runs = Runs(store, settings.engine, settings.sources, settings.workers)
    health = Health(ready={"engine": lambda: engine_problem(settings.engine)}, live={"runs": runs.alive})
    return create_api(runs, store, health, Backtesting(runs))

"""The OpenAPI documents of the services: `python -m services.openapi` writes docs/api, `--check` compares."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi import FastAPI

from adapters.database.memory import MemoryTradingStore
from adapters.llm.memory import MemoryChat
from adapters.routes.memory import MemoryRouteStore
from contracts import names
from contracts.llm import REQUIRED_ALIASES, Endpoint, Endpoints
from services.backtesting_service.api import create_api as backtesting_api
from services.backtesting_service.histories import Histories
from services.backtesting_service.routing import fixed
from services.backtesting_service.runs import Runs
from services.backtesting_service.store import RunStore
from services.backtesting_service.sweeps import Sweeps
from services.common.web import Health
from services.llm_orchestrator.service import assemble, fixed_route
from services.llm_orchestrator.settings import OrchestratorSettings
from services.market_feed.feed import FeedState
from services.market_feed.service import create_api as feed_api
from services.trading_engine.api import create_api as trading_api

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "api"


def _backtesting() -> FastAPI:
    store = RunStore(Path("/nonexistent"))
    runs = Runs(store, lambda: fixed("memory"), Histories({}), 1)
    sweeps = Sweeps(Path("/nonexistent"), runs.plan, runs.histories.of_sweeps)
    return backtesting_api(runs, store, Health(), sweeps=sweeps)


def _orchestrator() -> FastAPI:
    endpoint = Endpoint(base_url="http://model/v1", model="model")
    endpoints = Endpoints({"hosted": dict.fromkeys(REQUIRED_ALIASES, endpoint)})
    settings = OrchestratorSettings.from_env(
        names.LLM_ORCHESTRATOR_NAME, {names.ENV_LLM_ENDPOINTS: endpoints.to_json()}
    )
    return assemble(settings, MemoryRouteStore(fixed_route("hosted")), None, lambda side, url: MemoryChat())


def _feed() -> FastAPI:
    return feed_api(lambda: FeedState(rate=0, symbols=(), published=0, failed=0, in_flight=0), Health())


APPS: Mapping[str, Callable[[], FastAPI]] = {
    names.TRADING_ENGINE_NAME: lambda: trading_api(MemoryTradingStore(), Health()),
    names.LLM_ORCHESTRATOR_NAME: _orchestrator,
    names.BACKTESTING_NAME: _backtesting,
    names.MARKET_FEED_NAME: _feed,
}
"""The apps by service, over fakes: a document depends on routes and models only."""


def documents() -> dict[str, str]:
    """File name -> content, as they should stand in docs/api."""
    return {
        f"{service}.json": json.dumps(make().openapi(), indent=2, ensure_ascii=False) + "\n"
        for service, make in APPS.items()
    }


def stale() -> list[str]:
    """The files of docs/api that are not what the services serve."""
    return [
        name
        for name, content in documents().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != content
    ]


def main(arguments: list[str]) -> int:
    """Write the documents, or with --check say which are not current; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a document is not current")
    if parser.parse_args(arguments).check:
        old = stale()
        for name in old:
            sys.stderr.write(f"docs/api/{name} is not what the service serves. Run: python -m services.openapi\n")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (FOLDER / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

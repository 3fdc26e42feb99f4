"""The trading engine, the orchestrator and the feed with their real APIs and engine, over the shipped fakes, in one
process: `python -m tests.contract.played_backend PORT PORT PORT`. A bar of one key comes every tenth of a second.
PLAYED_FORGETS: positions are told as if they were of nothing."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import uvicorn
from fastapi import FastAPI

from adapters.backtesting.strategies import SmaCross
from adapters.database.base import Position
from adapters.database.memory import MemoryTradingStore
from adapters.llm.memory import MemoryChat
from adapters.routes.memory import MemoryRouteStore
from contracts import names
from contracts.envelope import Event
from contracts.llm import REQUIRED_ALIASES, Endpoint, Endpoints
from contracts.market import BAR_TYPE, Bar, encode_tick
from services.common.web import Health
from services.llm_orchestrator.service import assemble, fixed_route
from services.llm_orchestrator.settings import OrchestratorSettings
from services.market_feed.feed import FeedState
from services.market_feed.service import create_api as feed_api
from services.trading_engine.api import create_api as trading_api
from services.trading_engine.consumer import BatchHandler
from services.trading_engine.engine import Engine

CLOSES = (10.0, 9.0, 8.0, 12.0, 14.0, 15.0, 9.0, 7.0, 6.0)
BEGUN = 40
"""Bars that have been before anybody asks."""


class Forgetful(MemoryTradingStore):
    """Tells of positions as if each were of one unit more."""

    def positions(self, *, after: str = "", limit: int = 100) -> Sequence[Position]:
        return [replace(one, quantity=one.quantity + 1) for one in super().positions(after=after, limit=limit)]


def trading() -> FastAPI:
    """The engine's API, with an engine that trades."""
    store = Forgetful() if os.environ.get("PLAYED_FORGETS") else MemoryTradingStore()
    counter = itertools.count(1)
    handle = BatchHandler(
        store,
        Engine(SmaCross(1, 3), Decimal(100), lambda: f"id-{next(counter)}"),
        "trading-engine",
        lambda signals: None,
    )

    def bar(number: int) -> Event:
        close = CLOSES[number % len(CLOSES)]
        made = Bar(
            date=date(2020, 1, 1) + timedelta(days=number), open=close, high=close, low=close, close=close, volume=1.0
        )
        tick = encode_tick("X", number, made)
        return Event.create(names.MARKET_DATA, "X", tick, source="played", type=BAR_TYPE)

    handle([bar(number) for number in range(BEGUN)])
    store.set_comment(store.signals()[0].signal.signal_id, "a crossover")

    def trade() -> None:
        for number in itertools.count(BEGUN):
            time.sleep(0.1)  # the market's own pace
            handle([bar(number)])

    threading.Thread(target=trade, daemon=True).start()
    return trading_api(store, Health())


def orchestrator() -> FastAPI:
    """The orchestrator's API, over a fake that answers."""
    endpoints = Endpoints({"hosted": dict.fromkeys(REQUIRED_ALIASES, Endpoint(base_url="http://m/v1", model="model"))})
    settings = OrchestratorSettings.from_env(
        names.LLM_ORCHESTRATOR_NAME, {names.ENV_LLM_ENDPOINTS: endpoints.to_json()}
    )
    return assemble(
        settings, MemoryRouteStore(fixed_route("hosted")), None, lambda side, url: MemoryChat(models=("model",))
    )


def feed() -> FastAPI:
    """The feed's API."""
    return feed_api(lambda: FeedState(rate=10, symbols=("X",), published=1, failed=0, in_flight=0), Health())


def serve(app: FastAPI, port: int) -> None:
    """Serve `app` for as long as the process lasts."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()


if __name__ == "__main__":
    for made, at in zip((trading, orchestrator, feed), sys.argv[1:], strict=True):
        serve(made(), int(at))
    threading.Event().wait()

"""The market feed as a whole."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from adapters.csv_bars import load_bars
from adapters.event_bus import EventBus, open_bus
from contracts.names import MARKET_FEED_NAME
from services.common.runner import Abort
from services.common.web import Health, Lifecycle, create_app
from services.market_feed.feed import Feed, FeedState
from services.market_feed.settings import FeedSettings

STOP_SECONDS = 15.0
"""How long what is in flight may take at the end, in seconds."""
_DESCRIPTION = "Publishes daily bars on market_data at a chosen rate, one key a symbol."


class FeedModel(BaseModel):
    """What the feed has done since it started. Counts are events, `rate` is events per second."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    rate: float
    symbols: tuple[str, ...]
    published: int
    failed: int
    in_flight: int


class MarketFeed:
    """The feed with the bus that it owns."""

    def __init__(self, feed: Feed, bus: EventBus) -> None:
        self._feed = feed
        self._bus = bus

    def start(self) -> None:
        """See Lifecycle."""
        self._feed.start()

    def stop(self) -> None:
        """See Lifecycle."""
        self._feed.stop(STOP_SECONDS)
        self._bus.close(STOP_SECONDS)


def create_api(state: Callable[[], FeedState], health: Health, lifecycle: Lifecycle | None = None) -> FastAPI:
    """The app of the market feed."""
    app = create_app(MARKET_FEED_NAME, "Market feed", _DESCRIPTION, health=health, lifecycle=lifecycle)

    @app.get("/feed", tags=["feed"])
    def feed() -> FeedModel:
        """What has been published so far."""
        return FeedModel.model_validate(state())

    return app


def build(settings: FeedSettings, abort: Abort) -> FastAPI:
    """The market feed's app, with real adapters. Raises BarsError where a file cannot be used."""
    del abort
    bars = {symbol: load_bars(path) for symbol, path in settings.sources.items()}
    bus = open_bus(MARKET_FEED_NAME)
    feed = Feed(bus, bars, settings.rate)
    health = Health(ready={"event_bus": bus.ready}, live={"feed": feed.alive})
    return create_api(lambda: feed.state, health, MarketFeed(feed, bus))

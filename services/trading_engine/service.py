"""The trading engine as a whole: what starts, what is watched, what ends in which order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal

from fastapi import FastAPI

from adapters.database import TradingStore, open_store
from adapters.database.errors import DatabaseError, PermanentDatabaseError
from adapters.event_bus import EventBus, Subscription, open_bus
from adapters.llm import ChatBackend, open_backend
from contracts.envelope import new_event_id
from contracts.market import Signal
from contracts.names import MARKET_DATA, TRADING_ENGINE_NAME
from services.common.runner import Abort
from services.common.web import Health, cached
from services.trading_engine.api import create_api
from services.trading_engine.commenter import Commenter
from services.trading_engine.consumer import BatchHandler
from services.trading_engine.engine import Engine
from services.trading_engine.outbox import OutboxPublisher
from services.trading_engine.settings import TradingSettings

STOP_SECONDS = 10.0
"""How long each part may take to end, in seconds."""

_log = logging.getLogger(__name__)


class TradingEngine:
    """Migrates, then subscribes. A database that is away at the start is waited for; one that
    refuses for good ends the process through `abort`."""

    def __init__(
        self,
        settings: TradingSettings,
        store: TradingStore,
        bus: EventBus,
        connect: Callable[[], ChatBackend] | None,
        abort: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._bus = bus
        self._abort = abort
        self._stopping = threading.Event()
        self._subscription: Subscription | None = None
        self._outbox = OutboxPublisher(
            store, bus, holder=new_event_id(), retention=timedelta(hours=settings.retention_hours)
        )
        self._commenter = (
            Commenter(store, connect, interval=settings.comment_interval, timeout=settings.comment_timeout)
            if connect
            else None
        )
        engine = Engine(settings.strategy, Decimal(repr(settings.notional)), new_event_id)
        self._handler = BatchHandler(store, engine, settings.group, self._made)
        self._starter = threading.Thread(target=self._begin, name="starter", daemon=True)

    # -- Lifecycle

    def start(self) -> None:
        """See Lifecycle."""
        self._starter.start()

    def stop(self) -> None:
        """See Lifecycle: first no more events, then what they left, then connections."""
        self._stopping.set()
        self._starter.join(STOP_SECONDS)
        if self._subscription is not None:
            self._subscription.close(STOP_SECONDS)
        if self._commenter is not None:
            self._commenter.stop(STOP_SECONDS)
        self._outbox.stop(STOP_SECONDS)
        self._bus.close(STOP_SECONDS)
        self._store.close()

    def _begin(self) -> None:
        while not self._stopping.is_set():
            try:
                applied = self._store.migrate()
            except PermanentDatabaseError as error:
                self._abort(f"the schema cannot be brought up to date: {error}")
                return
            except DatabaseError as error:
                _log.warning("waiting for the database: %s", error)
                self._stopping.wait(1.0)
                continue
            _log.info("the schema is up to date", extra={"applied": list(applied)})
            self._outbox.start()
            if self._commenter is not None:
                self._commenter.start()
            settings = self._settings
            self._subscription = self._bus.subscribe(
                [MARKET_DATA], settings.group, self._handler, max_batch=settings.max_batch
            )
            return

    def _made(self, signals: Sequence[Signal]) -> None:
        self._outbox.wake()
        if self._commenter is not None:
            self._commenter.offer(signals)

    # -- health

    @property
    def health(self) -> Health:
        """The probes."""
        return Health(
            ready={"database": cached(self._database, 2.0), "event_bus": self._bus.ready, "start": self._started},
            live={"subscription": self._failure, "outbox": self._sending},
        )

    def _database(self) -> str | None:
        try:
            self._store.ping()
        except DatabaseError as error:
            return str(error)
        return None

    def _started(self) -> str | None:
        return None if self._subscription is not None else "the schema is not up to date yet: nothing is consumed"

    def _failure(self) -> str | None:
        failure = self._subscription.failure if self._subscription is not None else None
        return f"the subscription ended: {failure}" if failure is not None else None

    def _sending(self) -> str | None:
        return None if self._subscription is None or self._outbox.alive else "the outbox is not being sent"


def build(settings: TradingSettings, abort: Abort) -> FastAPI:
    """The trading engine's app, with real adapters."""
    store = open_store(settings.database_url.get_secret_value(), application=TRADING_ENGINE_NAME)
    bus = open_bus(TRADING_ENGINE_NAME)
    url = settings.llm_url
    connect = (lambda: open_backend("llm-orchestrator", url, None, timeout=settings.comment_timeout)) if url else None
    engine = TradingEngine(settings, store, bus, connect, abort)
    return create_api(store, engine.health, engine)

"""Takes batches from the bus: each event's effects, and the note that it had them, in one transaction."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from adapters.database import TradingStore
from adapters.database.base import Effects, Received, TradingTx
from adapters.database.errors import DatabaseError, InvalidRequest
from adapters.event_bus import RejectEvent, RetryableError
from contracts.envelope import Event
from contracts.market import MalformedPayload, Signal, parse_tick
from services.common import metrics
from services.trading_engine.engine import Engine, Incoming


class BatchHandler:
    """The handler of the subscription. `made` is told of the signals of each batch, once committed."""

    def __init__(
        self, store: TradingStore, engine: Engine, group: str, made: Callable[[Sequence[Signal]], None]
    ) -> None:
        self._store = store
        self._engine = engine
        self._group = group
        self._made = made

    def __call__(self, events: Sequence[Event]) -> None:
        """Raises RejectEvent for a malformed event, RetryableError where the database is away."""
        begun = time.perf_counter()
        bars = [self._read(event) for event in events]
        received = [_received(event, bar) for event, bar in zip(events, bars, strict=True)]
        effects, taken = self._commit(received, bars)
        metrics.BATCH_SECONDS.observe(time.perf_counter() - begun)
        metrics.EVENTS_TAKEN.labels(self._group).inc(taken)
        metrics.EVENTS_REPEATED.labels(self._group).inc(len(events) - taken)
        for signal in effects.signals:
            metrics.SIGNALS.labels(signal.side.value).inc()
        if effects.signals:
            self._made(effects.signals)

    def _read(self, event: Event) -> Incoming:
        try:
            return Incoming(event.id, event.key, parse_tick(event.payload))
        except MalformedPayload as error:
            metrics.EVENTS_REJECTED.labels(self._group).inc()
            raise RejectEvent(event.id, f"the payload is no bar: {error}") from error

    def _commit(self, received: Sequence[Received], bars: Sequence[Incoming]) -> tuple[Effects, int]:
        def work(tx: TradingTx) -> tuple[Effects, int]:
            # An id that came twice in this batch is claimed once, and takes effect where it came first.
            open_ids = set(tx.claim(self._group, received))
            fresh = []
            for bar in bars:
                if bar.event_id in open_ids:
                    open_ids.discard(bar.event_id)
                    fresh.append(bar)
            if not fresh:
                return Effects(), 0
            known = tx.load(self._engine.strategy.name, [bar.key for bar in fresh])
            effects = self._engine.decide(known, fresh)
            tx.write(effects)
            return effects, len(fresh)

        try:
            return self._store.run(work)
        except InvalidRequest:
            # These very events cannot be written: the bus tries them one by one, and sets the culprit aside.
            raise
        except DatabaseError as error:
            # The events are good. Whatever is wrong with the database, they must wait, not be set aside.
            raise RetryableError(f"the batch waits for the database: {error}") from error


def _received(event: Event, bar: Incoming) -> Received:
    return Received(
        event_id=event.id,
        topic=event.topic,
        key=event.key,
        sequence=bar.tick.sequence,
        payload_sha256=hashlib.sha256(event.payload).digest(),
    )

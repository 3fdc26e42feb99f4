"""Which bar comes next, and the thread that publishes it when it is due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from adapters.event_bus import EventBus, EventBusError, Receipt
from contracts.market import BAR_TYPE, Bar, encode_tick
from contracts.names import MARKET_DATA
from services.common import metrics

TICK_SECONDS = 0.02
"""How long the publisher sleeps between bursts, in seconds: at 1,000 events/s a burst has 20."""
MAX_BEHIND_SECONDS = 1.0
"""A feed that was held up (a fence, a slow bus) catches up with at most this much of its rate: the
rest is skipped in time, never in sequence."""
MAX_IN_FLIGHT = 2_000
"""Events not known to be durable yet; beyond it the feed waits for the bus."""
ERROR_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


def ticks(bars: Mapping[str, Sequence[Bar]]) -> Iterator[tuple[str, int, Bar]]:
    """(symbol, sequence, bar) for ever: the symbols by turns, each over its own bars again and again. The
    sequence counts the bars of the symbol from 0 and goes on when the data starts anew."""
    sequence = 0
    while True:
        for symbol, history in bars.items():
            yield symbol, sequence, history[sequence % len(history)]
        sequence += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What the feed has done since it started. Counts are events, the rate events per second."""

    rate: float
    symbols: tuple[str, ...]
    published: int
    failed: int
    in_flight: int


class Feed:
    """Publishes `bars` at `rate`, the symbol as key. The bus itself tries again for its publish timeout; an
    event that it then gives up is counted and passed over, for newer bars of its key are on their way."""

    def __init__(self, bus: EventBus, bars: Mapping[str, Sequence[Bar]], rate: float) -> None:
        self._bus = bus
        self._rate = rate
        self._symbols = tuple(bars)
        self._ticks = ticks(bars)
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._in_flight = 0
        self._published = 0
        self._failed = 0
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Publish nothing more, and wait for what is in flight; seconds in all."""
        deadline = time.monotonic() + timeout
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._changed:
            done = self._changed.wait_for(lambda: self._in_flight == 0, max(0.0, deadline - time.monotonic()))
        if not done:
            _log.warning("%d bars were not known to be durable when the feed ended", self._in_flight)

    @property
    def state(self) -> FeedState:
        """The counts now."""
        with self._changed:
            return FeedState(
                rate=self._rate,
                symbols=self._symbols,
                published=self._published,
                failed=self._failed,
                in_flight=self._in_flight,
            )

    def alive(self) -> str | None:
        """A probe: whether the thread runs."""
        started = self._thread.ident is not None
        return "the publishing thread ended" if started and not self._thread.is_alive() else None

    def _run(self) -> None:
        if self._rate == 0:
            self._stopped.wait()
            return
        begun, sent = time.monotonic(), 0
        while not self._stopped.wait(TICK_SECONDS):
            now = time.monotonic()
            if (now - begun) * self._rate - sent > MAX_BEHIND_SECONDS * self._rate:
                begun, sent = now - MAX_BEHIND_SECONDS, 0
            due = int((now - begun) * self._rate) - sent
            for _ in range(due):
                if not self._publish_next():
                    break
                sent += 1

    def _publish_next(self) -> bool:
        """Hand one bar to the bus; False where it took none, or the feed stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < MAX_IN_FLIGHT or self._stopped.is_set())
            if self._stopped.is_set():
                return False
            self._in_flight += 1
        symbol, sequence, bar = next(self._ticks)
        try:
            future = self._bus.publish_future(MARKET_DATA, symbol, encode_tick(symbol, sequence, bar), type=BAR_TYPE)
        except EventBusError as error:
            self._settle(symbol, error)
            self._stopped.wait(ERROR_PAUSE_SECONDS)  # refused at once: a tight loop would only burn
            return False
        future.add_done_callback(lambda done: self._on_done(symbol, done))
        return True

    def _on_done(self, symbol: str, done: Future[Receipt]) -> None:
        self._settle(symbol, done.exception())

    def _settle(self, symbol: str, error: BaseException | None) -> None:
        with self._changed:
            self._in_flight -= 1
            if error is None:
                self._published += 1
            else:
                self._failed += 1
            self._changed.notify_all()
            text = type(error).__name__ if error is not None else ""
            news, self._failure = text != self._failure, text
        if error is None:
            metrics.FEED_PUBLISHED.labels(symbol).inc()
            return
        metrics.FEED_FAILED.labels(symbol).inc()
        if news:
            # Once a kind of failure: at a thousand events a second the rest is in the metrics.
            _log.warning("bars of %s are given up: %s", symbol, error)

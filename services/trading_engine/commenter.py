"""Asks a model for a comment on signals, beside the hot path: trading never waits for it, or fails by it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from adapters.database import TradingStore
from adapters.database.errors import DatabaseError
from adapters.llm import ChatBackend, LLMError, ask
from contracts.market import Signal
from services.common import metrics

ALIAS = "trading"
CAPACITY = 100
"""Signals that wait. When it is full the oldest goes without a comment: fresh ones matter more."""
MAX_TOKENS = 48
_SYSTEM = "You comment on trading signals for a log. Answer with one short sentence."

_log = logging.getLogger(__name__)


def question(signal: Signal) -> str:
    """What the model is asked."""
    return (
        f"The {signal.strategy} strategy gave a {signal.side.value} signal for {signal.symbol} "
        f"at {signal.price:.2f} on {signal.date.isoformat()}. What does this crossover say?"
    )


class Commenter:
    """A thread with a bounded queue. `connect` makes the backend, on the thread's own event loop."""

    def __init__(
        self, store: TradingStore, connect: Callable[[], ChatBackend], *, interval: float, timeout: float
    ) -> None:
        self._store = store
        self._connect = connect
        self._interval = interval
        self._timeout = timeout
        self._queue: deque[Signal] = deque()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commenter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def offer(self, signals: Sequence[Signal]) -> None:
        """Queue `signals`; never blocks, never raises."""
        with self._changed:
            for signal in signals:
                if len(self._queue) == CAPACITY:
                    self._queue.popleft()
                    metrics.COMMENTS.labels("dropped").inc()
                self._queue.append(signal)
            self._changed.notify()

    def stop(self, timeout: float) -> None:
        """End after the question in hand; what waits goes without a comment. Seconds."""
        self._stopped.set()
        with self._changed:
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _next(self) -> Signal | None:
        """The newest signal, or None where stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopped.is_set())
            return None if self._stopped.is_set() else self._queue.pop()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            backend = self._connect()
            try:
                while (signal := self._next()) is not None:
                    outcome = self._comment(runner, backend, signal)
                    metrics.COMMENTS.labels(outcome).inc()
                    self._stopped.wait(self._interval)
            finally:
                runner.run(backend.close())

    def _comment(self, runner: asyncio.Runner, backend: ChatBackend, signal: Signal) -> str:
        async def limited() -> str:
            async with asyncio.timeout(self._timeout):
                return await ask(backend, ALIAS, _SYSTEM, question(signal), max_tokens=MAX_TOKENS)

        try:
            text = runner.run(limited())
        except TimeoutError:
            _log.warning("no comment on signal %s within %g s", signal.signal_id, self._timeout)
            return "timeout"
        except LLMError as error:
            _log.warning("no comment on signal %s: %s", signal.signal_id, error)
            return "failed"
        try:
            # Once set it stays: asking twice, or two engines asking, changes nothing.
            return "set" if self._store.set_comment(signal.signal_id, text) else "repeated"
        except DatabaseError as error:
            _log.warning("the comment on signal %s was not kept: %s", signal.signal_id, error)
            return "not kept"

"""The publisher: a fixed schedule of events, each of them written down with what became of it.

When an event was due is fixed by the schedule alone. A publisher that is held up does not send
less: it sends late, and the ledger shows it.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.event_bus.errors import BufferFull, BusClosed, EventBusError, Fenced, PermanentError
from adapters.event_bus.interface import EventBus, Receipt
from contracts.envelope import Event, MalformedEvent
from contracts.market import BAR_TYPE
from contracts.names import MARKET_DATA
from validation.ledger_file import ACKNOWLEDGED, PACK_SENT, REFUSED, UNKNOWN, LedgerWriter, publish_path
from validation.load import marks
from validation.load.meeting import not_ready, stop_path, until

SOURCE = "crossover/load"
TICK_SECONDS = 0.01
SETTLE_SECONDS = 60.0
"""How long the last events may take to be resolved: twice the adapter's own publish time-out."""
REPORT_SECONDS = 5.0
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`rate` in events/s over all keys; `seconds` bounds the run."""

    run: str
    rate: float
    seconds: float
    keys: int = marks.KEYS
    topic: str = MARKET_DATA


@dataclass(frozen=True, slots=True)
class _Sent:
    event_id: str
    key: str
    sequence: int
    due: int
    sent: int
    sha256: bytes


class Publishing:
    """One run of the publisher. `say` takes lines for people."""

    def __init__(self, bus: EventBus, folder: Path, schedule: Schedule, say: Callable[[str], None]) -> None:
        self._bus = bus
        self._folder = folder
        self._schedule = schedule
        self._say = say
        self._symbols = marks.symbols(schedule.keys)
        self._resolved: deque[tuple[_Sent, int, Future[Receipt]]] = deque()
        self._waiting: dict[str, _Sent] = {}
        self._errors: Counter[str] = Counter()
        self._acknowledged = 0

    def await_consumers(self, groups: Sequence[str], seconds: float) -> tuple[str, ...]:
        """Send probes until the consumer of every group is ready; those that are not after `seconds`."""
        last = 0.0

        def ready() -> bool:
            nonlocal last
            if time.monotonic() - last > 1.0:
                last = time.monotonic()
                self._send_probes()
            return not not_ready(self._folder, groups)

        until(ready, seconds)
        return not_ready(self._folder, groups)

    def _send_probes(self) -> None:
        run, topic = self._schedule.run, self._schedule.topic
        for number, symbol in enumerate(self._symbols):
            data = marks.probe(symbol, number, run)
            self._bus.publish_event(Event.create(topic, symbol, data, source=SOURCE, type=BAR_TYPE))

    def run(self, stopped: Callable[[], bool]) -> Counter[str]:
        """Publish until the stop file is there, the time is over or `stopped()`; what callers saw fail, by
        class of error. The ledger is complete when this returns."""
        header = {"run": self._schedule.run, "rate": self._schedule.rate, "keys": self._schedule.keys}
        ledger = LedgerWriter(publish_path(self._folder), "publish", header)
        self._offer(ledger, stopped)
        until(lambda: self._settled(ledger), SETTLE_SECONDS)
        for sent in self._waiting.values():
            ledger.append(self._pack(sent, 0, UNKNOWN))
            self._errors["Unresolved"] += 1
        ledger.close({"ended": "completed", "errors": dict(self._errors)})
        return self._errors

    def _offer(self, ledger: LedgerWriter, stopped: Callable[[], bool]) -> None:
        rate = self._schedule.rate
        total = int(rate * self._schedule.seconds)
        start = time.time_ns()
        number, reported = 0, time.monotonic()
        stop = stop_path(self._folder)
        while number < total and not stopped() and not stop.exists():
            due = min(total, int((time.time_ns() - start) * rate / _NS) + 1)
            while number < due:
                self._send(number, start + int(number * _NS / rate))
                number += 1
            self._write_down(ledger)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self._say(f"{number} sent, {self._acknowledged} acknowledged, {self._errors.total()} errors")
            ahead = start + int(number * _NS / rate) - time.time_ns()
            time.sleep(max(TICK_SECONDS, ahead / _NS))  # the pace of the schedule

    def _send(self, number: int, due: int) -> None:
        key_number, sequence = number % self._schedule.keys, number // self._schedule.keys
        key = self._symbols[key_number]
        data = marks.payload(key, key_number, sequence, self._schedule.run)
        event = Event.create(self._schedule.topic, key, data, source=SOURCE, type=BAR_TYPE)
        sent = _Sent(event.id, key, sequence, due, time.time_ns(), hashlib.sha256(data).digest())
        self._waiting[event.id] = sent
        try:
            result = self._bus.publish_event(event)
        except (EventBusError, MalformedEvent) as error:
            result = Future()
            result.set_exception(error)
        result.add_done_callback(partial(self._note, sent))

    def _note(self, sent: _Sent, done: Future[Receipt]) -> None:
        """Called on the adapter's thread, so it does nothing but hand over."""
        self._resolved.append((sent, time.time_ns(), done))

    def _settled(self, ledger: LedgerWriter) -> bool:
        self._write_down(ledger)
        return not self._waiting

    def _write_down(self, ledger: LedgerWriter) -> None:
        packed = []
        for _ in range(len(self._resolved)):
            sent, at, done = self._resolved.popleft()
            del self._waiting[sent.event_id]
            error = done.exception()
            if error is None:
                receipt = done.result()
                self._acknowledged += 1
                packed.append(self._pack(sent, at, ACKNOWLEDGED, receipt.epoch, receipt.backend))
                continue
            name = error.__class__.__name__
            if not self._errors[name]:
                self._say(f"first {name}: event {sent.event_id}: {error}")
            self._errors[name] += 1
            packed.append(self._pack(sent, at, REFUSED if _not_stored(error) else UNKNOWN))
        if packed:
            ledger.append(b"".join(packed))

    def _pack(self, sent: _Sent, at: int, outcome: int, epoch: int = 0, backend: str = "") -> bytes:
        return PACK_SENT(
            marks.id_bytes(sent.event_id), sent.key.encode(), sent.sequence, sent.due, sent.sent, at,
            sent.sha256, epoch, backend.encode(), outcome,
        )  # fmt: skip


def _not_stored(error: BaseException) -> bool:
    """Whether `error` says that the event is definitely not stored. BusClosed does not: the event may have
    been in flight."""
    certain = isinstance(error, Fenced | BufferFull | PermanentError | MalformedEvent)
    return certain and not isinstance(error, BusClosed)

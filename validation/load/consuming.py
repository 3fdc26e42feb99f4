"""One consumer group: each delivery is written down as an effect, once for each time it came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from adapters.event_bus.errors import RetryableError
from adapters.event_bus.interface import EventBus
from contracts.envelope import Event
from contracts.names import MARKET_DATA
from validation.ledger_file import (
    ACKNOWLEDGED,
    KEY_BYTES,
    PACK_TAKEN,
    LedgerWriter,
    UnreadableLedger,
    consume_path,
    is_closed,
    publish_path,
    read_ledger,
)
from validation.load import marks
from validation.load.meeting import POLL_SECONDS, ready_path

LINGER_SECONDS = 3.0
"""How long a consumer goes on after it has seen all: a second delivery of something may still come."""
STALE_SECONDS = 120.0
"""How long a consumer waits, once the publisher has ended, without anything of the run coming."""


class Consuming:
    """One run of one group's consumer. The subscription's thread writes, the owner's thread waits."""

    def __init__(
        self,
        bus: EventBus,
        folder: Path,
        *,
        run: str,
        group: str,
        keys: int = marks.KEYS,
        topic: str = MARKET_DATA,
    ) -> None:
        self._bus = bus
        self._folder = folder
        self._run = run
        self._group = group
        self._topic = topic
        self._unseen = set(marks.symbols(keys))
        self._probing = True
        self._reader = marks.Reader(run)
        self._ledger = LedgerWriter(consume_path(folder, group), "consume", {"run": run, "group": group})
        self._ids = bytearray()
        self._ids_lock = threading.Lock()
        self._newest = time.monotonic()
        self._broken: OSError | None = None

    def run(self, stopped: Callable[[], bool], say: Callable[[str], None]) -> str:
        """Consume until all that the publisher had acknowledged was seen; how it ended: `drained`, `stale`
        (nothing more came), `failed` or `stopped`. The ledger is complete when this returns."""
        subscription = self._bus.subscribe([self._topic], self._group, self._take, start="latest")
        ended = ""
        failure: BaseException | None = None
        drained_at: float | None = None
        while not ended:
            failure = self._broken or subscription.failure
            if failure is not None:
                ended = "failed"
            elif stopped():
                ended = "stopped"
            elif is_closed(publish_path(self._folder)) is not None:
                if drained_at is None and self._seen_all():
                    drained_at = time.monotonic()
                if drained_at is not None and time.monotonic() - drained_at > LINGER_SECONDS:
                    ended = "drained"
                elif drained_at is None and time.monotonic() - self._newest > STALE_SECONDS:
                    ended = "stale"
            if not ended:
                time.sleep(POLL_SECONDS)  # the publisher's file announces nothing
        subscription.close()
        failure = failure or self._broken or subscription.failure
        self._ledger.close({"ended": ended, "failure": f"{type(failure).__name__}: {failure}" if failure else None})
        say(f"{self._group}: {ended}, {self._ledger.count} deliveries written down")
        return ended

    def _take(self, events: Sequence[Event]) -> None:
        now = time.time_ns()
        packed = []
        own = bytearray()
        for event in events:
            reading = self._reader.read(event.payload)
            identifier = marks.id_bytes(event.id)
            if reading.ours:
                own += identifier
            elif self._probing and self._reader.is_probe(event.payload):
                self._unseen.discard(event.key)
            key = event.key.encode()[:KEY_BYTES]
            packed.append(PACK_TAKEN(identifier, key, reading.sequence, now, reading.sha256, reading.ours))
        self._write(b"".join(packed))
        if own:
            self._newest = time.monotonic()
            with self._ids_lock:
                self._ids += own
        if self._probing and not self._unseen:
            self._probing = False
            ready_path(self._folder, self._group).touch()

    def _write(self, packed: bytes) -> None:
        try:
            self._ledger.append(packed)
        except OSError as error:
            # Nothing may be acknowledged or set aside that is not written down: the owner ends the run.
            self._broken = error
            raise RetryableError(f"the ledger of {self._group} cannot be written: {error}") from error

    def _seen_all(self) -> bool:
        """Whether every acknowledged event of the run came at least once."""
        try:
            sent = read_ledger(publish_path(self._folder), "publish").records
        except UnreadableLedger:
            return False
        wanted = np.ascontiguousarray(sent["id"][sent["outcome"] == ACKNOWLEDGED])
        with self._ids_lock:
            seen = np.frombuffer(bytes(self._ids), dtype="S16")
        return len(seen) >= len(wanted) and bool(np.isin(wanted, seen).all())

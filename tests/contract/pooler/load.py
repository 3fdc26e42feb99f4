"""Clients that write through the pooler without a break, and what arrived where."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from adapters.postgres.driver import Address, connect, psycopg
from tests.contract.pooler.bench import DEADLINE, Bouncer, until


@dataclass(slots=True)
class Load:
    """Client threads that insert row after row, one transaction each, and note what was answered and how late."""

    made: Bouncer
    prepared: bool = False
    clients: int = 8
    rest: float = 0.002
    written: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.written) > 20 * self.clients, "the load runs")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No more of it."""
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a client hangs"

    def go_on(self, count: int = 100) -> None:
        """Wait for so many more rows."""
        goal = len(self.written) + count
        until(lambda: len(self.written) >= goal or bool(self.failed), "the load goes on")

    def _run(self) -> None:
        with self.made.client("load", prepare_threshold=0 if self.prepared else None) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    row = client.execute(
                        "insert into public.written (id) values (gen_random_uuid()) returning id::text"
                    ).fetchone()
                    self.written.append(row[0] if row else "")
                except psycopg.Error as error:
                    self.failed.append(str(error))
                    return
                self.seconds.append(time.monotonic() - began)
                self._stop.wait(self.rest)

    @property
    def stall(self) -> float:
        """The longest that one statement took, in seconds."""
        return max(self.seconds)


def rows(at: Address) -> list[str]:
    """What was written there, in order."""
    with connect(at, "test") as connection:
        return [row[0] for row in connection.execute("select id::text from public.written order by at").fetchall()]

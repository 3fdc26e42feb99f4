"""The load: transfers on a fixed schedule, each one transaction, from several clients."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from adapters.postgres.driver import Address, Connection, connect
from adapters.postgres.errors import PostgresError
from adapters.postgres.transfers import Money, prepare, transfer
from validation.bank.account import Book, Fate, Transfer

ACCOUNTS = 1000
APPLICATION = "bank"
_REPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Transfers a second over all clients, and for how long at most."""

    rate: float
    seconds: float
    clients: int = 8


class Load:
    """One run. `say` takes a line for people."""

    def __init__(self, address: Address, run: str, schedule: Schedule, book: Book, say: Callable[[str], None]) -> None:
        self._address = address
        self._run = run
        self._schedule = schedule
        self._book = book
        self._say = say
        self._fates: Counter[Fate] = Counter()
        self._slowest = 0
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make schema, tables and accounts where they are missing."""
        with connect(self._address, APPLICATION, session={}) as connection:
            prepare(connection, ACCOUNTS)

    def run(self, stopped: Callable[[], bool]) -> Counter[Fate]:
        """Transfer until the schedule ends or `stopped()`; how many had which fate."""
        began = time.time_ns()
        numbers = itertools.count()
        workers = [
            threading.Thread(target=self._work, args=(n, began, numbers, stopped), name=f"client-{n}", daemon=True)
            for n in range(self._schedule.clients)
        ]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            workers[0].join(_REPORT_SECONDS)
            self._tell()
        for worker in workers:
            worker.join()
        return self._fates

    def _tell(self) -> None:
        with self._lock:
            told, slowest, self._slowest = dict(self._fates), self._slowest, 0
        counts = ", ".join(f"{count} {fate}" for fate, count in sorted(told.items()))
        self._say(f"{counts or 'nothing yet'}; slowest of late {slowest / 1e6:.0f} ms")

    def _work(self, seed: int, began: int, numbers: itertools.count[int], stopped: Callable[[], bool]) -> None:
        chance = random.Random(f"{self._run}-{seed}")  # noqa: S311 - which account is no secret
        connection: Connection | None = None
        step = 1e9 / self._schedule.rate
        try:
            while not stopped():
                due = began + int(next(numbers) * step)
                if due > began + self._schedule.seconds * 1e9:
                    return
                time.sleep(max(0.0, (due - time.time_ns()) / 1e9))  # paces the load
                source, target = chance.sample(range(ACCOUNTS), 2)
                money = Money(str(uuid.UUID(int=chance.getrandbits(128))), source, target, chance.randint(1, 10_000))
                connection = self._one(connection, money, due)
        finally:
            if connection is not None:
                connection.close()

    def _one(self, connection: Connection | None, money: Money, due: int) -> Connection | None:
        """One transfer; the connection for the next, None where this one is lost."""
        fate, error = Fate.ACKNOWLEDGED, ""
        try:
            if connection is None:
                connection = connect(self._address, APPLICATION, session={})
            committing = transfer(connection, self._address, self._run, money)
            if committing is not None:
                fate, error = (Fate.UNKNOWN if committing.unknown else Fate.FAILED), committing.why
        except PostgresError as refused:
            fate, error = Fate.FAILED, str(refused)
        ended = time.time_ns()
        self._book.note(Transfer(money.id, money.source, money.target, money.amount, due, ended, fate, error))
        with self._lock:
            self._fates[fate] += 1
            self._slowest = max(self._slowest, ended - due)
        if connection is not None and connection.closed:
            return None
        return connection

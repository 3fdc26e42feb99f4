"""The rows, copied in parts by some threads, each part exactly once however often this is killed.

A part is read in one snapshot of the source and written in one transaction of the target, together with its row in
crossover.chunk. `seen`, which is read after the snapshot was taken, bounds what that snapshot may hold: a stream that
began before all snapshots and has come to the greatest `seen` has made the target whole.

Tables without a key are different, for nothing there tells a row that is streamed from one that was copied. All of
them are read in one snapshot, taken under a lock that lets nobody write into them for as long as that takes: so it
holds exactly what was committed before `exact`. It lives as long as one connection; after a kill they begin anew.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from adapters.postgres import chunks
from adapters.postgres.bookkeeping import ensure
from adapters.postgres.carrying import APPLICATION, READING, WRITING, Carrier, Held, held
from adapters.postgres.catalog import Table
from adapters.postgres.chunks import PART_BYTES, Planned, keyless
from adapters.postgres.driver import Address, lsn, translated
from adapters.postgres.errors import Conflict, PostgresError, Stopped, Unavailable
from adapters.postgres.planning import plan, travelling_types
from adapters.postgres.progress import Progress
from adapters.postgres.side import opened

_log = logging.getLogger(__name__)

_LOCK_ATTEMPTS = 20
_TICK_SECONDS = 0.5
_SUMS = """
select relation, max(seen)::text, sum(copied_rows)::bigint, sum(copied_bytes)::bigint, bool_and(done is not null)
  from crossover.chunk where relation = any(%s) group by relation
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySettings:
    """`workers`: connections at the source (one more holds the snapshot of tables without a key); `attempts` for one
    part."""

    workers: int = 4
    part_bytes: int = PART_BYTES
    attempts: int = 5
    retry_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Copied:
    """All was copied. `seen`: the greatest of all parts; `exact`: for each table without a key, quoted, the LSN from
    which on its changes are to be applied, and none before; `rows` and `bytes` of all runs."""

    seen: int
    exact: Mapping[str, int]
    rows: int
    bytes: int


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    bytes: int = 0
    before: int = 0
    done: int = 0
    parts_left: dict[str, int] = field(default_factory=dict)
    flying: dict[int, int] = field(default_factory=dict)


def _nothing(_: Progress) -> None:
    """For those who watch nothing."""


class Copy:
    """Copies `tables`, which the target has with the same columns and without keys, from `source` to `target`.

    `pressure` is asked now and then: as long as it gives a reason no new part is begun. `progress` is told how far it
    is, from the thread that runs. `stop` ends it, between two blocks.
    """

    def __init__(
        self, source: Address, target: Address, tables: Sequence[Table], settings: CopySettings | None = None, *,
        pressure: Callable[[], str] = str, progress: Callable[[Progress], None] = _nothing,
        stop: threading.Event | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self._target = target
        self._tables = tuple(tables)
        self._settings = settings or CopySettings()
        self._pressure = pressure
        self._progress = progress
        self._stop = stop or threading.Event()
        self._changed = threading.Condition()
        self._counts = _Counts()
        self._failure: BaseException | None = None
        self._paused = ""
        self._started = self._asked = 0.0

    def run(self) -> Copied:
        """Copy what is not copied yet. Raises Stopped, Conflict, Drift, and what a server says, naming the table; what
        was copied until then stays copied."""
        with opened(self._target, APPLICATION, WRITING) as target, opened(self._source, APPLICATION, READING) as source:
            with translated(self._target):
                ensure(target.connection)
            planned = plan(source, target, self._tables, self._settings.part_bytes)
            travelling = travelling_types(source)
        waiting = chunks.in_order(planned)
        pinned = sorted({each.part.relation for each in waiting if keyless(each.table)})
        self._count(planned)
        with held(self._source, pinned, self._patience) if pinned else contextlib.nullcontext() as snapshot:
            self._work(planned, deque(waiting), travelling, snapshot)
        if self._failure is not None:
            raise self._failure
        self._look_up()
        return self._result()

    def _count(self, planned: Sequence[Planned]) -> None:
        left = {table.qualified: 0 for table in self._tables}
        for each in planned:
            left[each.part.relation] += not each.done
        before = sum(each.weight for each in planned if each.done)
        self._counts = _Counts(before=before, done=before, parts_left=left)
        self._started = self._asked = time.monotonic()

    def _patience(self, lock: Callable[[], None]) -> None:
        for attempt in Retrying(
            retry=retry_if_exception_type(Unavailable), stop=stop_after_attempt(_LOCK_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=2.0), sleep=self._sleep, reraise=True,
        ):  # fmt: skip
            with attempt:
                self._look_up()
                lock()

    # -- the workers

    def _work(
        self, planned: Sequence[Planned], waiting: deque[Planned], travelling: frozenset[str], snapshot: Held | None
    ) -> None:
        threads = [
            threading.Thread(
                target=self._run_worker,
                args=(number, Carrier(self._source, self._target, travelling), waiting, snapshot),
                name=f"copy-{number}",
            )
            for number in range(min(self._settings.workers, len(waiting)))
        ]
        try:
            self._paused = self._pressure() if threads else ""
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                self._watch(planned)
        except BaseException as error:
            self._fail(error)
        finally:
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._failure is None:
            self._progress(self._told(planned))

    def _watch(self, planned: Sequence[Planned]) -> None:
        """Until a part is done, or for one tick."""
        with self._changed:
            self._changed.wait(_TICK_SECONDS)
        now = time.monotonic()
        if now - self._asked >= _TICK_SECONDS:
            reason, self._asked = self._pressure(), now
            with self._changed:
                self._paused = reason
                self._changed.notify_all()
        self._progress(self._told(planned))

    def _run_worker(self, number: int, carrier: Carrier, waiting: deque[Planned], snapshot: Held | None) -> None:
        try:
            while self._may_begin():
                try:
                    with self._changed:
                        each = waiting.popleft()
                except IndexError:
                    return
                self._copy(number, carrier, each, snapshot)
        except BaseException as error:  # told to whom waits for all of them
            self._fail(error)
        finally:
            carrier.close()
            with self._changed:
                self._changed.notify_all()

    def _may_begin(self) -> bool:
        with self._changed:
            while self._paused and not self._halted:
                self._changed.wait(_TICK_SECONDS)
            return not self._halted

    @property
    def _halted(self) -> bool:
        return self._stop.is_set() or self._failure is not None

    def _look_up(self) -> None:
        if self._halted:
            raise Stopped(f"{self._source} to {self._target}: told to stop; the next run goes on with what is left")

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _copy(self, number: int, carrier: Carrier, each: Planned, snapshot: Held | None) -> None:
        """One part, again where a server was away."""
        settings = self._settings

        def again(state: RetryCallState) -> None:
            _log.warning("%s: %s; trying again", each.table, state.outcome and state.outcome.exception())

        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(Unavailable), stop=stop_after_attempt(settings.attempts),
                wait=wait_random_exponential(multiplier=0.2, max=settings.retry_seconds), sleep=self._sleep,
                before_sleep=again, reraise=True,
            ):  # fmt: skip
                with attempt:
                    self._look_up()
                    self._copy_once(number, carrier, each, snapshot)
        except Stopped:
            raise
        except PostgresError as error:
            raise type(error)(f"{each.table}, part {each.part.number}: {error}") from error

    def _copy_once(self, number: int, carrier: Carrier, each: Planned, snapshot: Held | None) -> None:
        def moved(count: int) -> None:
            self._look_up()
            with self._changed:
                self._counts.flying[number] = self._counts.flying.get(number, 0) + count

        try:
            piped = carrier.carry(each, snapshot if keyless(each.table) else None, moved)
        finally:
            with self._changed:
                self._counts.flying.pop(number, None)
        with self._changed:
            self._counts.rows += piped.rows
            self._counts.bytes += piped.bytes
            self._counts.done += each.weight
            self._counts.parts_left[each.part.relation] -= 1
            self._changed.notify_all()

    # -- what is told

    def _told(self, planned: Sequence[Planned]) -> Progress:
        with self._changed:
            counts = self._counts
            flying = sum(counts.flying.values())
            weight = sum(each.weight for each in planned)
            left = counts.parts_left.values()
            return Progress(
                tables=len(left), tables_done=sum(parts == 0 for parts in left), parts=len(planned),
                parts_done=len(planned) - sum(left), rows=counts.rows, bytes=counts.bytes + flying, weight=weight,
                done=min(weight, counts.done + flying), before=counts.before,
                seconds=time.monotonic() - self._started, paused=self._paused,
            )  # fmt: skip

    def _result(self) -> Copied:
        """What all runs copied, as the target has it, and for good."""
        names = [table.qualified for table in self._tables]
        with opened(self._target, APPLICATION) as target:
            # The commits of the parts were not waited for; with this one all before it is durable.
            target.run("update crossover.chunk set done = done where relation = any(%s) and part = 0", (names,))
            rows = target.rows(_SUMS, (names,))
        left = sorted(set(names) - {row[0] for row in rows if row[4]})
        if left:
            raise Conflict(f"{self._target}: crossover.chunk says that these are not copied: {', '.join(left)}")
        pinned = {table.qualified for table in self._tables if keyless(table)}
        seen = {row[0]: lsn(row[1]) for row in rows}
        exact = {name: at for name, at in seen.items() if name in pinned}
        return Copied(max(seen.values(), default=0), exact, sum(r[2] for r in rows), sum(r[3] for r in rows))

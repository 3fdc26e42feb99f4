"""Whether two servers hold the same rows: every table, in parallel, pushed down, and each row that differs by name.

Side A is the source, whose keys cut a table into ranges; both sides answer for the same ranges. Ranges found the same
are kept in a Progress, so that a comparison that was killed goes on; one that could not be compared (a right is
missing, a connection is lost, a row never keeps still) is told apart from one that differs, and from one that is the
same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from adapters.postgres import checksums
from adapters.postgres.catalog import Table
from adapters.postgres.checksums import Key, Span
from adapters.postgres.driver import SESSION, Address, connect
from adapters.postgres.errors import PostgresError
from adapters.postgres.masks import Masks
from validation.database.differences import Difference
from validation.database.looking import Both, Examination, Found, Looks
from validation.database.progress import Part, Progress, shape, utc_now
from validation.result import Check, Report, Verdict, combine

APPLICATION = "crossover-validate"
_FIX = "copy the named rows again, or the table; then compare again"
_ROW_BYTES = 100
_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much is asked of the servers. `connections` to either side; `workers`: processes that a query may use beside
    its own (None: as the server is set); `pause`: seconds between two ranges on a connection; `range_rows`: rows of a
    range, after which what is done is kept; `seconds`: the longest that all may take (None: no limit)."""

    connections: int = 2
    workers: int | None = None
    pause: float = 0.0
    range_rows: int = 20_000_000
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TableResult:
    """What is known of one table. `rows` were compared at the source; `unknown` says what could not be, and why."""

    table: str
    rows: int = 0
    differences: tuple[Difference, ...] = ()
    more: bool = False
    unknown: tuple[str, ...] = ()
    missing: str = ""
    """At which side the table is not there at all."""

    @property
    def verdict(self) -> Verdict:
        """A difference outweighs what could not be compared."""
        if self.differences or self.missing or self.more:
            return Verdict.DOES_NOT_HOLD
        return Verdict.COULD_NOT_CHECK if self.unknown else Verdict.HOLDS

    @property
    def check(self) -> Check:
        """For a report."""
        name, expected = f"rows of {self.table}", "the same at both sides"
        if self.missing:
            return Check.that(name, False, expected=expected, found=f"no such table at {self.missing}", fix=_FIX)
        if self.verdict is Verdict.COULD_NOT_CHECK:
            why = "; ".join(self.unknown[:_EXAMPLES])
            return Check.unknown(name, expected=expected, why=why, fix="remove the reason, then compare again")
        if self.verdict is Verdict.HOLDS:
            return Check.that(name, True, expected=expected, found=f"{self.rows} rows, the same")
        least = "at least " if self.more else ""
        examples = "; ".join(str(difference) for difference in self.differences[:_EXAMPLES])
        found = f"{least}{sum(d.count for d in self.differences)} of {self.rows} rows differ"
        return Check.that(name, False, expected=expected, found=found, fix=_FIX, detail=examples)


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer for all tables. `started`: what was seen first was seen then."""

    tables: tuple[TableResult, ...]
    started: datetime
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """The one of all tables; where there are none, nothing was checked."""
        return combine(table.verdict for table in self.tables)

    @property
    def compared(self) -> int:
        """Rows of the source."""
        return sum(table.rows for table in self.tables)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Of all tables."""
        return tuple(difference for table in self.tables for difference in table.differences)

    def report(self, subject: str = "database: rows") -> Report:
        """For people and for a gate."""
        figures = {"tables": len(self.tables), "rows": self.compared, "seconds": round(self.seconds, 3)}
        figures["differences"] = sum(difference.count for difference in self.differences)
        return Report(subject=subject, checks=tuple(table.check for table in self.tables), figures=figures)


def compare(
    a: Address, b: Address, tables_a: Sequence[Table], tables_b: Sequence[Table], *, masks: Masks | None = None,
    looks: Looks | None = None, pace: Pace | None = None, progress: Progress | None = None,
    save: Callable[[Progress], None] = lambda _: None, stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], datetime] = utc_now,
) -> Rows:  # fmt: skip
    """Compare the tables of both catalogs. Without `looks.settle` nobody may write at either side meanwhile. `save` is
    called after each range, never twice at once; `progress` of before is gone on with; `stop` is asked before each
    range: what it leaves out could not be compared; `clock`: the time of day. What a server does wrong is part of the
    answer, not raised."""
    comparison = _Comparison(
        a, b, masks or Masks(), looks or Looks(), pace or Pace(), progress or Progress({}, clock()), save, stop,
        clock,
    )  # fmt: skip
    return comparison.run({str(table): table for table in tables_a}, {str(table): table for table in tables_b})


class _NotDone(Exception):
    """Why a range was left out."""


@dataclass(slots=True)
class _Tally:
    """What was found of a table so far."""

    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    more: bool = False

    def add(self, found: Found) -> None:
        self.rows += found.rows
        self.differences += found.differences
        self.unknown += found.undecided
        self.more = self.more or found.more


class _Comparison:
    def __init__(
        self, a: Address, b: Address, masks: Masks, looks: Looks, pace: Pace, progress: Progress,
        save: Callable[[Progress], None], stop: Callable[[], bool], clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._at, self._masks, self._pace, self._progress, self._save, self._stop = (
            (a, b),
            masks,
            pace,
            progress,
            save,
            stop,
        )
        self._looks, self._clock = looks, clock
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._idle: list[Both] = []

    def run(self, a: Mapping[str, Table], b: Mapping[str, Table]) -> Rows:
        tallies = {name: _Tally() for name in sorted(a.keys() & b.keys())}
        comparable = [a[name] for name in tallies if shape(a[name]) == shape(b[name])]
        for name in tallies.keys() - {str(table) for table in comparable}:
            tallies[name].unknown.append("columns, types or keys differ between the sides: see the structure's checks")
        lost = [TableResult(name, missing="B" if name in a else "A") for name in sorted(a.keys() ^ b.keys())]
        most = self._pace.connections
        try:
            with ThreadPoolExecutor(most) as beside, ThreadPoolExecutor(most) as pool:
                try:
                    self._work(pool, beside, sorted(comparable, key=lambda table: -table.bytes), tallies)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)  # or all that is left were compared first
                    raise
        finally:  # behind the threads, which give pairs back
            for pair in self._idle:
                pair.close()
        results = [
            TableResult(name, tally.rows, tuple(tally.differences), tally.more, tuple(tally.unknown))
            for name, tally in tallies.items()
        ]
        return Rows((*results, *lost), self._progress.started, time.monotonic() - self._began)

    def _work(self, pool: Executor, beside: Executor, tables: list[Table], tallies: dict[str, _Tally]) -> None:
        """Cut the tables, the largest first, and compare their ranges as they come."""
        pending: dict[Future[list[Part] | Found], Table] = {}
        for table in tables:
            pending[pool.submit(self._cut, table, beside)] = table
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for ended in done:
                table = pending.pop(ended)
                tally = tallies[str(table)]
                try:
                    result = ended.result()
                except (PostgresError, TimeoutError, _NotDone) as error:
                    tally.unknown.append(str(error))
                    continue
                if isinstance(result, Found):
                    tally.add(result)
                    continue
                tally.rows += sum(part.rows for part in result if part.rows is not None)
                for part in result:
                    if part.rows is None:
                        pending[pool.submit(self._examine, table, part, beside)] = table

    def _cut(self, table: Table, beside: Executor) -> list[Part] | Found:
        """The ranges of `table`: those of before, or new ones."""
        known = self._progress.known(table)
        if known is not None:
            return known
        ranged = checksums.range_columns(table, hidden=self._masks.hidden(table))
        ends: list[Key] = []
        if ranged and max(table.rows, table.bytes // _ROW_BYTES) > self._pace.range_rows:
            with self._pair(beside) as both:
                while found := both.ask_a(
                    checksums.boundary(table, ranged, ends[-1] if ends else None, self._pace.range_rows)
                ):
                    ends.append(tuple(checksums.unwrapped(text) or "" for text in found[0]))
        bounds = [None, *ends, None]
        with self._lock:
            return self._progress.cut(table, (Span(*pair) for pair in pairwise(bounds)))

    def _examine(self, table: Table, part: Part, beside: Executor) -> list[Part] | Found:
        examination: Examination | None = None
        seen = self._clock()
        try:
            with self._pair(beside) as both:
                examination = Examination(both, table, part.span, self._looks, self._masks)
                found = examination.run()
        except (PostgresError, TimeoutError) as error:
            if examination is None:
                raise
            return examination.so_far(str(error))
        if not (found.differences or found.undecided or found.more):
            with self._lock:
                part.rows, part.seen = found.rows, seen
                self._save(self._progress)
        time.sleep(self._pace.pause)  # the throttle that was asked for
        return found

    @contextmanager
    def _pair(self, beside: Executor) -> Iterator[Both]:
        """A pair of connections, which goes back where all went well."""
        if self._stop():
            raise _NotDone("it was stopped before all was compared")
        left = None if self._pace.seconds is None else self._pace.seconds - (time.monotonic() - self._began)
        if left is not None and left <= 0:
            raise _NotDone(f"not all was compared within {self._pace.seconds:g} s")
        with self._lock:
            both = self._idle.pop() if self._idle else None
        if both is None:
            both = self._open(beside)
        try:
            if left is not None:
                both.limit(left)
            yield both
        except BaseException:
            both.close()
            raise
        with self._lock:
            self._idle.append(both)

    def _open(self, beside: Executor) -> Both:
        # What compiling these statements costs, it never brings in.
        session = {**SESSION, "default_transaction_read_only": "on", "jit": "off"}
        if self._pace.workers is not None:
            session["max_parallel_workers_per_gather"] = str(self._pace.workers)
        first = connect(self._at[0], APPLICATION, session=session)
        try:
            return Both(first, connect(self._at[1], APPLICATION, session=session), self._at, beside)
        except BaseException:
            first.close()
            raise

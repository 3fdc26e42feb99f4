"""One range of one table at two servers: counted, and where the counts differ, found out why.

The sums of the whole range are asked for first; then those of a few hundred rows each, all in one pass over the rows at
either side; then the rows of those parts that differ, by their keys; then these rows alone, again and again, until it
is clear whether they differ (differences.judge). What agrees at any step is settled by it: it was the same then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import batched

from adapters.postgres import checksums
from adapters.postgres.catalog import Table
from adapters.postgres.checksums import Key, Query, Span
from adapters.postgres.driver import Address, Connection, TupleRow, sql, translated
from adapters.postgres.masks import Masks
from validation.database.differences import Answer, Difference, Row, Sight, Version, describe, judge

_PART_ROWS, _MOST_PARTS = 500, 1 << 16
_AT_ONCE = 50_000
_KEYS, _ROWS_SHOWN = 500, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How often a row that differs is looked at. `settle` waits until the copy has all that the source has written by
    the time of the call, and raises (PostgresError, TimeoutError) where it cannot; None: nobody writes at either side,
    so one look is enough. `most`: after so many looks the row could not be compared; `proofs`: see judge. `named`: so
    many differences of a range are looked up at least, where there are more."""

    settle: Callable[[], None] | None = None
    most: int = 8
    proofs: int = 2
    named: int = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What a range holds. `rows` at the source; `undecided`: what could not be compared, and why; `more`: others differ
    as well, and were not looked up."""

    rows: int
    differences: tuple[Difference, ...] = ()
    undecided: tuple[str, ...] = ()
    more: bool = False


class Both:
    """A connection to either side, which are asked the same at the same time."""

    def __init__(self, a: Connection, b: Connection, at: tuple[Address, Address], beside: Executor) -> None:
        self._a, self._b, self._at, self._beside = a, b, at, beside

    def ask(self, query: Query) -> tuple[list[TupleRow], list[TupleRow]]:
        """Both answers. Raises PostgresError."""
        later = self._beside.submit(self._one, self._b, self._at[1], query)
        try:
            first = self._one(self._a, self._at[0], query)
        except BaseException:
            later.exception()  # it must be done with its connection
            raise
        return first, later.result()

    def ask_a(self, query: Query) -> list[TupleRow]:
        """The source's answer. Raises PostgresError."""
        return self._one(self._a, self._at[0], query)

    def limit(self, seconds: float) -> None:
        """No statement may take longer from now on. Raises PostgresError."""
        self.ask(
            Query(
                sql.SQL("select pg_catalog.set_config('statement_timeout', %s, false)").format(),
                (f"{seconds * 1000:.0f}ms",),
            )
        )

    def close(self) -> None:
        """Give up both connections."""
        self._a.close()
        self._b.close()

    @staticmethod
    def _one(connection: Connection, address: Address, query: Query) -> list[TupleRow]:
        with translated(address):
            return query.rows(connection)


@dataclass(slots=True)
class Examination:
    """Of one range of `table`."""

    both: Both
    table: Table
    span: Span
    looks: Looks
    masks: Masks
    _differences: list[Difference] = field(default_factory=list)
    _undecided: list[str] = field(default_factory=list)
    _more: bool = False

    def run(self) -> Found:
        """Compare. Raises PostgresError, TimeoutError where it cannot."""
        ranged = checksums.range_columns(self.table, hidden=self.masks.hidden(self.table))
        (a,), (b,) = self.both.ask(checksums.digest(self.table, self.span, ranged))
        if a == b:
            return Found(a[0])
        for suspects in self._suspects(max(a[0], b[0])):
            if len(self._differences) >= self.looks.named:
                self._more = True
                break
            self._resolve(suspects)
        if self.looks.settle is None and not self._differences and not self._undecided:
            self._undecided.append(f"{self.table}: rows changed while they were compared, and nobody should write")
        return Found(a[0], tuple(self._differences), tuple(self._undecided), self._more)

    def so_far(self, why: str) -> Found:
        """What was found before `run` failed, for the reason of `why`."""
        return Found(0, tuple(self._differences), (*self._undecided, why), self._more)

    def _suspects(self, rows: int) -> Iterator[list[Key]]:
        """The keys of rows that were seen to differ, so many at once that they fit into memory."""
        ranged = checksums.range_columns(self.table, hidden=self.masks.hidden(self.table))
        count = min(_MOST_PARTS, 1 << max(0, (rows // _PART_ROWS)).bit_length())
        a, b = (
            {part: tuple(sums) for part, *sums in side}
            for side in self.both.ask(checksums.parts(self.table, self.span, ranged, count))
        )
        differing = sorted(part for part in {*a, *b} if a.get(part) != b.get(part))
        for wanted in batched(differing, max(1, _AT_ONCE * count // max(rows, _AT_ONCE))):
            query = checksums.members(self.table, self.span, ranged, count, wanted)
            there = [{tuple(row[:-1]): row[-1] for row in side} for side in self.both.ask(query)]
            keys = [key for key in dict.fromkeys((*there[0], *there[1])) if there[0].get(key) != there[1].get(key)]
            yield [tuple(_plain(value) for value in key) for key in keys]

    def _resolve(self, suspects: Sequence[Key]) -> None:
        """Look at the suspects until each is known to be the same, or to differ, or the looks are used up."""
        pending, sights = list(suspects), {key: list[Sight]() for key in suspects}
        settle, different = self.looks.settle, list[Key]()
        for _ in range(1 if settle is None else self.looks.most):
            if not pending:
                break
            if settle is not None:
                settle()
            for key, sight in self._look(pending).items():
                sights[key].append(sight)
            answers = {key: judge(sights[key], 0 if settle is None else self.looks.proofs) for key in pending}
            different += [key for key in pending if answers[key] is Answer.DIFFERENT]
            pending = [key for key in pending if answers[key] is Answer.UNDECIDED]
        room = max(0, self.looks.named - len(self._differences))
        self._more = self._more or len(different) > room
        self._tell(different[:room], "it changed after it was found different")
        self._tell(pending[: self.looks.named], f"it still changed after {self.looks.most} looks", judged=False)

    def _look(self, keys: Sequence[Key]) -> Mapping[Key, Sight]:
        found: dict[Key, Sight] = {}
        for some in batched(keys, _KEYS):
            if checksums.key_columns(self.table):
                sides = [_by_place(side) for side in self.both.ask(checksums.versions(self.table, some))]
            else:
                query = checksums.copies(self.table, [int(key[0]) for key in some])
                sides = [_by_hash(side, some) for side in self.both.ask(query)]
            found |= {key: Sight(sides[0].get(place), sides[1].get(place)) for place, key in enumerate(some)}
        return found

    def _tell(self, keys: Sequence[Key], why: str, *, judged: bool = True) -> None:
        """Note the differences of `keys`, or that they could not be compared, and why."""
        told = set[tuple[object, ...]]()
        for some in batched(keys, _ROWS_SHOWN):
            for a, b, count in self._rows(some):
                seen = tuple(None if row is None else tuple(row.items()) for row in (a, b))
                if seen in told and a is not None:
                    continue  # one row under two names: 1.0 here and 1.00 there
                told.add(seen)
                if a is None and b is None:
                    self._undecided.append(f"{self.table}: a row that differed is gone: {why}")
                    continue
                found = describe(self.table, self._key_names(), a, b, self.masks)
                if judged and a != b:
                    self._differences.append(replace(found, count=count))
                else:
                    named = str(replace(found, changes=())).rsplit(": ", 1)[0]
                    self._undecided.append(f"{named}: {why}")

    def _key_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in checksums.key_columns(self.table))

    def _rows(self, keys: Sequence[Key]) -> list[tuple[Row | None, Row | None, int]]:
        """Each key's rows at both sides as they are now; and, without a key, by how many they differ."""
        names = [column.name for column in checksums.by_name(self.table.columns)]
        if checksums.key_columns(self.table):
            sides = [
                {row[0]: _row(names, row[1:]) for row in side}
                for side in self.both.ask(checksums.printed(self.table, keys))
            ]
            return [(sides[0].get(place), sides[1].get(place), 1) for place in range(len(keys))]
        hashes = [int(key[0]) for key in keys]
        a, b = (
            {row[0]: _row(names, row[1:]) for row in side}
            for side in self.both.ask(checksums.printed_copies(self.table, hashes))
        )
        counts = [{row[0]: int(row[1]) for row in side} for side in self.both.ask(checksums.copies(self.table, hashes))]
        result: list[tuple[Row | None, Row | None, int]] = []
        for hashed in hashes:
            by = counts[0].get(hashed, 0) - counts[1].get(hashed, 0)
            result.append((a.get(hashed) if by > 0 else None, b.get(hashed) if by < 0 else None, abs(by)))
        return result


def _plain(value: object) -> str:
    """A key's value from its ROW text; a hash as it is."""
    if isinstance(value, int):
        return str(value)
    return checksums.unwrapped(str(value)) or ""  # a key is never NULL


def _row(names: Sequence[str], texts: Sequence[str]) -> Row:
    return {name: checksums.unwrapped(text) for name, text in zip(names, texts, strict=True)}


def _by_place(rows: Sequence[TupleRow]) -> dict[int, Version]:
    return {place: Version(str(hashed), version) for place, hashed, version in rows}


def _by_hash(rows: Sequence[TupleRow], keys: Sequence[Key]) -> dict[int, Version]:
    places = {int(key[0]): place for place, key in enumerate(keys)}
    return {places[hashed]: Version(str(count), versions) for hashed, count, versions in rows}

"""Strays: what was committed at a side while it did not serve, past the pooler. The carrier holds them; here they are
read from the slot that keeps them, and it is noted what was decided of each.

Nothing of a stray is lost by a decision: every change of it stays in crossover.stranded at both sides, and the decision
in crossover.stray at the side that it never came to, which is where the carrier looks.
"""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from adapters.postgres.applying import Shape, Statement
from adapters.postgres.bookkeeping import SCHEMA, STRAY
from adapters.postgres.driver import lsn, lsn_text
from adapters.postgres.errors import Drift
from adapters.postgres.pgoutput import UNCHANGED, Begin, Delete, Insert, Relation, Row, Truncate, Update, Value
from adapters.postgres.side import Side
from adapters.postgres.stranded import Seen, Sink, committed_at

TABLE = f"{SCHEMA}.{STRAY}"
MOST_CHANGES = 10_000
"""Of a transaction that is settled row by row."""
_MADE = f"""
create table if not exists {TABLE} (
  stream text, lsn pg_catalog.pg_lsn, xid bigint, verdict text not null, carried boolean not null,
  changes bigint not null, decided_by text not null, decided timestamptz not null, done timestamptz,
  primary key (stream, lsn, xid))
"""
_NOTED = f"""
insert into {TABLE}
values ($1, $2::pg_catalog.pg_lsn, $3::bigint, $4, $5::boolean, $6::bigint, $7, pg_catalog.now(),
        case when $8::boolean then pg_catalog.now() end)
on conflict (stream, lsn, xid) do update set done = coalesce({STRAY}.done, excluded.done)
"""
_DECIDED = f"select lsn::text, xid, verdict, done is not null from {TABLE} where stream = %s"


class Verdict(StrEnum):
    """What becomes of a stray."""

    APPLIED = "applied"
    """Its changes were made at the side that serves, as a client's, and come back from there."""
    DISCARDED = "discarded"
    """The rows that it changed are as at the side that serves."""
    SET_ASIDE = "set aside"
    """The same, done by a switch back, which it stood in the way of."""
    CARRIED = "carried"
    """It is at the side that serves by now: the other side gets it as anything else that is committed there."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A transaction. `changes`: as many as are settled at most; `count`: of all of them, by table."""

    begin: Begin
    changes: tuple[Seen, ...]
    count: Mapping[str, int]

    @property
    def name(self) -> str:
        """By which a person names it: where it was committed."""
        return lsn_text(self.begin.commit)

    @property
    def unsettled(self) -> str:
        """Why it cannot be settled row by row; nothing where it can."""
        emptied = sorted({str(seen.relation) for seen in self.changes if isinstance(seen.change, Truncate)})
        if emptied:
            return f"it emptied {', '.join(emptied)} (TRUNCATE)"
        many = sum(self.count.values())
        return f"it has {many} changes, more than {MOST_CHANGES}" if many > MOST_CHANGES else ""

    def __str__(self) -> str:
        at = committed_at(self.begin).isoformat(timespec="milliseconds")
        tables = ", ".join(f"{name} {count}" for name, count in sorted(self.count.items()))
        return f"{self.name} ({at}; changes by table: {tables})"


class Gathered:
    """Takes what is read, and hands it on to those who keep it. `before`: what was committed there or later is none."""

    def __init__(self, keepers: Sequence[Sink], before: int | None = None) -> None:
        self._keepers = tuple(keepers)
        self._before = before
        self._found: list[tuple[Begin, list[Seen], Counter[str]]] = []

    @property
    def found(self) -> tuple[Stray, ...]:
        """In the order of their commits."""
        return tuple(Stray(begin, tuple(changes), count) for begin, changes, count in self._found)

    def take(self, seen: Seen) -> None:
        """The next change."""
        if self._before is not None and seen.begin.commit >= self._before:
            return
        for keeper in self._keepers:
            keeper.take(seen)
        if not self._found or self._found[-1][0] != seen.begin:
            self._found.append((seen.begin, [], Counter()))
        _, changes, count = self._found[-1]
        count[str(seen.relation)] += 1
        if len(changes) < MOST_CHANGES:
            changes.append(seen)

    def flush(self) -> None:
        """There are no more."""
        for keeper in self._keepers:
            keeper.flush()


@dataclass(frozen=True, slots=True)
class Touched:
    """A row that strays changed: its key stands in `key`; `left` is how they left it, None where it is gone."""

    shape: Shape
    key: Row
    left: Row | None

    @property
    def place(self) -> tuple[str, tuple[Value, ...]]:
        """Table and key."""
        return str(self.shape.table), tuple(self.key[at] for at in self.shape.key)


def touched(strays: Iterable[Stray], shape_of: Callable[[Relation], Shape]) -> tuple[Touched, ...]:
    """The rows that `strays` changed, each once. Pure. Raises Drift where a table has no key."""
    found: dict[tuple[str, tuple[Value, ...]], Touched] = {}

    def put(shape: Shape, key: Row, left: Row | None) -> None:
        now = Touched(shape, key, left)
        before = found.get(now.place)
        if left is not None and before is not None and before.left is not None:
            now = Touched(shape, key, _filled(left, before.left))
        found[now.place] = now

    for seen in (each for stray in strays for each in stray.changes):
        change, shape = seen.change, shape_of(seen.relation)
        if not shape.key:
            raise Drift(f"{seen.relation} has no key, so a row of it cannot be told from another")
        if isinstance(change, Insert):
            put(shape, change.row, change.row)
        elif isinstance(change, Delete):
            put(shape, change.old, None)
        elif isinstance(change, Update):
            old = change.old or change.row
            new = _filled(change.row, old)
            if any(old[at] != new[at] for at in shape.key):
                put(shape, old, None)
            put(shape, new, new if shape.full else change.row)
    return tuple(found.values())


def _filled(new: Row, old: Row) -> Row:
    return tuple(before if now is UNCHANGED else now for before, now in zip(old, new, strict=True))


def ensure(side: Side) -> None:
    """Make the table of decisions."""
    side.run(_MADE)


def decided(side: Side, stream: str) -> Mapping[tuple[int, int], tuple[Verdict, bool]]:
    """What was decided of strays of `stream`, by commit and transaction number, and whether that was done."""
    return {(lsn(at), xid): (Verdict(verdict), done) for at, xid, verdict, done in side.rows(_DECIDED, (stream,))}


def noting(stray: Stray, stream: str, verdict: Verdict, by: str, *, done: bool) -> Statement:
    """Note it; again, that it is done."""
    begin, count = stray.begin, str(sum(stray.count.values()))
    carried = str(verdict is Verdict.CARRIED).lower()
    values = (stream, stray.name, str(begin.xid), verdict.value, carried, count, by, str(done).lower())
    return Statement(_NOTED, values, 1, TABLE)

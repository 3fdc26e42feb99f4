"""What a side committed that never came to the other one: read from its slot without taking it out of there, and kept
at the other side in a table, change by change, where anybody who looks can compare it with what is there now."""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from adapters.postgres.bookkeeping import MARK, PUBLICATION, SCHEMA
from adapters.postgres.describing import bookkeeping_table, described, tables_of
from adapters.postgres.driver import Address, lsn_text
from adapters.postgres.errors import Malformed, Unavailable
from adapters.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Change,
    Commit,
    Delete,
    Insert,
    Old,
    Relation,
    Row,
    Truncate,
    Update,
    decode,
)  # fmt: skip
from adapters.postgres.side import Side
from adapters.postgres.stream import Data, Stream

TABLE = f"{SCHEMA}.stranded"
_MADE = f"""
create table if not exists {TABLE} (
  epoch bigint, lsn pg_catalog.pg_lsn, number bigint, at timestamptz not null, relation text not null,
  kind text not null, was json, is_now json, primary key (epoch, lsn, number))
"""
_KEPT = f"""
insert into {TABLE}
select %s, l::pg_catalog.pg_lsn, n, a, r, k, w::json, i::json
  from unnest(%s::text[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[])
       as given (l, n, a, r, k, w, i)
on conflict do nothing
"""
_BATCH_ROWS, _BATCH_CHARACTERS = 1000, 4 << 20
_SILENT_SECONDS = 30.0
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Found:
    """All of it. LSNs are where commits begin; times are by the clock of the side that made them. `changes`: how many
    of each table."""

    transactions: int = 0
    first: tuple[int, datetime] | None = None
    last: tuple[int, datetime] | None = None
    changes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        if self.first is None or self.last is None:
            return "nothing"
        many = "1 transaction" if self.transactions == 1 else f"{self.transactions} transactions"
        tables = ", ".join(f"{name} {count}" for name, count in sorted(self.changes.items()))
        return f"{many}, {place(*self.first)} to {place(*self.last)}; changes by table: {tables}"


def place(commit: int, at: datetime) -> str:
    """A commit for people."""
    return f"{lsn_text(commit)} ({at.isoformat(timespec='milliseconds')})"


@dataclass(frozen=True, slots=True)
class Seen:
    """A change that was read, the `number`-th of its transaction."""

    begin: Begin
    number: int
    change: Change
    relation: Relation

    @property
    def at(self) -> datetime:
        """When it was committed, by the clock of the side that did."""
        return committed_at(self.begin)


def committed_at(begin: Begin) -> datetime:
    """When a transaction was committed."""
    return _EPOCH + timedelta(microseconds=begin.at)


class Sink(Protocol):
    """Who takes what is read."""

    def take(self, seen: Seen) -> None:
        """The next change. A TRUNCATE comes once for each table."""

    def flush(self) -> None:
        """There are no more."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row of the table."""

    commit: int
    number: int
    at: datetime
    relation: str
    kind: str
    was: str | None
    is_now: str | None


class Keeper:
    """Writes what is found to the table at `side`. Again and again the same rows are kept once."""

    def __init__(self, side: Side, epoch: int) -> None:
        self._side, self._epoch = side, epoch
        self._rows: list[_Kept] = []
        self._characters = 0
        side.run(_MADE)

    def take(self, seen: Seen) -> None:
        """Keep one."""
        was, is_now = _rows(seen.change, seen.relation)
        kind, name = type(seen.change).__name__.lower(), str(seen.relation)
        self._rows.append(_Kept(seen.begin.commit, seen.number, seen.at, name, kind, was, is_now))
        self._characters += len(was or "") + len(is_now or "")
        if len(self._rows) >= _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        rows, self._rows, self._characters = self._rows, [], 0
        if rows:
            columns = [
                [lsn_text(r.commit) for r in rows], [r.number for r in rows], [r.at for r in rows],
                [r.relation for r in rows], [r.kind for r in rows], [r.was for r in rows], [r.is_now for r in rows],
            ]  # fmt: skip
            self._side.run(_KEPT, (self._epoch, *columns))


class _Reading:
    """One pass over a stream. As the carrier has it: a mark that comes first says that a transaction was carried from
    the other side."""

    def __init__(self, applied: int, sink: Sink) -> None:
        self._applied, self._sink = applied, sink
        self._relations: dict[int, Relation] = {}
        self._begin: Begin | None = None
        self._untouched = self._passed_over = False
        self._number = 0
        self.found = Found()

    def take(self, piece: Data) -> int:
        """One message; where its transaction ends, if it ended with it."""
        message = decode(piece.payload)
        if isinstance(message, Begin):
            self._begin, self._number = message, 0
            self._untouched, self._passed_over = True, message.commit <= self._applied
        elif isinstance(message, Relation):
            self._relations[message.id] = message
        elif isinstance(message, Commit):
            return message.end
        elif isinstance(message, Insert | Update | Delete | Truncate):
            self._change(message)
        return 0

    def _change(self, change: Change) -> None:
        first, self._untouched = self._untouched, False
        table = bookkeeping_table(change, self._relations)
        if first and table == MARK and isinstance(change, Insert | Update):
            self._passed_over = True
        if table or self._passed_over:
            return
        if self._begin is None:
            raise Malformed("a change outside of a transaction")
        begin, at = self._begin, committed_at(self._begin)
        if self._number == 0:
            self.found.transactions += 1
            self.found.first = self.found.first or (begin.commit, at)
            self.found.last = (begin.commit, at)
        for oid in tables_of(change):
            relation = described(oid, self._relations)
            self.found.changes[str(relation)] += 1
            self._sink.take(Seen(begin, self._number, change, relation))
            self._number += 1


def _rows(change: Change, relation: Relation) -> tuple[str | None, str | None]:
    if isinstance(change, Insert):
        return None, _json(relation, change.row, key=False)
    if isinstance(change, Update):
        old = None if change.old is None else _json(relation, change.old, key=change.old_kind is Old.KEY)
        return old, _json(relation, change.row, key=False)
    if isinstance(change, Delete):
        return _json(relation, change.old, key=change.old_kind is Old.KEY), None
    return None, None


def _json(relation: Relation, row: Row, *, key: bool) -> str:
    """By column, as text. A value that did not change and was not sent is left out."""
    columns = zip(relation.columns, row, strict=True)
    return json.dumps({c.name: v for c, v in columns if v is not UNCHANGED and (c.key or not key)}, ensure_ascii=False)


def gather(
    source: Address, slot: str, applied: int, to: int, sink: Sink, going_on: Callable[[], None] = lambda: None
) -> Found:
    """Give `sink` all that `source` committed beyond `applied` and before `to`, which a heartbeat that was written
    there has passed. `going_on` is called now and then, and may raise. The slot keeps it still. Raises SlotLost,
    Unavailable."""
    stream = Stream(source, slot, PUBLICATION, application=slot)
    try:
        reading, heard = _Reading(applied, sink), time.monotonic()
        while True:
            going_on()
            piece = stream.read(0.2)
            if piece is None:
                if time.monotonic() - heard > _SILENT_SECONDS:
                    raise Unavailable(f"{source}: the slot {slot} gave nothing for {_SILENT_SECONDS:.0f} s")
                continue
            heard = time.monotonic()
            end = reading.take(piece) if isinstance(piece, Data) else piece.end
            if end >= to:
                sink.flush()
                return reading.found
    finally:
        stream.close()

"""What a database holds, as its catalog tells: tables with their columns and keys, and sequences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from adapters.postgres.driver import Connection


class Identity(StrEnum):
    """By what a published table names the row that an UPDATE or a DELETE meant (REPLICA IDENTITY)."""

    KEY = "key"
    """The primary key, or a unique index chosen for it."""
    FULL = "full"
    """The whole old row."""
    NONE = "none"
    """Nothing: once published, UPDATE and DELETE would fail at the source."""


@dataclass(frozen=True, slots=True)
class Column:
    """`type` as format_type has it, with its modifier; `identity`: "a" (always), "d" (by default) or ""."""

    name: str
    type: str
    not_null: bool = False
    generated: bool = False
    identity: str = ""
    collation: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds rows of its own: an ordinary one or a partition. `columns` in attribute order; `key`: the
    columns of its replica identity, in index order, empty for FULL and NONE; `primary_key` likewise. `rows` is an
    estimate; `bytes` with TOAST, without indexes."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    identity: Identity = Identity.KEY
    rows: int = 0
    bytes: int = 0
    owner: str = ""

    @property
    def qualified(self) -> str:
        """Schema and name, quoted for SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that are written: not those that the server computes."""
        return tuple(column for column in self.columns if not column.generated)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class SequenceState:
    """A sequence. `last` is what was given out last (or comes first, where `called` is False)."""

    schema: str
    name: str
    last: int
    called: bool
    increment: int
    cache: int
    minimum: int = 1
    maximum: int = 2**63 - 1
    cycles: bool = False

    @property
    def qualified(self) -> str:
        """Schema and name, quoted for SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


_TABLES = """
select c.oid, n.nspname, c.relname, c.relreplident::text, greatest(c.reltuples, 0)::bigint,
       pg_catalog.pg_table_size(c.oid), pg_catalog.pg_get_userbyid(c.relowner)
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname = any(%s)
   and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      and d.objid = c.oid and d.deptype = 'e')
 order by 2, 3
"""
_COLUMNS = """
select a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> '',
       a.attidentity::text, coalesce(co.collname, '')
  from pg_catalog.pg_attribute a
  left join pg_catalog.pg_collation co on co.oid = a.attcollation
 where a.attrelid = any(%s) and a.attnum > 0 and not a.attisdropped
 order by a.attrelid, a.attnum
"""
_KEYS = """
select i.indrelid, i.indisprimary, i.indisreplident, array_agg(a.attname::text order by k.place)
  from pg_catalog.pg_index i
  cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = any(%s) and (i.indisprimary or i.indisreplident) and k.place <= i.indnkeyatts
 group by i.indexrelid, i.indrelid, i.indisprimary, i.indisreplident
"""
_SEQUENCES = """
select n.nspname, c.relname, s.seqstart, s.seqincrement, s.seqcache, s.seqmin, s.seqmax, s.seqcycle,
       pg_catalog.pg_sequence_last_value(c.oid)
  from pg_catalog.pg_sequence s
  join pg_catalog.pg_class c on c.oid = s.seqrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = any(%s) and c.relpersistence = 'p'
 order by 1, 2
"""


def tables(connection: Connection, schemas: Sequence[str]) -> tuple[Table, ...]:
    """The permanent tables of `schemas`, by schema and name; without those that belong to an extension."""
    rows = connection.execute(_TABLES, (list(schemas),)).fetchall()
    oids = [row[0] for row in rows]
    columns: dict[int, list[Column]] = defaultdict(list)
    for oid, *column in connection.execute(_COLUMNS, (oids,)).fetchall():
        columns[oid].append(Column(*column))
    primary: dict[int, tuple[str, ...]] = {}
    chosen: dict[int, tuple[str, ...]] = {}
    for oid, is_primary, is_chosen, names in connection.execute(_KEYS, (oids,)).fetchall():
        if is_primary:
            primary[oid] = tuple(names)
        if is_chosen:
            chosen[oid] = tuple(names)
    found: list[Table] = []
    for oid, schema, name, replica, count, size, owner in rows:
        key = {"d": primary.get(oid, ()), "i": chosen.get(oid, ())}.get(replica, ())
        identity = Identity.FULL if replica == "f" else Identity.KEY if key else Identity.NONE
        found.append(Table(schema, name, tuple(columns[oid]), key, primary.get(oid, ()), identity, count, size, owner))
    return tuple(found)


def sequences(connection: Connection, schemas: Sequence[str]) -> tuple[SequenceState, ...]:
    """The sequences of `schemas`, those of identity and serial columns included. One whose value the role may not
    read looks as if it had never been called."""
    rows = connection.execute(_SEQUENCES, (list(schemas),)).fetchall()
    return tuple(
        SequenceState(schema, name, start if last is None else last, last is not None, *rest)
        for schema, name, start, *rest, last in rows
    )

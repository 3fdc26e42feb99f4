"""The SQL with which the rows of two servers are compared: counts and sums of row hashes, computed where the rows are.

A row's hash is a chain of 64-bit hashes: that of one column is the seed of the next. Columns that may be NULL are
hashed each with a seed of its own and joined by XOR, which begins the chain. The end is not linear in any column: two
rows that swap a value change the sum over the rows, although the order of the rows does not count. The sum is kept in
128 bits, so equal rows do not cancel out as they would under XOR: a second aggregate would read every column a second
time, and find nothing that the sum does not.

Each column is hashed by something that differs for any two stored values, in every server of a major version:

- `hash_record` and the hash functions of most types are not that. They hash alike what is equal, and more: 1.0 and
  1.00, -0 and 0, 5 and -5 of numeric, '1 mon' and '30 days', a bigint and another whose halves make the same XOR. They
  hash an enum by its OID, so equal rows would differ from server to server; and they fail for json, xml and points.
- So integers, uuid and text are hashed as they are (a bigint as the seed, which takes all of its 64 bits); times by
  their binary form; floats as they are but for the two zeros; numeric, jsonb, bytea and the like by their text.
- All other types (arrays, enums, domains, ranges, composites, extensions') are hashed as one ROW(...)::text, whose text
  keeps NULL and '' apart, and which holds labels and no OIDs. Its cost is why it is not used for all.

The text forms are those of driver.SESSION: a connection with other settings compares other texts. All columns count,
those that the server computes too, in the order of their names: attribute numbers differ where columns were dropped.
Hashes are those of little-endian machines, and of one major version as promised; 15 to 17 agree.

What a row costs, as measured (7 columns, 200 bytes, in memory; ns of one process): 75 to come by it, which is what
count(*) takes too, 35 to take it apart and to add up, 80 for a text of 128 bytes, 53 for a time, 44 for a numeric, 10
for each column else: about 350. Nothing cheaper was found that tells as much: jit, one hash of an array or of the whole
record (400 and more), hash_numeric with scale and sign, a time by its epoch or its distance from another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapters.postgres.catalog import Column, Table, quoted
from adapters.postgres.driver import Connection, TupleRow, sql

Key = tuple[str, ...]
"""The values of a row's key as the server prints them."""
_TEXT = 'pg_catalog.hashtextextended({c}::pg_catalog.text collate pg_catalog."C", {s})'
_SENT = "pg_catalog.hashtextextended(pg_catalog.encode(pg_catalog.{f}({c}), 'hex') collate pg_catalog.\"C\", {s})"
_FLOAT = f"case when {{c}} = 0 then {_TEXT} else pg_catalog.hashfloat8extended({{c}}, {{s}}) end"
_HASHES = {
    "smallint": "pg_catalog.hashint4extended({c}, {s})",
    "integer": "pg_catalog.hashint4extended({c}, {s})",
    "bigint": "pg_catalog.hashint4extended({k}, {c} # {s})",
    "boolean": "pg_catalog.hashint4extended({c}::integer, {s})",
    "real": _FLOAT,
    "double precision": _FLOAT,
    "uuid": "pg_catalog.uuid_hash_extended({c}, {s})",
    **dict.fromkeys(("text", "character varying", "numeric", "date", "json", "jsonb", "bytea"), _TEXT),
    "timestamp with time zone": _SENT.replace("{f}", "timestamptz_send"),
    "timestamp without time zone": _SENT.replace("{f}", "timestamp_send"),
    "time with time zone": _SENT.replace("{f}", "timetz_send"),
    "time without time zone": _SENT.replace("{f}", "time_send"),
    "interval": _SENT.replace("{f}", "interval_send"),
}
"""By type, without its modifier: the hash of a column {c}, with a seed {s}, which {k} numbers."""
_ORDERED = {"smallint", "integer", "bigint", "uuid", "date", "numeric", "bytea", "timestamp with time zone",
            "timestamp without time zone"}  # fmt: skip
"""Types that every server sorts alike. Text is among them under the collation C only."""
_TEXTS, _BYTEWISE = {"text", "character varying"}, {"C", "POSIX", "ucs_basic"}
_MODIFIER = re.compile(r"\([\d, -]*\)")
_STEP = 0x2545F4914F6CDD1D  # odd and without a pattern: the seeds of two columns share no bits to speak of
_WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class Span:
    """The rows whose `range_columns` are above `lower` and at most `upper`; None: without an end there."""

    lower: Key | None = None
    upper: Key | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and its values."""

    text: sql.Composed
    values: tuple[object, ...] = ()

    def rows(self, connection: Connection) -> list[TupleRow]:
        """Execute it."""
        return connection.execute(self.text, self.values).fetchall()


def by_name(columns: Iterable[Column]) -> tuple[Column, ...]:
    """The order in which columns are hashed and fetched."""
    return tuple(sorted(columns, key=lambda column: column.name))


def key_columns(table: Table) -> tuple[Column, ...]:
    """The columns that name a row: the primary key, or else the key of the replica identity. None: no key."""
    found = {column.name: column for column in table.columns}
    return tuple(found[name] for name in table.primary_key or table.key)


def range_columns(table: Table, *, hidden: Iterable[str] = ()) -> tuple[Column, ...]:
    """The first columns of the key, as far as every server sorts them alike: by them a table is cut into ranges.
    Columns in `hidden` are no part of it, for a range's ends are written down."""
    found: list[Column] = []
    for column in key_columns(table):
        base = _base(column)
        if column.name in hidden or not (base in _ORDERED or (base in _TEXTS and column.collation in _BYTEWISE)):
            break
        found.append(column)
    return tuple(found)


def row_hash(columns: Sequence[Column], alias: str = "t") -> sql.Composed:
    """The hash of `columns` of a row, a bigint that is not NULL where no column is that must not be."""
    apart: list[sql.Composable] = []
    chain: list[tuple[str, sql.SQL, int]] = []
    others: list[sql.Composable] = []
    for number, column in enumerate(by_name(columns), 1):
        name, template = _column(alias, column), _HASHES.get(_base(column))
        if template is None:
            others.append(name)
        elif column.not_null and template.count("{s}") == 1:
            chain.append((template, name, number))
        else:
            hashed = _hash(template, name, number, sql.Literal(_signed(number * _STEP)))
            apart.append(sql.SQL("coalesce({}, ({}))").format(hashed, sql.Literal(_signed(~number * _STEP))))
    if others:
        one = sql.SQL('pg_catalog.hashtextextended(ROW({})::pg_catalog.text collate pg_catalog."C", 0)')
        apart.append(one.format(sql.SQL(", ").join(others)))
    joined = sql.SQL(" # ").join(apart) if apart else sql.SQL("{}::bigint").format(sql.Literal(_STEP))
    if not chain:
        return sql.SQL("pg_catalog.hashint4extended(0, {})").format(joined)
    for template, name, number in chain:
        joined = _hash(template, name, number, joined)
    return joined


def _hash(template: str, name: sql.SQL, number: int, seed: sql.Composable) -> sql.Composed:
    return sql.SQL(template).format(c=name, s=sql.SQL("({})").format(seed), k=sql.Literal(number))


def digest(table: Table, span: Span, ranged: Sequence[Column]) -> Query:
    """How many rows lie in `span`, and the sum of their hashes."""
    where, values = _within(span, ranged)
    text = sql.SQL("select count(*), coalesce(sum({}), 0) from {} t where {}")
    return Query(text.format(row_hash(table.columns), _table(table), where), values)


def parts(table: Table, span: Span, ranged: Sequence[Column], count: int) -> Query:
    """The same for each of `count` parts (a power of two) into which the hash of the key deals the rows of `span`, or
    the hash of the whole row, where there is no key. It reads the rows once, however many parts there are."""
    where, values = _within(span, ranged)
    text = sql.SQL("select {}, count(*), coalesce(sum({}), 0) from {} t where {} group by 1")
    return Query(text.format(_part(table, count), row_hash(table.columns), _table(table), where), values)


def members(table: Table, span: Span, ranged: Sequence[Column], count: int, wanted: Sequence[int]) -> Query:
    """The rows in the `wanted` parts: the key of each (as ROW texts) and its hash; without a key each hash, and how
    many rows have it."""
    where, values = _within(span, ranged)
    keys = [sql.SQL("{}, ").format(_printed("t", column)) for column in key_columns(table)]
    text = sql.SQL("select {}{} from {} t where {} and {} = any(%s)")
    if not keys:
        text = sql.SQL("select {}{}, count(*) from {} t where {} and {} = any(%s) group by 1")
    part = _part(table, count)
    composed = text.format(sql.Composed(keys), row_hash(table.columns), _table(table), where, part)
    return Query(composed, (*values, list(wanted)))


def versions(table: Table, keys: Sequence[Key]) -> Query:
    """For each key of `keys` that is there: its place, the row's hash, and which version of the row that is."""
    text = sql.SQL("select w.place, {}, t.xmin::pg_catalog.text from {}")
    return Query(text.format(row_hash(table.columns), _wanted(table, len(keys))), _numbered(keys))


def printed(table: Table, keys: Sequence[Key]) -> Query:
    """For each key of `keys` that is there: its place, and all columns by name, as ROW texts."""
    columns = sql.SQL(", ").join(_printed("t", column) for column in by_name(table.columns))
    return Query(sql.SQL("select w.place, {} from {}").format(columns, _wanted(table, len(keys))), _numbered(keys))


def copies(table: Table, hashes: Sequence[int]) -> Query:
    """Of a table without a key: for each of `hashes` that is there: how many rows have it, and their versions."""
    text = sql.SQL(
        "select h, count(*), pg_catalog.md5(pg_catalog.string_agg(x, ',' order by x)) from "
        "(select {} as h, t.xmin::pg_catalog.text as x from {} t) r where h = any(%s) group by h"
    )
    return Query(text.format(row_hash(table.columns), _table(table)), (list(hashes),))


def printed_copies(table: Table, hashes: Sequence[int]) -> Query:
    """Of a table without a key: for each of `hashes` that is there: all columns by name of one such row."""
    columns = sql.SQL(", ").join(_printed("t", column) for column in by_name(table.columns))
    text = sql.SQL("select distinct on (1) {}, {} from {} t where {} = any(%s) order by 1")
    hashed = row_hash(table.columns)
    return Query(text.format(hashed, columns, _table(table), hashed), (list(hashes),))


def boundary(table: Table, ranged: Sequence[Column], after: Key | None, step: int) -> Query:
    """The end of the range of `step` rows that begins above `after`: no row where fewer are left."""
    where, values = _within(Span(after), ranged)
    text = sql.SQL("select {} from {} t where {} order by {} offset %s limit 1")
    names = [_column("t", column) for column in ranged]
    shown = sql.SQL(", ").join(_printed("t", column) for column in ranged)
    composed = text.format(shown, _table(table), where, sql.SQL(", ").join(names))
    return Query(composed, (*values, step - 1))


def unwrapped(text: str) -> str | None:
    """The value in ROW(value)::text, as its type prints it; None: NULL. No other text form tells NULL from '' and a
    NULL from a composite of NULLs for every type, and leaves the blanks of a char alone."""
    inner = text[1:-1]
    if not inner:
        return None
    if not inner.startswith('"'):
        return inner
    return inner[1:-1].replace('""', '"').replace("\\\\", "\\")


def _base(column: Column) -> str:
    return _MODIFIER.sub("", column.type)


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _raw(text: str) -> sql.SQL:
    """Text from the catalog: names and types, quoted by it or by `quoted`."""
    return sql.SQL(text)


def _table(table: Table) -> sql.SQL:
    return _raw("only " + _escaped(table.qualified))


def _column(alias: str, column: Column) -> sql.SQL:
    return _raw(f"{alias}.{_escaped(quoted(column.name))}")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")  # the driver looks for placeholders


def _printed(alias: str, column: Column) -> sql.Composed:
    return sql.SQL("ROW({})::pg_catalog.text").format(_column(alias, column))


def _part(table: Table, count: int) -> sql.Composed:
    return sql.SQL("({} & {})").format(row_hash(key_columns(table) or table.columns), sql.Literal(count - 1))


def _cast(column: Column) -> sql.SQL:
    return _raw("%s::pg_catalog.text::" + column.type.replace("%", "%%"))


def _within(span: Span, ranged: Sequence[Column]) -> tuple[sql.Composable, tuple[object, ...]]:
    """The condition of `span`, and its values."""
    names = sql.SQL(", ").join(_column("t", column) for column in ranged)
    values = sql.SQL(", ").join(_cast(column) for column in ranged)
    given: list[object] = []
    conditions: list[sql.Composable] = []
    for bound, operator in ((span.lower, sql.SQL(">")), (span.upper, sql.SQL("<="))):
        if bound is not None:
            conditions.append(sql.SQL("({}) {} ({})").format(names, operator, values))
            given.extend(bound)
    return (sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")), tuple(given)


def _wanted(table: Table, count: int) -> sql.Composed:
    """The table joined to `count` keys that are given as values, each after its place."""
    columns = key_columns(table)
    row = sql.SQL("(%s::integer, {})").format(sql.SQL(", ").join(_cast(column) for column in columns))
    names = [_raw(f"k{number}") for number in range(len(columns))]
    joined = [
        sql.SQL("{} = w.{}").format(_column("t", column), name) for column, name in zip(columns, names, strict=True)
    ]
    return sql.SQL("{} t join (values {}) as w(place, {}) on {}").format(
        _table(table), sql.SQL(", ").join([row] * count), sql.SQL(", ").join(names), sql.SQL(" and ").join(joined)
    )


def _numbered(keys: Sequence[Key]) -> tuple[object, ...]:
    return tuple(value for place, key in enumerate(keys) for value in (place, *key))

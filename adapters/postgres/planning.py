"""The plan of a copy: made once, kept at the target beside what was copied, and taken up again after a kill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from adapters.postgres import chunks
from adapters.postgres.catalog import Table
from adapters.postgres.chunks import Part, Planned
from adapters.postgres.driver import translated
from adapters.postgres.errors import Conflict, Drift
from adapters.postgres.side import Side

_Stored = Mapping[str, Sequence[tuple[Part, bool]]]
_KNOWN = "select relation, part, cut, lower, upper, done is not null from crossover.chunk order by 1, 2"
_NEW = "insert into crossover.chunk (relation, part, cut, lower, upper) values (%s, %s, %s, %s, %s)"
_PAGES = (
    "select pg_catalog.pg_relation_size(%s::pg_catalog.regclass) / pg_catalog.current_setting('block_size')::bigint"
)
_CORRELATION = """
select s.correlation from pg_catalog.pg_stats s
 where s.schemaname = %s and s.tablename = %s and s.attname = %s and not s.inherited
"""
_TYPES = """
select pg_catalog.format_type(oid, null), pg_catalog.format_type(typbasetype, typtypmod), typtype = 'e'
  from pg_catalog.pg_type where typtype in ('e', 'd')
"""


def plan(source: Side, target: Side, tables: Sequence[Table], part_bytes: int) -> tuple[Planned, ...]:
    """All parts of `tables`: those that an earlier run planned, as it cut them, and new ones for the other tables.

    Raises Drift where the earlier cuts do not fit a table any more, and Conflict where a table that nothing was copied
    into holds rows: they are somebody else's.
    """
    stored = _stored(target)
    planned: list[Planned] = []
    for table in tables:
        known = stored.get(table.qualified, ())
        done = {part.number: is_done for part, is_done in known}
        if known and chunks.begun_anew(table, done):
            _forget(target, table)
            known, done = (), {}
        parts = tuple(part for part, _ in known)
        if parts:
            _check(table, parts)
        else:
            _check_empty(target, table)
            parts = _cut(source, table, part_bytes)
            _keep(target, parts)
        planned += chunks.weighed(table, parts, done)
    return tuple(planned)


def _stored(target: Side) -> _Stored:
    found: dict[str, list[tuple[Part, bool]]] = defaultdict(list)
    for *part, done in target.rows(_KNOWN):
        found[part[0]].append((Part(*part), done))
    return found


def _check(table: Table, parts: Sequence[Part]) -> None:
    known = {column.name for column in table.columns}
    gone = frozenset[str]().union(*(chunks.cut_by(part) for part in parts)) - known
    if gone:
        raise Drift(
            f"{table} was being copied by {', '.join(sorted(gone))}, which it does not have any more: "
            "empty it at the other side and delete its rows of crossover.chunk there"
        )


def _check_empty(target: Side, table: Table) -> None:
    (filled,) = target.row(f"select exists (select from only {table.qualified})")  # noqa: S608 - names are quoted
    if filled:
        raise Conflict(f"{table} has rows at the other side, and nothing was copied into it: nothing is added to them")


def _forget(target: Side, table: Table) -> None:
    with translated(target.address), target.connection.transaction():
        target.run(f"truncate only {table.qualified}")
        target.run("delete from crossover.chunk where relation = %s", (table.qualified,))


def _keep(target: Side, parts: Sequence[Part]) -> None:
    rows = [(part.relation, part.number, part.cut, part.lower, part.upper) for part in parts]
    with translated(target.address), target.connection.transaction(), target.connection.cursor() as cursor:
        cursor.executemany(_NEW, rows)


def _cut(source: Side, table: Table, part_bytes: int) -> tuple[Part, ...]:
    """Fresh parts of `table`. Of a small one nothing is asked."""
    count = chunks.wanted_parts(table, part_bytes)
    if count == 1:
        return (Part(table.qualified, 0),)
    (pages,) = source.row(_PAGES, (table.qualified,))
    if chunks.keyless(table):
        return chunks.by_place(table, pages, count)
    correlation = source.rows(_CORRELATION, (table.schema, table.name, chunks.key_of(table)[0]))
    count = chunks.wanted_parts(table, part_bytes, correlation[0][0] if correlation else None)
    sample = source.rows(chunks.sample_query(table, chunks.sample_percent(table, pages)))
    return chunks.by_key(table, sample, count)


def travelling_types(source: Side) -> frozenset[str]:
    """Types of the database whose binary form holds nothing of its server: enums, and domains over what is plain."""
    rows = source.rows(_TYPES)
    enums = frozenset(name for name, _, is_enum in rows if is_enum)
    return enums | {name for name, base, is_enum in rows if not is_enum and chunks.plain(base, enums)}

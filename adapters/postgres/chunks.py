"""What is copied in how many parts, and by what they are cut. Pure.

Each part is read in a snapshot of its own, so a part must hold the same rows in every snapshot: those of a range of
keys. (By place, a row that is updated under way moves from one part into another, and is copied never or twice.) The
ranges are cut by counts of rows, not by values: keys are skewed.

A table without a key has nothing but places. All its parts are read in one snapshot, which is taken while nobody
writes into it: see copying.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from adapters.postgres.catalog import Table, quoted

PART_BYTES = 16 << 20
"""Of a part. Small enough that a kill costs little and that the last parts end together."""
SCATTERED_PARTS = 4
"""At most, of a table whose rows do not lie in the order of its key: each part reads much of the whole table."""
CORRELATED = 0.5
MOST_PARTS = 10_000
SAMPLED = 50_000
"""Rows that a sample has, about: 5 for each of the most parts, and hundreds for each of few."""
PLACE = "ctid"

_PLAIN = frozenset(
    {
        '"char"', "bigint", "bit", "bit varying", "boolean", "box", "bytea", "character", "character varying", "cidr",
        "circle", "date", "datemultirange", "daterange", "double precision", "inet", "int4multirange", "int4range",
        "int8multirange", "int8range", "integer", "interval", "json", "jsonb", "line", "lseg", "macaddr", "macaddr8",
        "money", "name", "numeric", "nummultirange", "numrange", "oid", "path", "pg_lsn", "point", "polygon", "real",
        "smallint", "text", "time with time zone", "time without time zone", "timestamp with time zone",
        "timestamp without time zone", "tsmultirange", "tsquery", "tsrange", "tstzmultirange", "tstzrange", "tsvector",
        "uuid",
    }
)  # fmt: skip
"""Types whose binary form is the same on all servers from 15 on. Not among them: what holds OIDs (regclass) and what
an extension brings, which may have no binary form at all."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a table: the rows from `lower` on and before `upper`, each a JSON list of text forms; None: no bound.
    `cut`: "" (the whole table), PLACE, or the key's columns as a JSON list."""

    relation: str
    number: int
    cut: str = ""
    lower: str | None = None
    upper: str | None = None

    @property
    def by_place(self) -> bool:
        """Whether it means anything in one snapshot only."""
        return self.cut == PLACE


@dataclass(frozen=True, slots=True)
class Planned:
    """A part, the table that it is of, and its share of the table's bytes. `done`: was copied before."""

    table: Table
    part: Part
    weight: int
    done: bool = False


def keyless(table: Table) -> bool:
    """Whether nothing but its place tells a row from another."""
    return not key_of(table)


def key_of(table: Table) -> tuple[str, ...]:
    """The columns by which a table is cut: they are unique and hold no NULL."""
    return table.primary_key or table.key


def wanted_parts(table: Table, part_bytes: int = PART_BYTES, correlation: float | None = None) -> int:
    """In how many parts to copy `table`; `correlation` of its key with the order on disk, as pg_stats has it."""
    parts = max(1, min(MOST_PARTS, round(table.bytes / part_bytes)))
    scattered = not keyless(table) and correlation is not None and abs(correlation) < CORRELATED
    return min(parts, SCATTERED_PARTS) if scattered else parts


def sample_percent(table: Table, pages: int) -> float:
    """How much of `table` to look at for SAMPLED rows of it. `rows` is an estimate and may be none at all: then a page
    is taken to hold few."""
    rows = table.rows or pages * 10
    return min(100.0, max(0.01, 100.0 * SAMPLED / rows)) if rows else 100.0


def sample_query(table: Table, percent: float) -> str:
    """The keys of some rows of `table`, in order, as texts."""
    key = [f"t.{quoted(name)}" for name in key_of(table)]
    texts = ", ".join(f"{name}::text" for name in key)
    rows = f"only {table.qualified} as t tablesample system ({percent:f})"
    return f"select {texts} from {rows} order by {', '.join(key)}"  # noqa: S608 - names are quoted


def quantiles[T](ordered: Sequence[T], parts: int) -> tuple[T, ...]:
    """The bounds between `parts` parts of about as many members each; fewer where too few differ."""
    places = [len(ordered) * number // parts for number in range(1, parts)] if ordered else []
    bounds: list[T] = []
    for place in places:
        bound = ordered[place]
        if bound != ordered[0] and (not bounds or bound != bounds[-1]):
            bounds.append(bound)
    return tuple(bounds)


def by_key(table: Table, sample: Sequence[Sequence[str]], parts: int) -> tuple[Part, ...]:
    """`table` in parts, cut where `sample`, its keys in order, says that as many rows lie on each side."""
    bounds = [json.dumps(list(bound), ensure_ascii=False) for bound in quantiles([tuple(key) for key in sample], parts)]
    cut = json.dumps(list(key_of(table)), ensure_ascii=False) if bounds else ""
    return _between(table, cut, bounds)


def by_place(table: Table, pages: int, parts: int) -> tuple[Part, ...]:
    """`table` in parts of as many pages each."""
    bounds = [json.dumps([f"({page},0)"]) for page in quantiles(range(max(1, pages)), parts)]
    return _between(table, PLACE, bounds)


def _between(table: Table, cut: str, bounds: Sequence[str]) -> tuple[Part, ...]:
    edges = [None, *bounds, None]
    return tuple(
        Part(table.qualified, number, cut, lower, upper) for number, (lower, upper) in enumerate(pairwise(edges))
    )


def select(table: Table, part: Part) -> str:
    """The query for the rows of `part`: the stored columns in their order, without those of child tables."""
    columns = ", ".join(quoted(column.name) for column in table.stored)
    query = f"select {columns} from only {table.qualified}"  # noqa: S608 - names are quoted
    bounds = [
        f"{_left(part)} {sign} {_right(table, part, bound)}"
        for sign, bound in ((">=", part.lower), ("<", part.upper))
        if bound is not None
    ]
    return f"{query} where {' and '.join(bounds)}" if bounds else query


def _columns(part: Part) -> list[str]:
    return [PLACE] if part.by_place else list(json.loads(part.cut))


def _left(part: Part) -> str:
    return PLACE if part.by_place else f"({', '.join(quoted(name) for name in _columns(part))})"


def _right(table: Table, part: Part, bound: str) -> str:
    types = {column.name: column.type for column in table.columns}
    values = [
        f"{_literal(value)}::{'pg_catalog.tid' if part.by_place else types[name]}"
        for name, value in zip(_columns(part), json.loads(bound), strict=True)
    ]
    return f"({', '.join(values)})"


def _literal(text: str) -> str:
    """A string for SQL, in a session with standard_conforming_strings."""
    return "'" + text.replace("'", "''") + "'"


def cut_by(part: Part) -> frozenset[str]:
    """The columns that `part` is cut by."""
    return frozenset() if part.by_place or not part.cut else frozenset(_columns(part))


def binary(table: Table, also: frozenset[str] = frozenset()) -> bool:
    """Whether the rows of `table` travel in binary form, which costs both servers about a third less. `also`: names of
    types, as format_type has them, that are as good as the plain ones: enums, which are sent by their labels."""
    return bool(table.stored) and all(plain(column.type, also) for column in table.stored)


def plain(name: str, also: frozenset[str]) -> bool:
    """Whether a type, as format_type has it, has the same binary form on all servers."""
    bare = name.removesuffix("[]")
    if bare in also:
        return True
    return re.sub(r"\([-\d,]*\)", "", bare) in _PLAIN


def in_order(planned: Sequence[Planned]) -> tuple[Planned, ...]:
    """What is not done yet: first what is read in the one snapshot that must be kept for it, then the largest tables,
    so that nothing large is begun last."""
    sizes: dict[str, int] = {}
    for each in planned:
        sizes[each.part.relation] = sizes.get(each.part.relation, 0) + each.weight
    waiting = [each for each in planned if not each.done]
    return tuple(
        sorted(
            waiting, key=lambda e: (not keyless(e.table), -sizes[e.part.relation], e.part.relation, e.part.number)
        )
    )  # fmt: skip


def weighed(table: Table, parts: Sequence[Part], done: Mapping[int, bool] | None = None) -> tuple[Planned, ...]:
    """`parts` with their shares of the bytes of `table`."""
    share = max(1, table.bytes // max(1, len(parts)))
    return tuple(Planned(table, part, share, (done or {}).get(part.number, False)) for part in parts)


def begun_anew(table: Table, done: Mapping[int, bool]) -> bool:
    """Whether what was copied of `table` is of no use: its parts were read in a snapshot that is gone."""
    return keyless(table) and not all(done.values())

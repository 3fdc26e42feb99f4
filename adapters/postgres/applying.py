"""The SQL that makes a change of one side on the other. Pure: over catalog.Table and what pgoutput said.

Values go as text, each with the type of its column, so that they come out as they went in. Types are named without
their modifiers, for an explicit cast to varchar(3) cuts off what an assignment refuses.

Two modes. Strictly, a row that is missing or there already is an error: the statement says how many rows it must touch.
While catching up over a copy, whose rows may be newer than a change, a change is made so that making it again changes
nothing: an INSERT writes over what is there, an UPDATE or DELETE of what is missing passes.
"""

# ruff: noqa: S608 - the statements are made of names that catalog.quoted quotes; values are parameters

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from adapters.postgres.catalog import Column, Table, quoted
from adapters.postgres.errors import Drift
from adapters.postgres.masks import MASKED, cut
from adapters.postgres.pgoutput import UNCHANGED, Delete, Relation, Row, Update, Value

Parameter = str | Sequence[Value] | None
ROWS_A_STATEMENT = 1000
"""So many rows go into one INSERT."""
_MODIFIER = re.compile(r"\([^)]*\)")
_FIXED = re.compile(r"^(character|bit)(?! varying)\b")
_UNFIXED = {"character": "pg_catalog.bpchar", "bit": "bit varying"}


def bare_type(name: str) -> str:
    """A type's name without its modifier. Without one, `character` and `bit` would mean a length of one."""
    if '"' in name:
        return name
    return _FIXED.sub(lambda found: _UNFIXED[found[1]], _MODIFIER.sub("", name))


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A published table as changes of it are written here. `columns` in the order in which they are sent; `key`: at
    which of these places stands what a row is found by, empty where it is the whole row. `operators`: by column, what
    compares a key where that is not pg_catalog's `=`. Compared by identity: statements are remembered by it."""

    table: Table
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    full: bool = False
    operators: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    """Columns whose values are shown nowhere."""

    def cast(self, place: int, number: int) -> str:
        """Parameter `number` as a value of the column at `place`."""
        return f"${number}::{bare_type(self.columns[place].type)}"

    def name(self, place: int) -> str:
        """The column's name for SQL."""
        return quoted(self.columns[place].name)

    def told(self, row: Row) -> str:
        """Which row it is, for people: by its key, never by its other values."""
        if not self.key:
            return "a row (the table has no key)"
        names = ", ".join(self.key_names)
        values = [self._shown(self.columns[place].name, row[place]) for place in self.key]
        return f"the row ({names}) = ({', '.join(values)})"

    def _shown(self, column: str, value: Value) -> str:
        return MASKED if column in self.hidden else cut(str(value))

    @property
    def key_names(self) -> tuple[str, ...]:
        """The columns of the key, in the table's order."""
        return tuple(self.columns[place].name for place in self.key)

    def told_duplicate(self, detail: str) -> str:
        """The same of a server's text on a duplicate, `Key (a)=(1) already exists.`; nothing where that is of another
        key, or in another language."""
        key = self.table.key or self.table.primary_key
        found = re.match(r"Key \((.*?)\)=\((.*)\) already exists", detail, re.DOTALL)
        if found is None or found[1] != ", ".join(key):
            return ""
        # Which of several values is which cannot be told for sure: one that is hidden hides all.
        return f"the row ({found[1]}) = ({MASKED if self.hidden & set(key) else cut(found[2])})"


@dataclass(frozen=True, slots=True)
class Statement:
    """What to execute, with `$n` for parameters. `rows`: how many it must touch, None where any number will do."""

    text: str
    values: Sequence[Parameter | Value]
    rows: int | None
    table: str
    about: tuple[Shape, Row | None] | None = None
    """The row, None where there are several."""

    def told(self, detail: str = "") -> str:
        """What it is about, for people; `detail` is the server's, of an error."""
        if self.about is None:
            return self.table
        shape, row = self.about
        found = shape.told(row) if row is not None else shape.told_duplicate(detail)
        return f"{self.table}: {found}" if found else self.table


def shape_of(
    relation: Relation, table: Table, operators: Mapping[str, str], hidden: frozenset[str] = frozenset()
) -> Shape:
    """How changes of `relation` are written to `table`; `hidden`: columns of it whose values are not shown.
    Raises Drift where their columns or keys differ."""
    here = {column.name: column for column in table.stored}
    there = [column.name for column in relation.columns]
    if set(there) != set(here):
        raise Drift(
            f"{table}: the two sides have other columns: only at the source: {_listed(set(there) - set(here))}; "
            f"only at the target: {_listed(set(here) - set(there))}. Make them equal: the stream goes on by itself"
        )
    full = relation.identity == "f"
    key = set(table.primary_key) if full else {column.name for column in relation.columns if column.key}
    if key and not full and key not in (set(table.key), set(table.primary_key)):
        raise Drift(
            f"{table}: its rows are known by {_listed(key)} at the source, by {_listed(set(table.key))} at the target"
        )
    places = tuple(place for place, name in enumerate(there) if name in key)
    return Shape(table, tuple(here[name] for name in there), places, full, operators, hidden)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def insert(shape: Shape, rows: Sequence[Row], catching_up: bool) -> list[Statement]:
    """New rows, in one statement where that can be."""
    if catching_up and not shape.key:
        return [_insert_unless_there(shape, row) for row in rows]
    if not shape.columns:
        text = f"insert into {shape.table.qualified} default values"
        return [Statement(text, (), 1, str(shape.table)) for _ in rows]
    text = _insert_text(shape, len(rows) > 1, catching_up)
    values = rows[0] if len(rows) == 1 else [list(column) for column in zip(*rows, strict=True)]
    about = rows[0] if len(rows) == 1 else None
    return [Statement(text, values, None if catching_up else len(rows), str(shape.table), (shape, about))]


def _insert_head(shape: Shape) -> str:
    overriding = " overriding system value" if any(column.identity == "a" for column in shape.columns) else ""
    names = ", ".join(quoted(column.name) for column in shape.columns)
    return f"insert into {shape.table.qualified} ({names}){overriding}"


@lru_cache(maxsize=1024)
def _insert_text(shape: Shape, many: bool, catching_up: bool) -> str:
    places = range(len(shape.columns))
    if many:
        values = ", ".join(f"v.c{place}::{bare_type(shape.columns[place].type)}" for place in places)
        arrays = ", ".join(f"${place + 1}::pg_catalog.text[]" for place in places)
        source = f"select {values} from unnest({arrays}) as v({', '.join(f'c{place}' for place in places)})"
    else:
        source = f"values ({', '.join(shape.cast(place, place + 1) for place in places)})"
    return f"{_insert_head(shape)} {source}{_over(shape) if catching_up else ''}"


def _over(shape: Shape) -> str:
    """What an INSERT does where the key is there already."""
    key = ", ".join(shape.name(place) for place in shape.key)
    others = [
        shape.name(place)
        for place, column in enumerate(shape.columns)
        if place not in shape.key and column.identity != "a"
    ]
    what = "update set " + ", ".join(f"{name} = excluded.{name}" for name in others) if others else "nothing"
    return f" on conflict ({key}) do {what}"


def _insert_unless_there(shape: Shape, row: Row) -> Statement:
    values = ", ".join(shape.cast(place, place + 1) for place in range(len(shape.columns)))
    text = (
        f"{_insert_head(shape)} select {values} where not exists "
        f"(select from {shape.table.qualified} where {_matching(shape, 1)})"
    )
    return Statement(text, row, None, str(shape.table), (shape, row))


@lru_cache(maxsize=1024)
def _matching(shape: Shape, first: int) -> str:
    """The condition that a row is the one in the parameters from `first` on. A whole row is compared by its text: it
    is what was sent, and not each type has an equality."""
    if not shape.key:
        return " and ".join(
            f"{shape.name(place)}::text is not distinct from ({shape.cast(place, first + place)})::text"
            for place in range(len(shape.columns))
        )
    return " and ".join(
        f"{shape.name(place)} {shape.operators.get(shape.columns[place].name, '=')} {shape.cast(place, number)}"
        for number, place in enumerate(shape.key, first)
    )


def _finding(shape: Shape, first: int) -> str:
    """_matching, of one row where several are alike."""
    if shape.key:
        return _matching(shape, first)
    table = shape.table.qualified
    return f"ctid = (select ctid from {table} where {_matching(shape, first)} limit 1)"


def _found_by(shape: Shape, row: Row) -> tuple[Value, ...]:
    return tuple([row[place] for place in shape.key]) if shape.key else row


def delete(shape: Shape, change: Delete, catching_up: bool) -> list[Statement]:
    """A row that is gone."""
    return [_delete(shape, change.old, None if catching_up else 1)]


def _delete(shape: Shape, old: Row, rows: int | None) -> Statement:
    text = f"delete from {shape.table.qualified} where {_finding(shape, 1)}"
    return Statement(text, _found_by(shape, old), rows, str(shape.table), (shape, old))


def removal(shape: Shape, row: Row) -> Statement:
    """The row with the key of `row` is not there afterwards."""
    return _delete(shape, row, None)


def look(shape: Shape, row: Row, *, lock: bool = False) -> Statement:
    """The row with the key of `row` as a stream would send it. `lock`: it stays so until the transaction ends."""
    text = f"select {_sent(shape)} from {shape.table.qualified} where {_matching(shape, 1)}"
    return Statement(f"{text}{' for update' if lock else ''}", _found_by(shape, row), None, str(shape.table))


def _sent(shape: Shape) -> str:
    """A cast to text is not always what a type's own output says (boolean, character)."""
    names = [shape.name(place) for place in range(len(shape.columns))]
    return ", ".join(
        f"case when {name} is not distinct from null then null else pg_catalog.format('%s', {name}) end"
        for name in names
    )


def update(shape: Shape, change: Update, catching_up: bool) -> list[Statement]:
    """A row that has become another."""
    old, new = change.old or change.row, change.row
    if shape.full and change.old is not None:  # the old row is whole, and brings what was not sent again
        new = tuple([before if now is UNCHANGED else now for before, now in zip(old, new, strict=True)])
    moved = any(new[place] is not UNCHANGED and new[place] != old[place] for place in shape.key)
    rows = None if catching_up else 1
    if catching_up and (moved or not shape.key):
        return _move_over(shape, old, new)
    return [_move(shape, old, new, rows) if moved else _update(shape, old, new, rows)]


def _move_over(shape: Shape, old: Row, new: Row) -> list[Statement]:
    """A row whose key changed while its table was copied: the copy may have it under both keys, either, or none."""
    if UNCHANGED not in new:
        return [_delete(shape, old, None), *insert(shape, [new], True)]
    table, last = shape.table.qualified, len(shape.key) + 1
    there = f"exists (select from {table} where {_matching(shape, last)})"
    gone = f"delete from {table} where {_matching(shape, 1)} and {there}"
    values = (*_found_by(shape, old), *_found_by(shape, _filled(new, old)))
    return [
        Statement(gone, values, None, str(shape.table), (shape, old)),
        _move(shape, old, new, None),
        _update(shape, _filled(new, old), new, 1),  # none: what was not sent again is to be had from a new copy only
    ]


def _filled(new: Row, old: Row) -> Row:
    return tuple([before if now is UNCHANGED else now for before, now in zip(old, new, strict=True)])


def _update(shape: Shape, old: Row, new: Row, rows: int | None) -> Statement:
    """Where the key stays."""
    kept = {place for place in shape.key if new[place] is UNCHANGED or new[place] == old[place]}
    return _set(shape, old, new, rows, frozenset(kept))


def _move(shape: Shape, old: Row, new: Row, rows: int | None) -> Statement:
    """Where the key changes."""
    if not any(shape.columns[place].identity == "a" and new[place] != old[place] for place in shape.key):
        return _set(shape, old, new, rows, frozenset())
    sent = tuple(place for place, value in enumerate(new) if value is not UNCHANGED)
    text = _replacing(shape, sent)
    values = (*[new[place] for place in sent], *_found_by(shape, old))
    return Statement(text, values, rows, str(shape.table), (shape, old))


@lru_cache(maxsize=1024)
def _replacing(shape: Shape, sent: tuple[int, ...]) -> str:
    """An UPDATE of a column GENERATED ALWAYS AS IDENTITY, which no UPDATE may set."""
    numbers = {place: number for number, place in enumerate(sent, 1)}
    values = ", ".join(
        shape.cast(place, numbers[place]) if place in numbers else f"gone.{shape.name(place)}"
        for place in range(len(shape.columns))
    )
    found = _finding(shape, len(sent) + 1)
    return (
        f"with gone as (delete from {shape.table.qualified} where {found} returning *) "
        f"{_insert_head(shape)} select {values} from gone"
    )


def _set(shape: Shape, old: Row, new: Row, rows: int | None, kept: frozenset[int]) -> Statement:
    sent = [place for place, value in enumerate(new) if value is not UNCHANGED and place not in kept]
    fixed = tuple(place for place in sent if shape.columns[place].identity == "a" and place not in shape.key)
    written = tuple(place for place in sent if shape.columns[place].identity != "a")
    text = _set_text(shape, written, fixed)
    values = (*[new[place] for place in written], *_found_by(shape, old), *[new[place] for place in fixed])
    return Statement(text, values, rows, str(shape.table), (shape, old))


@lru_cache(maxsize=1024)
def _set_text(shape: Shape, written: tuple[int, ...], fixed: tuple[int, ...]) -> str:
    """`fixed`: columns that no UPDATE may set: the row is looked for with the value that it should have."""
    after = len(written) + 1
    found = _finding(shape, after)
    after += len(shape.key) or len(shape.columns)
    found += "".join(f" and {shape.name(place)} = {shape.cast(place, after + n)}" for n, place in enumerate(fixed))
    if not written:
        return f"select from {shape.table.qualified} where {found}"
    sets = ", ".join(f"{shape.name(place)} = {shape.cast(place, number)}" for number, place in enumerate(written, 1))
    return f"update {shape.table.qualified} set {sets} where {found}"


def truncate(shapes: Sequence[Shape]) -> list[Statement]:
    """Tables that were emptied together. Without RESTART IDENTITY: sequences are moved by the switch."""
    text = "truncate only " + ", ".join(f"{shape.table.qualified}" for shape in shapes)
    return [Statement(text, (), None, ", ".join(str(shape.table) for shape in shapes))] if shapes else []


class Gathering:
    """Changes in their order, as statements to be executed; what follows itself as INSERTs of one table is one."""

    def __init__(self) -> None:
        self._statements: list[Statement] = []
        self._shape: Shape | None = None
        self._catching_up = False
        self._rows: list[Row] = []
        self.bytes = 0
        """About how much is held."""

    def insert(self, shape: Shape, row: Row, catching_up: bool) -> None:
        """A new row."""
        if shape is not self._shape or catching_up != self._catching_up or len(self._rows) >= ROWS_A_STATEMENT:
            self._close()
            self._shape, self._catching_up = shape, catching_up
        self._rows.append(row)
        self.bytes += _bytes(row)

    def add(self, statements: Sequence[Statement]) -> None:
        """Anything else."""
        self._close()
        self._statements += statements
        self.bytes += sum([_bytes(statement.values) for statement in statements])

    def take(self) -> list[Statement]:
        """All of it; nothing is held afterwards."""
        self._close()
        taken, self._statements, self.bytes = self._statements, [], 0
        return taken

    def _close(self) -> None:
        if self._shape is not None and self._rows:
            self._statements += insert(self._shape, self._rows, self._catching_up)
        self._shape, self._rows = None, []


def _bytes(values: Sequence[Parameter | Value]) -> int:
    return 100 + sum([len(value) for value in values if isinstance(value, str)])

"""Strays, row by row, for people and machines. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from adapters.postgres.masks import Masks
from adapters.postgres.pgoutput import UNCHANGED, Row
from adapters.postgres.stranded import TABLE, committed_at
from adapters.postgres.strays import Stray, Touched
from validation.database.differences import Change, describe

ROWS_TOLD = 20
"""Of one stray. All of its changes stand in crossover.stranded."""
_COLUMNS_TOLD = 8
"""Of one row, on its line."""


@dataclass(frozen=True, slots=True)
class ToldRow:
    """A row that a stray changed. `changes`: columns that differ, `a` at the serving side now, `b` as the stray left
    them; bounded in length, and masked where that is asked for."""

    table: str
    key: dict[str, str | None]
    what: str
    changes: tuple[Change, ...]

    def line(self, serving: str) -> str:
        """For people."""
        named = ", ".join(f"{column} = {_shown(value)}" for column, value in self.key.items())
        some = self.changes[:_COLUMNS_TOLD]
        found = "; ".join(f"{c.column}: {_shown(c.a)} at {serving}, {_shown(c.b)} by the stray" for c in some)
        more = len(self.changes) - len(some)
        return (
            f"{self.table} ({named}): {self.what}{f': {found}' if found else ''}{f'; and {more} more' if more else ''}"
        )


@dataclass(frozen=True, slots=True)
class ToldStray:
    """A stray. `rows`: the first ROWS_TOLD that it changed; `unsettled`: why it cannot be settled row by row."""

    name: str
    side: str
    at: str
    serving: str
    count: dict[str, int]
    rows: tuple[ToldRow, ...]
    unsettled: str

    def lines(self) -> list[str]:
        """For people."""
        tables = ", ".join(f"{name} {count}" for name, count in sorted(self.count.items()))
        told = [f"{self.name} at {self.side}, committed {self.at}; changes by table: {tables}"]
        told += [f"    {row.line(self.serving)}" for row in self.rows]
        if len(self.rows) == ROWS_TOLD:
            told.append(f"    and maybe more: {TABLE} has all of them, where lsn = '{self.name}'")
        return told + ([f"    not to be settled row by row: {self.unsettled}"] if self.unsettled else [])

    def as_dict(self) -> dict[str, object]:
        """For machines."""
        return asdict(self)


def told(
    stray: Stray, side: str, serving: str, rows: tuple[tuple[Touched, Row | None], ...], masks: Masks
) -> ToldStray:
    """`rows`: what it touched, and how that is at `serving` now."""
    at = committed_at(stray.begin).isoformat(timespec="milliseconds")
    told_rows = tuple(_told(each, now, masks) for each, now in rows)
    return ToldStray(stray.name, side, at, serving, dict(stray.count), told_rows, stray.unsettled)


def _told(each: Touched, now: Row | None, masks: Masks) -> ToldRow:
    shape = each.shape
    names = [column.name for column in shape.columns]
    there = dict(zip(names, now, strict=True)) if now is not None else {}
    left = {
        name: there.get(name) if value is UNCHANGED else value
        for name, value in zip(names, each.left or each.key, strict=True)
    }
    none: dict[str, str | None] = dict.fromkeys(names)
    a = {name: None if value is UNCHANGED else value for name, value in (there or none).items()}
    b = {name: None if value is UNCHANGED else value for name, value in left.items()}
    what = "changed" if now is not None and each.left is not None else "gone at both sides"
    if now is None and each.left is not None:
        what = "only by the stray"
    elif now is not None and each.left is None:
        what, b = "deleted by the stray", none
    elif now is None:
        b = none
    difference = describe(shape.table, shape.key_names, a, b, masks)
    return ToldRow(str(shape.table), _key_shown(each, masks), what, difference.changes)


def _key_shown(each: Touched, masks: Masks) -> dict[str, str | None]:
    """The key by its own values, which the row that is gone has in no other place."""
    shape = each.shape
    row = {c.name: None if v is UNCHANGED else v for c, v in zip(shape.columns, each.key, strict=True)}
    return dict(describe(shape.table, shape.key_names, row, None, masks).key)


def _shown(value: str | None) -> str:
    return "NULL" if value is None else f"'{value}'"

"""Columns whose values are shown nowhere, and how much of any other value is."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from adapters.postgres.catalog import Table

MASKED = "(masked)"
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Masks:
    """Columns whose values appear nowhere. A pattern is schema.table.column, `*` stands for anything."""

    patterns: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Masks:
        """Patterns by commas, as the environment has them."""
        return cls(frozenset(pattern for pattern in text.split(",") if pattern))

    def hides(self, table: Table, column: str) -> bool:
        """Whether the values of that column are not to be shown."""
        name = f"{table.schema}.{table.name}.{column}"
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def hidden(self, table: Table) -> frozenset[str]:
        """The columns of `table` that are not to be shown."""
        return frozenset(column.name for column in table.columns if self.hides(table, column.name))


def cut(value: str, start: int = 0, most: int = _SHOWN) -> str:
    """As much of a long value as fits in a line, from `start`: what differs is in sight."""
    end = start + most
    return ("…" if start else "") + value[start:end] + (f"… ({len(value)} characters)" if end < len(value) else "")

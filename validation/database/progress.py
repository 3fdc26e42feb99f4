"""What of a comparison is done: so that one that was killed goes on, and does not begin again.

Only ranges that were found the same are kept. What differed is looked at anew. Ranges' ends are values of keys; columns
that are masked are never used for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from adapters.postgres.catalog import Table
from adapters.postgres.checksums import Key, Span

VERSION = 1


class UnreadableProgress(ValueError):
    """A state that this version cannot read: the comparison begins anew."""


def shape(table: Table) -> str:
    """What must be the same for rows to be comparable: names and types of the columns, and the key."""
    columns = sorted(f"{column.name} {column.type}" for column in table.columns)
    return json.dumps([columns, table.primary_key or table.key], ensure_ascii=False)


@dataclass(slots=True)
class Part:
    """A range of a table. `rows`: how many were found the same there; None: not yet."""

    lower: Key | None = None
    upper: Key | None = None
    rows: int | None = None

    @property
    def span(self) -> Span:
        """For checksums."""
        return Span(self.lower, self.upper)


@dataclass(slots=True)
class TableProgress:
    """A table, its shape when it was cut, and its ranges."""

    shape: str
    parts: list[Part]


@dataclass(slots=True)
class Progress:
    """Of one comparison. `identity` says what is compared (both sides, and the schema's fingerprint, say): the state of
    another is not gone on with. `started` is when the oldest of what is kept was seen, RFC 3339: from then the verdict
    counts."""

    identity: str
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    tables: dict[str, TableProgress] = field(default_factory=dict)

    def known(self, table: Table) -> list[Part] | None:
        """The ranges of `table`, where it was cut and still looks the same."""
        found = self.tables.get(str(table))
        return found.parts if found is not None and found.shape == shape(table) else None

    def cut(self, table: Table, spans: Iterable[Span]) -> list[Part]:
        """Note into which ranges `table` is cut."""
        parts = [Part(span.lower, span.upper) for span in spans]
        self.tables[str(table)] = TableProgress(shape(table), parts)
        return parts

    def to_json(self) -> str:
        """For a file."""
        return json.dumps({"version": VERSION, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def resumed(cls, text: str | bytes | None, identity: str) -> Progress:
        """What `text` says was done of the comparison of that `identity`; a new one where it says nothing of use."""
        try:
            found = cls.from_json(text or "")
        except UnreadableProgress:
            return cls(identity)
        return found if found.identity == identity else cls(identity)

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Read what to_json wrote. Raises UnreadableProgress."""
        try:
            body = json.loads(text)
            if body["version"] != VERSION:
                raise UnreadableProgress(f"a comparison's state of version {body['version']!r}, not {VERSION}")
            tables = {
                name: TableProgress(table["shape"], [_part(part) for part in table["parts"]])
                for name, table in body["tables"].items()
            }
            return cls(str(body["identity"]), datetime.fromisoformat(body["started"]).isoformat(), tables)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UnreadableProgress):
                raise
            raise UnreadableProgress(f"not a comparison's state: {type(error).__name__}") from None


def _part(body: dict[str, object]) -> Part:
    rows = body["rows"]
    if rows is not None and (not isinstance(rows, int) or rows < 0):
        raise UnreadableProgress("a range's count of rows is none")
    return Part(_key(body["lower"]), _key(body["upper"]), rows)


def _key(values: object) -> Key | None:
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UnreadableProgress("a range's end is no key")
    return tuple(values)

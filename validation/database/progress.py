"""What of a comparison is done: so that one that was killed goes on, and does not begin again.

Only ranges that were found the same are kept. What differed, or could not be compared, is looked at anew. Ranges' ends
are values of keys; columns that are masked are never used for them.

Why a range counts that was found the same before, although rows change all the time: from then on nobody writes it at
the side that does not serve but the carrier, which applies each change of the side that serves, in order, to exactly
its row, or stops. That it did so up to now is proved by a heartbeat, for which a run that goes on waits first. So a
range that was the same stays so, as those do that an uninterrupted comparison looked at first. Whatever else the move
writes makes the identity another one: a switch, a copy, rows that were put right; so does a server that was promoted or
restored to a point in time, and a migration of definitions. What is left is whoever writes past the pooler: a stray is
what the stream from there stops at, but rows that were mended by hand, wrongly, are shown by a comparison alone. For
their sake a range counts for a time only, and the verdict is as old as the oldest range in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from adapters.postgres.catalog import Table
from adapters.postgres.checksums import Key, Span
from validation.verdicts import AHEAD, moment

VERSION = 2
"""Raised where the JSON form changes, or what is taken to be the same (checksums.py)."""
COUNTS = timedelta(hours=2)
"""How long a range counts, where verdicts do not expire sooner. Longer than a run may take by default (1 h): one that
its deadline ended is to be gone on with. Not much longer, for `compare` is the last look at the rows of a large table
before a switch."""


class UnreadableProgress(ValueError):
    """A state that this version cannot read: the comparison begins anew."""


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def shape(table: Table) -> str:
    """What must be the same for rows to be comparable: a digest of the columns' names and types, and of the key."""
    columns = sorted(f"{column.name} {column.type}" for column in table.columns)
    text = json.dumps([columns, table.primary_key or table.key])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Part:
    """A range of a table. `rows`: how many were found the same there, None: not yet; `seen`: when that was begun."""

    lower: Key | None = None
    upper: Key | None = None
    rows: int | None = None
    seen: datetime | None = None

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
    """Of one comparison. `identity` says by name what makes ranges of before count still: the state of another is not
    gone on with. `began`: when this run of it began."""

    identity: Mapping[str, str]
    began: datetime = field(default_factory=utc_now)
    tables: dict[str, TableProgress] = field(default_factory=dict)

    @property
    def started(self) -> datetime:
        """When the oldest of what it rests on was seen: from then the verdict counts."""
        return min([self.began, *(part.seen for part in self._parts() if part.seen is not None)])

    @property
    def done(self) -> tuple[int, int]:
        """How many ranges are done, and how many are known."""
        parts = self._parts()
        return sum(part.rows is not None for part in parts), len(parts)

    def known(self, table: Table) -> list[Part] | None:
        """The ranges of `table`, where it was cut and still looks the same."""
        found = self.tables.get(str(table))
        return found.parts if found is not None and found.shape == shape(table) else None

    def cut(self, table: Table, spans: Iterable[Span]) -> list[Part]:
        """Note into which ranges `table` is cut."""
        parts = [Part(span.lower, span.upper) for span in spans]
        self.tables[str(table)] = TableProgress(shape(table), parts)
        return parts

    def drop(self, after: datetime, before: datetime) -> None:
        """Take each range for not done that was not seen between `after` and `before`."""
        for part in self._parts():
            if part.seen is not None and not after <= part.seen <= before:
                part.rows = part.seen = None

    def to_json(self) -> str:
        """To be kept."""
        body = {"version": VERSION, "identity": dict(self.identity), "tables": asdict(self)["tables"]}
        return json.dumps(body, default=datetime.isoformat)

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
            return cls({str(name): str(fact) for name, fact in body["identity"].items()}, tables=tables)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UnreadableProgress):
                raise
            raise UnreadableProgress(f"not a comparison's state: {type(error).__name__}") from None

    def _parts(self) -> list[Part]:
        return [part for table in self.tables.values() for part in table.parts]


def resume(text: str | None, identity: Mapping[str, str], now: datetime, limit: timedelta) -> tuple[Progress, str]:
    """What the comparison of that `identity` goes on with, of what `text` says was done; and what is to be said of it,
    nothing where nothing was kept. `limit`: how old a range may be. Pure."""
    anew, what = Progress(identity, now), "an earlier comparison"
    if text is None:
        return anew, ""
    try:
        found = Progress.from_json(text)
    except UnreadableProgress as error:
        return anew, f"{what} is not gone on with: {error}"
    found.began = now
    what = f"a comparison of {moment(found.started)}"
    changed = sorted(name for name in {*identity, *found.identity} if identity.get(name) != found.identity.get(name))
    if changed:
        return anew, f"{what} is not gone on with: since then another: {', '.join(changed)}"
    found.drop(now - limit, now + AHEAD)
    done, known = found.done
    if not done:
        return anew, f"{what} is not gone on with: nothing of it is younger than {limit / timedelta(hours=1):g} h"
    return found, f"going on with a comparison of {moment(found.started)}: {done} of {known} ranges are done"


def _part(body: dict[str, object]) -> Part:
    rows, seen = body["rows"], body["seen"]
    if (rows is None) is not (seen is None):
        raise UnreadableProgress("a range's count of rows is without its time, or the other way round")
    if rows is not None and (not isinstance(rows, int) or rows < 0):
        raise UnreadableProgress("a range's count of rows is none")
    return Part(_key(body["lower"]), _key(body["upper"]), rows, _time(seen))


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    found = datetime.fromisoformat(str(value))
    if found.tzinfo is None:
        raise UnreadableProgress("a range's time has no zone")
    return found


def _key(values: object) -> Key | None:
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UnreadableProgress("a range's end is no key")
    return tuple(values)

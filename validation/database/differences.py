"""What differs between two sides, and the decision that it does. Pure: nothing here asks a server.

Writers go on while rows are compared, and a copy follows its source by a moment. So what is seen to differ is looked
at again, each time after the copy has caught up with what was written before the last look; `judge` says when enough
was seen. A row is told from its own later versions by its xmin: a value that went away and came back is another one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from adapters.postgres.catalog import Table
from adapters.postgres.masks import MASKED, Masks, cut

_SHORT = 60
"""Characters of a value that is shown whole."""
_BEFORE = 12
_MOST = 600
"""Characters that are said of one row, however many columns it has."""


class Kind(StrEnum):
    """What is wrong with a row. Side A is the source."""

    MISSING_AT_A = "missing at A"
    MISSING_AT_B = "missing at B"
    DIFFERENT = "different"


class Answer(StrEnum):
    """What the looks at one row say."""

    SAME = "same"
    DIFFERENT = "different"
    UNDECIDED = "undecided"
    """Not yet, or, after the last look, not at all: it keeps changing."""


@dataclass(frozen=True, slots=True)
class Version:
    """A row as it was seen: the hash of its content, and which version of it that was (its xmin)."""

    content: str
    version: str


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a row at both sides; None: it was not there."""

    a: Version | None
    b: Version | None

    @property
    def agrees(self) -> bool:
        """Whether both sides have the same, or neither has any."""
        return (self.a and self.a.content) == (self.b and self.b.content)


def judge(sights: Sequence[Sight], needed: int) -> Answer:
    """What the `sights` of one row say, between any two of which the copy caught up with what came before.

    A version of the source that was there at two looks was at the copy before the second, unless they differ. So did a
    row that was not there, as far as the copy's row stayed as it was: it might have come and gone. `needed` such pairs
    in a row are asked for: a commit is logged a moment before others can see it."""
    last = sights[-1]
    if last.agrees:
        return Answer.SAME
    proven = 0
    for before, after in zip(reversed(sights[:-1]), reversed(sights[1:]), strict=True):
        stayed = before.a == after.a and (after.a is not None or before.b == after.b)
        if not stayed or before.agrees:
            break
        proven += 1
    return Answer.DIFFERENT if proven >= needed else Answer.UNDECIDED


@dataclass(frozen=True, slots=True)
class Change:
    """A column with its values at both sides, as they may be shown; None: NULL."""

    column: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs. `key` names it by its key's columns; without a key by all of its columns. `changes`: where
    both sides have it. `count`: how many such rows (more than one only without a key)."""

    table: str
    kind: Kind
    key: Mapping[str, str | None]
    changes: tuple[Change, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        named = cut(", ".join(f"{column} = {_quoted(value)}" for column, value in self.key.items()), most=_MOST // 2)
        text = f"{self.table} ({named}): {self.kind}"
        if self.count > 1:
            text += f", {self.count} times"
        for told, c in enumerate(self.changes):
            change = f"; {c.column} {_quoted(c.a)} at A, {_quoted(c.b)} at B"
            if told and len(text) + len(change) > _MOST:
                return f"{text}; and {len(self.changes) - told} more columns"
            text += change
        return text


Row = Mapping[str, str | None]
"""All columns of a row, as text."""


def describe(table: Table, key: Collection[str], a: Row | None, b: Row | None, masks: Masks) -> Difference:
    """The difference between a row at A and at B, of which one may be missing, not both."""
    hidden = masks.hidden(table)
    there = a if a is not None else b or {}
    named = {column: _masked(there[column], column in hidden) for column in (key or sorted(there))}
    if a is None or b is None:
        return Difference(str(table), Kind.MISSING_AT_A if a is None else Kind.MISSING_AT_B, named)
    changes = [
        _change(column, a[column], b[column], column in hidden) for column in sorted(a) if a[column] != b[column]
    ]
    return Difference(str(table), Kind.DIFFERENT, named, tuple(changes))


def _change(column: str, a: str | None, b: str | None, hide: bool) -> Change:
    if hide:
        return Change(column, MASKED, MASKED)
    if a is None or b is None:
        return Change(column, _masked(a, False), _masked(b, False))
    start = max(0, _common(a, b) - _BEFORE)
    if max(len(a), len(b)) <= _SHORT:
        start = 0
    return Change(column, cut(a, start), cut(b, start))


def _masked(value: str | None, hide: bool) -> str | None:
    if hide:
        return MASKED
    return value if value is None else cut(value)


def _common(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _quoted(value: str | None) -> str:
    return "NULL" if value is None else value if value == MASKED else f"'{value}'"

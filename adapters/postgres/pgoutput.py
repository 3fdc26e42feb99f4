"""What pgoutput says (protocol version 1): bytes in, frozen dataclasses out. Pure.

Nothing here knows of a connection. A message that cannot be read raises Malformed, whatever it holds: a stream that
is misread must stop, not be guessed at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from adapters.postgres.errors import Malformed


class Absent(Enum):
    """What stands where a value was not sent: a TOASTed one that the UPDATE did not touch."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Absent.UNCHANGED
Value = str | Absent | None
"""One column of a row: its text, NULL, or UNCHANGED."""
Row = tuple[Value, ...]


class Old(StrEnum):
    """What an UPDATE or a DELETE says of the row before it."""

    KEY = "K"
    """The columns of the replica identity; the others read as NULL, and mean nothing."""
    FULL = "O"
    """The whole row (REPLICA IDENTITY FULL)."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction follows, committed at `commit` (where its commit record begins). `at`: microseconds since 2000."""

    commit: int
    at: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """It is complete. `end`: where its commit record ends, which is what is confirmed."""

    commit: int
    end: int
    at: int


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A published column. `key`: it is part of the replica identity."""

    name: str
    type: int
    modifier: int
    key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was at this point: sent before the first change of it, and after it was altered."""

    id: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Type:
    """A type that is not built in, named once for the columns that have it."""

    id: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the transaction came from, of one that was itself replicated natively."""

    commit: int
    name: str


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    relation: int
    row: Row


@dataclass(frozen=True, slots=True)
class Update:
    """A row as it is now; `old` where its key changed, or where the identity is FULL."""

    relation: int
    row: Row
    old: Row | None = None
    old_kind: Old | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A row that is gone."""

    relation: int
    old: Row
    old_kind: Old


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were emptied together."""

    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True, slots=True)
class Logical:
    """What pg_logical_emit_message wrote."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Change = Insert | Update | Delete | Truncate
Message = Begin | Commit | Relation | Type | Origin | Logical | Change


class _Reader:
    """Goes through one message. Raises Malformed at what is not there."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 1  # after the tag

    def numbers(self, shape: struct.Struct) -> tuple[int, ...]:
        """The integers of `shape`."""
        try:
            found: tuple[int, ...] = shape.unpack_from(self._data, self._at)
        except struct.error:
            raise self.malformed("it is cut short") from None
        self._at += shape.size
        return found

    def tag(self) -> str:
        """One letter."""
        return chr(self.numbers(_BYTE)[0])

    def string(self) -> str:
        """Text up to a zero byte."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise self.malformed("a name has no end")
        return self._text(end, end + 1)

    def raw(self, length: int) -> bytes:
        """So many bytes."""
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise self.malformed("a value is longer than the message")
        found, self._at = self._data[self._at : end], end
        return found

    def text(self, length: int) -> str:
        """So many bytes of text."""
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise self.malformed("a value is longer than the message")
        return self._text(end, end)

    def _text(self, end: int, after: int) -> str:
        try:
            found = self._data[self._at : end].decode()
        except UnicodeDecodeError:
            raise self.malformed("text is not UTF-8") from None
        self._at = after
        return found

    def row(self) -> Row:
        """The columns of a tuple."""
        (count,) = self.numbers(_SHORT)
        return tuple([self._value() for _ in range(count)])

    def _value(self) -> Value:
        kind = self.tag()
        if kind == "t":
            return self.text(self.numbers(_INT)[0])
        if kind == "n":
            return None
        if kind == "u":
            return UNCHANGED
        raise self.malformed(f"a value of the kind {kind!r}")

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise self.malformed(f"{len(self._data) - self._at} bytes follow its end")

    def malformed(self, what: str) -> Malformed:
        """The error to raise. Its text holds no values."""
        return Malformed(f"a message {self._data[:1]!r} of pgoutput with {len(self._data)} bytes: {what}")


_BYTE, _SHORT, _INT, _LONG = struct.Struct(">B"), struct.Struct(">H"), struct.Struct(">i"), struct.Struct(">Q")
_OID = struct.Struct(">I")
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_COLUMN = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">IB")
_LOGICAL = struct.Struct(">BQ")
_CASCADE, _RESTART_IDENTITY = 1, 2


def _begin(reader: _Reader) -> Message:
    return Begin(*reader.numbers(_BEGIN))


def _commit(reader: _Reader) -> Message:
    _flags, commit, end, at = reader.numbers(_COMMIT)
    return Commit(commit, end, at)


def _relation(reader: _Reader) -> Message:
    (oid,) = reader.numbers(_OID)
    schema, name, identity = reader.string() or "pg_catalog", reader.string(), reader.tag()
    (count,) = reader.numbers(_SHORT)
    columns: list[RelationColumn] = []
    for _ in range(count):
        (flags,) = reader.numbers(_BYTE)
        column = reader.string()
        kind, modifier = reader.numbers(_COLUMN)
        columns.append(RelationColumn(column, kind, modifier, bool(flags & 1)))
    return Relation(oid, schema, name, identity, tuple(columns))


def _type(reader: _Reader) -> Message:
    (oid,) = reader.numbers(_OID)
    return Type(oid, reader.string() or "pg_catalog", reader.string())


def _origin(reader: _Reader) -> Message:
    (commit,) = reader.numbers(_LONG)
    return Origin(commit, reader.string())


def _insert(reader: _Reader) -> Message:
    (oid,) = reader.numbers(_OID)
    if reader.tag() != "N":
        raise reader.malformed("an INSERT without a new row")
    return Insert(oid, reader.row())


def _update(reader: _Reader) -> Message:
    (oid,) = reader.numbers(_OID)
    tag, old, kind = reader.tag(), None, None
    if tag in {Old.KEY, Old.FULL}:
        kind, old = Old(tag), reader.row()
        tag = reader.tag()
    if tag != "N":
        raise reader.malformed("an UPDATE without a new row")
    return Update(oid, reader.row(), old, kind)


def _delete(reader: _Reader) -> Message:
    (oid,) = reader.numbers(_OID)
    tag = reader.tag()
    if tag not in {Old.KEY, Old.FULL}:
        raise reader.malformed("a DELETE without an old row")
    return Delete(oid, reader.row(), Old(tag))


def _truncate(reader: _Reader) -> Message:
    count, options = reader.numbers(_TRUNCATE)
    oids = struct.unpack(f">{count}I", reader.raw(4 * count))
    return Truncate(oids, bool(options & _CASCADE), bool(options & _RESTART_IDENTITY))


def _logical(reader: _Reader) -> Message:
    flags, lsn = reader.numbers(_LOGICAL)
    prefix = reader.string()
    return Logical(bool(flags & 1), lsn, prefix, reader.raw(reader.numbers(_INT)[0]))


_DECODERS: Mapping[int, Callable[[_Reader], Message]] = {
    ord("B"): _begin, ord("C"): _commit, ord("R"): _relation, ord("Y"): _type, ord("O"): _origin, ord("I"): _insert,
    ord("U"): _update, ord("D"): _delete, ord("T"): _truncate, ord("M"): _logical,
}  # fmt: skip


def decode(data: bytes) -> Message:
    """The message that `data` is. Raises Malformed."""
    decoder = _DECODERS.get(data[0]) if data else None
    reader = _Reader(data)
    if decoder is None:
        raise reader.malformed("no such message in version 1")
    message = decoder(reader)
    reader.end()
    return message

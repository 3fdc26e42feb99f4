"""The decoder reads back whatever an encoder of the protocol writes, and names what it cannot read."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.errors import Malformed
from adapters.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Logical,
    Message,
    Old,
    Origin,
    Relation,
    RelationColumn,
    Row,
    Truncate,
    Type,
    Update,
    decode,
)
from adapters.postgres.stream import Data, Keepalive, frame, status


def _row(row: Row) -> bytes:
    parts = [struct.pack(">H", len(row))]
    for value in row:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            raw = str(value).encode()
            parts.append(b"t" + struct.pack(">i", len(raw)) + raw)
    return b"".join(parts)


def _name(text: str) -> bytes:
    return text.encode() + b"\0"


def encode(message: Message) -> bytes:  # noqa: PLR0911 - a message, a line
    """What Postgres would send."""
    match message:
        case Begin(commit, at, xid):
            return b"B" + struct.pack(">QqI", commit, at, xid)
        case Commit(commit, end, at):
            return b"C" + struct.pack(">BQQq", 0, commit, end, at)
        case Relation(oid, schema, name, identity, columns):
            head = b"R" + struct.pack(">I", oid) + _name(schema) + _name(name) + identity.encode()
            return head + struct.pack(">H", len(columns)) + b"".join(
                struct.pack(">B", column.key) + _name(column.name) + struct.pack(">Ii", column.type, column.modifier)
                for column in columns
            )  # fmt: skip
        case Type(oid, schema, name):
            return b"Y" + struct.pack(">I", oid) + _name(schema) + _name(name)
        case Origin(commit, name):
            return b"O" + struct.pack(">Q", commit) + _name(name)
        case Insert(oid, row):
            return b"I" + struct.pack(">I", oid) + b"N" + _row(row)
        case Update(oid, row, old, kind):
            before = kind.encode() + _row(old) if kind is not None and old is not None else b""
            return b"U" + struct.pack(">I", oid) + before + b"N" + _row(row)
        case Delete(oid, old, kind):
            return b"D" + struct.pack(">I", oid) + kind.encode() + _row(old)
        case Truncate(oids, cascade, restart):
            options = cascade + 2 * restart
            return b"T" + struct.pack(">IB", len(oids), options) + b"".join(struct.pack(">I", oid) for oid in oids)
        case Logical(transactional, lsn, prefix, content):
            head = b"M" + struct.pack(">BQ", transactional, lsn) + _name(prefix)
            return head + struct.pack(">i", len(content)) + content


LSN = st.integers(0, 2**64 - 1)
OID = st.integers(0, 2**32 - 1)
TIME = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
ROW = st.lists(st.one_of(TEXT, st.none(), st.just(UNCHANGED)), max_size=8).map(tuple)
COLUMN = st.builds(RelationColumn, NAME, OID, st.integers(-1, 2**31 - 1), st.booleans())
MESSAGE = st.one_of(
    st.builds(Begin, LSN, TIME, OID),
    st.builds(Commit, LSN, LSN, TIME),
    st.builds(Relation, OID, NAME, NAME, st.sampled_from("dnfi"), st.lists(COLUMN, max_size=5).map(tuple)),
    st.builds(Type, OID, NAME, NAME),
    st.builds(Origin, LSN, TEXT),
    st.builds(Insert, OID, ROW),
    st.builds(Update, OID, ROW),
    st.builds(Update, OID, ROW, ROW, st.sampled_from(Old)),
    st.builds(Delete, OID, ROW, st.sampled_from(Old)),
    st.builds(Truncate, st.lists(OID, max_size=4).map(tuple), st.booleans(), st.booleans()),
    st.builds(Logical, st.booleans(), LSN, TEXT, st.binary(max_size=20)),
)


@given(MESSAGE)
def test_what_is_written_is_read(message: Message) -> None:
    assert decode(encode(message)) == message


@given(MESSAGE, st.data())
def test_what_is_cut_short_or_too_long_is_named(message: Message, data: st.DataObject) -> None:
    raw = encode(message)
    with pytest.raises(Malformed):
        decode(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(Malformed, match="follow its end"):
        decode(raw + b"\0")


@given(st.binary(max_size=60), st.sampled_from(b"BCRYOIUDTMSx"))
def test_bytes_of_any_kind_are_read_or_named(raw: bytes, tag: int) -> None:
    for made in (raw, bytes([tag]) + raw):
        with suppress(Malformed):
            decode(made)


@given(MESSAGE, st.data())
def test_a_byte_that_is_turned_is_read_or_named(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        decode(bytes(raw))


def test_an_error_holds_no_value() -> None:
    raw = encode(Insert(1, ("a secret",)))
    with pytest.raises(Malformed) as malformed:
        decode(raw[:-1])
    assert "secret" not in str(malformed.value)


def test_a_table_of_pg_catalog_is_named_so() -> None:
    raw = b"R" + struct.pack(">I", 1) + b"\0" + _name("t") + b"d" + struct.pack(">H", 0)
    assert str(decode(raw)) == "pg_catalog.t"


@given(LSN, TIME, st.binary(max_size=20))
def test_pieces_of_the_stream(end: int, sent: int, payload: bytes) -> None:
    assert frame(b"w" + struct.pack(">QQq", end, end, sent) + payload) == Data(end, sent, payload)
    assert frame(b"k" + struct.pack(">QqB", end, sent, 1)) == Keepalive(end, sent, True)


@given(st.binary(max_size=16))
def test_pieces_that_are_none_are_named(raw: bytes) -> None:
    with pytest.raises(Malformed):
        frame(raw)


def test_a_status_never_says_less_was_received_than_applied() -> None:
    assert status(5, 9, 946_684_801.0) == b"r" + struct.pack(">QQQqB", 9, 9, 9, 1_000_000, 0)

"""What is compared of one entry of a log, without making an event of it.

Two entries stand for the same event where their marks are equal: of what a mirror carries over (attributes,
payload), nothing differs. Headers of others, which it does not carry over, do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Final, NamedTuple

from adapters.event_bus.base import ORIGIN_HEADER, Record
from adapters.event_bus.wire import decode
from contracts.envelope import CONTENT_TYPE_HEADER

_COMPARED: Final = (
    "ce_id",
    "ce_partitionkey",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_schemaversion",
    "ce_epoch",
    CONTENT_TYPE_HEADER,
)
_VERSION: Final = "ce_specversion"
_values: Callable[[Mapping[str, bytes]], tuple[bytes, ...]] = itemgetter(*_COMPARED)


class Mark(NamedTuple):
    """The identity of an event, and a SHA-256 over its attributes and payload."""

    id: bytes
    digest: bytes


def mark(record: Record) -> tuple[bytes, Mark]:
    """The key and the mark of `record`; an unreadable one is compared by its payload, as it is copied."""
    values = _as_we_write(record.headers)
    if values is None:
        event = decode("", record.partition, record.position, record.headers, record.payload).event
        if event is None:
            raw = hashlib.sha256(record.payload).digest()
            return b"", Mark(raw.hex()[:16].encode(), raw)
        values = _values(event.headers())
    return values[1], Mark(values[0], _digest(values, record.payload))


def _as_we_write(headers: Mapping[str, bytes]) -> tuple[bytes, ...] | None:
    """The compared values, where `headers` are what a writer of ours makes of a sound event; else None, and it
    takes the longer way: parsing says what it is, if anything."""
    if len(headers) != len(_COMPARED) + 1 + (ORIGIN_HEADER in headers) or headers.get(_VERSION) != b"1.0":
        return None
    try:
        values = _values(headers)
        if not (all(values) and values[6].isdigit()) or (values[6][0] == 48 and len(values[6]) > 1):
            return None
        joined = b"".join(values)
        if not joined.isascii():
            for value in values:
                value.decode()
    except (KeyError, UnicodeDecodeError):
        return None
    return values


def _digest(values: tuple[bytes, ...], payload: bytes) -> bytes:
    joined = b"\0".join(values)
    if joined.count(b"\0") >= len(values):  # then the lengths must say where one ends and the next begins
        joined = b"".join(b"%d:%b" % (len(value), value) for value in values)
    return hashlib.sha256(b"%b\0%b" % (joined, payload)).digest()

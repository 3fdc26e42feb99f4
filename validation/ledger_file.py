"""How a ledger lies on disk: fixed-size records between a header and a closing record.

    magic · length · header (JSON) · record · record · ... · closing (JSON) · length · crc32 · magic

Binary, so that a writer spends about a microsecond an event and a million events are
compared as arrays. Nothing is synced an event: a ledger proves something only if its closing
record is there, and that one is synced. A file cut off anywhere, or changed in any byte,
cannot be read as complete.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FORMAT_VERSION: Final = 1
KEY_BYTES: Final = 24
"""Longest key that a record holds, in bytes of UTF-8. Longer ones are refused when publishing."""
_OPENING, _CLOSING = b"XOVLEDG1", b"XOVCLOS1"
_LENGTH = struct.Struct("<I")
_TAIL = struct.Struct("<II8s")  # length of the closing record, crc32 of all before this tail, magic

# Outcomes of a publish, as its caller saw them.
ACKNOWLEDGED: Final = 0
UNKNOWN: Final = 1
"""The caller got an error, and the event may be stored or not."""
REFUSED: Final = 2
"""The caller got an error that says: definitely not stored."""

SENT = np.dtype(
    [
        ("id", "S16"),
        ("key", f"S{KEY_BYTES}"),
        ("sequence", "<i8"),
        ("due", "<i8"),
        ("sent", "<i8"),
        ("acked", "<i8"),
        ("sha256", "S32"),
        ("epoch", "<u4"),
        ("backend", "S8"),
        ("outcome", "u1"),
    ]
)
"""One publish. Times in ns since 1970 UTC: when it was due by the schedule, handed to the bus,
and resolved. `epoch` and `backend` as the receipt has them (0 and empty without one)."""
PACK_SENT = struct.Struct("<16s24sqqqq32sI8sB").pack

TAKEN = np.dtype(
    [("id", "S16"), ("key", f"S{KEY_BYTES}"), ("sequence", "<i8"), ("time", "<i8"), ("sha256", "S32"), ("ours", "u1")]
)
"""One delivery, in the order of delivery. `ours`: the payload carries this run's mark;
`sequence` is -1 where the payload has none."""
PACK_TAKEN = struct.Struct("<16s24sqq32sB").pack

DTYPES: Final[Mapping[str, np.dtype[np.void]]] = {"publish": SENT, "consume": TAKEN}
Records = npt.NDArray[np.void]


class UnreadableLedger(Exception):
    """A ledger file that proves nothing: missing, cut off, changed, or of another version."""


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """A complete ledger file: who wrote it (`header`), how it ended (`closing`), and its records."""

    path: Path
    header: Mapping[str, Any]
    closing: Mapping[str, Any]
    records: Records = field(repr=False)


def publish_path(folder: Path) -> Path:
    """Where the publisher of a run writes."""
    return folder / "publish.ledger"


def consume_path(folder: Path, group: str) -> Path:
    """Where the consumer of `group` writes."""
    return folder / f"consume-{group}.ledger"


class LedgerWriter:
    """Writes one ledger file. Owned by one thread; `role` is `publish` or `consume`.

    Raises FileExistsError where the file is there already: a ledger is never written over.
    """

    def __init__(self, path: Path, role: str, header: Mapping[str, Any]) -> None:
        self._record_bytes = DTYPES[role].itemsize
        self._file = io.FileIO(path, "xb")
        self._crc = 0
        self._count = 0
        body = json.dumps({"version": FORMAT_VERSION, "role": role, **header}).encode()
        self._put(_OPENING + _LENGTH.pack(len(body)) + body)

    @property
    def count(self) -> int:
        """Records written so far."""
        return self._count

    def append(self, packed: bytes) -> None:
        """Write whole records, packed one after another with PACK_SENT or PACK_TAKEN."""
        records, rest = divmod(len(packed), self._record_bytes)
        if rest:
            raise ValueError(f"{len(packed)} bytes are no whole number of {self._record_bytes}-byte records")
        self._put(packed)
        self._count += records

    def close(self, closing: Mapping[str, Any]) -> None:
        """Write the closing record and sync the file: from now on it counts as complete."""
        body = json.dumps({**closing, "count": self._count}).encode()
        self._put(body)
        self._file.write(_TAIL.pack(len(body), self._crc, _CLOSING))
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Give the file up without a closing record."""
        self._file.close()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # an unbuffered write may take less than it was given
            view = view[self._file.write(view) :]
        self._crc = zlib.crc32(data, self._crc)


def is_closed(path: Path) -> Mapping[str, Any] | None:
    """The closing record of a file that has one, without reading the rest; None otherwise."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < _TAIL.size:
                return None
            file.seek(size - _TAIL.size)
            length, _, magic = _TAIL.unpack(file.read(_TAIL.size))
            if magic != _CLOSING or length > size - _TAIL.size:
                return None
            file.seek(size - _TAIL.size - length)
            closing: Mapping[str, Any] = json.loads(file.read(length))
            return closing
    except (OSError, ValueError):
        return None


def read_ledger(path: Path, role: str) -> LedgerFile:
    """A complete ledger file, its records mapped from disk.

    Raises UnreadableLedger saying what is wrong with it.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except FileNotFoundError as error:
        raise UnreadableLedger(f"{path.name} does not exist: its writer did not run, or wrote elsewhere") from error
    except (OSError, ValueError) as error:  # numpy cannot map an empty file
        raise UnreadableLedger(f"{path.name} cannot be read: {error}") from error
    if data.size < _TAIL.size + len(_OPENING) + _LENGTH.size:
        raise UnreadableLedger(f"{path.name} has {data.size} bytes: it was cut off")
    if bytes(data[: len(_OPENING)]) != _OPENING:
        raise UnreadableLedger(f"{path.name} is not a ledger of version {FORMAT_VERSION}")
    length, crc, magic = _TAIL.unpack(bytes(data[-_TAIL.size :]))
    if magic != _CLOSING:
        raise UnreadableLedger(f"{path.name} has no closing record: its writer was killed, or still runs")
    if zlib.crc32(data[: -_TAIL.size]) != crc:
        raise UnreadableLedger(f"{path.name} was changed after it was written (crc32 differs)")
    return _split(path, role, data, length)


def _split(path: Path, role: str, data: npt.NDArray[np.uint8], closing_length: int) -> LedgerFile:
    """The parts of a file whose checksum fits."""
    begin = len(_OPENING) + _LENGTH.size
    (header_length,) = _LENGTH.unpack(bytes(data[len(_OPENING) : begin]))
    end = data.size - _TAIL.size - closing_length
    header = json.loads(bytes(data[begin : begin + header_length]))
    closing = json.loads(bytes(data[end : end + closing_length]))
    if header.get("version") != FORMAT_VERSION or header.get("role") != role:
        raise UnreadableLedger(
            f"{path.name} was written by {header.get('role')!r} in version {header.get('version')!r}; "
            f"{role!r} in version {FORMAT_VERSION} was looked for"
        )
    body = data[begin + header_length : end]
    dtype = DTYPES[role]
    if body.size != closing["count"] * dtype.itemsize:
        raise UnreadableLedger(f"{path.name} has {body.size} bytes of records, its closing counts {closing['count']}")
    return LedgerFile(path, header, closing, body.view(dtype))

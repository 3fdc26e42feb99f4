"""A logical stream: the changes that a slot kept, and then those that are made, as they are committed.

psycopg knows no replication; it lets START_REPLICATION through, and from there on libpq is spoken to directly. What is
sent back is how far its reader is: the server keeps all that was not confirmed.
"""

from __future__ import annotations

import select
import struct
import time
from dataclasses import dataclass

from adapters.postgres import slots
from adapters.postgres.catalog import quoted
from adapters.postgres.driver import (
    Address,
    connect,
    lsn,
    lsn_text,
    pq,
    psycopg,
    translate,
    translated,
)
from adapters.postgres.errors import Malformed, PostgresError, SlotLost, StatementFailed, Unavailable

STATUS_SECONDS = 5.0
"""The server ends a connection of which it hears nothing for a minute (wal_sender_timeout)."""
_DATA = struct.Struct(">QQq")
_KEEPALIVE = struct.Struct(">QqB")
_STATUS = struct.Struct(">cQQQqB")
_EPOCH = 946_684_800.0
"""2000-01-01 in seconds since 1970: from where the protocol counts."""
_REMOVED = "58P01"


@dataclass(frozen=True, slots=True)
class Data:
    """One message of the output plugin. `sent`: microseconds since 2000, by the source's clock."""

    end: int
    sent: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Keepalive:
    """All that was committed before `end` was sent. `reply`: the server wants to hear of its reader."""

    end: int
    sent: int
    reply: bool


def frame(raw: bytes) -> Data | Keepalive:
    """What one piece of the stream is. Raises Malformed."""
    kind = raw[:1]
    try:
        if kind == b"w":
            _start, end, sent = _DATA.unpack_from(raw, 1)
            return Data(end, sent, raw[1 + _DATA.size :])
        if kind == b"k":
            end, sent, reply = _KEEPALIVE.unpack_from(raw, 1)
            return Keepalive(end, sent, bool(reply))
    except struct.error:
        pass
    raise Malformed(f"a piece {kind!r} of the stream with {len(raw)} bytes")


def status(received: int, confirmed: int, now: float) -> bytes:
    """What a reader tells the server: written, flushed, applied, when."""
    return _STATUS.pack(b"r", max(received, confirmed), confirmed, confirmed, int((now - _EPOCH) * 1e6), 0)


class Stream:
    """The changes of one slot. Owned by one thread. `application` is the name by which a server may name it in
    synchronous_standby_names.

    Opening raises SlotLost, Unavailable, Refused, StatementFailed; so do read() and confirm().
    """

    def __init__(
        self, address: Address, slot: str, publication: str, *, start: int = 0, application: str = "crossover"
    ) -> None:
        self._address = address
        self._slot = slot
        self._connection = connect(address, application, replication=True)
        self._connection.cursor_factory = psycopg.ClientCursor  # a replication connection takes no parameters
        self._told_at = 0.0
        self.received = self.confirmed = 0
        """How far the server has sent, and how far that was confirmed."""
        try:
            with translated(address):
                self.written = self._written()
                """How far the source had written when this was opened."""
                self.confirmed = self._checked().confirmed
                self._begin(publication, start)
        except BaseException:
            self._connection.close()
            raise

    def _written(self) -> int:
        row = self._connection.execute("select pg_catalog.pg_current_wal_insert_lsn()::text").fetchone()
        return lsn(row[0]) if row else 0

    def _checked(self) -> slots.SlotState:
        found = slots.slot_state(self._connection, self._slot)
        if found is None:
            raise SlotLost(f"{self._address}: there is no slot {self._slot}: what was not read is lost to it")
        if found.lost:
            raise SlotLost(f"{self._address}: the server dropped WAL that the slot {self._slot} still needed")
        if found.reader is not None:
            raise Unavailable(f"{self._address}: the slot {self._slot} is read by process {found.reader}")
        return found

    def _begin(self, publication: str, start: int) -> None:
        command = (
            f"START_REPLICATION SLOT {quoted(self._slot)} LOGICAL {lsn_text(start)} "
            f"(proto_version '1', publication_names '{quoted(publication)}')"
        )
        pgconn = self._connection.pgconn
        result = pgconn.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            error = self._translated(psycopg.errors.error_from_result(result, "utf-8"))
            self._checked()  # which says better that the slot is gone, or read by another
            raise error
        pgconn.nonblocking = 1

    def read(self, timeout: float) -> Data | Keepalive | None:
        """The next piece, waiting at most `timeout` seconds for it; None where none came."""
        deadline = time.monotonic() + timeout
        pgconn = self._connection.pgconn
        try:
            while True:
                length, data = pgconn.get_copy_data(1)
                if length > 0:
                    return self._taken(bytes(data))
                if length < 0:
                    raise self._ended()
                self._keep_alive()
                left = deadline - time.monotonic()
                readable = select.select([pgconn.socket], [], [], max(0.0, min(left, STATUS_SECONDS)))[0]
                if readable:
                    pgconn.consume_input()
                elif left <= 0:
                    return None
        except psycopg.Error as error:
            raise self._ended(error) from error

    def _taken(self, raw: bytes) -> Data | Keepalive:
        piece = frame(raw)
        self.received = max(self.received, piece.end)
        if isinstance(piece, Keepalive) and piece.reply:
            self._tell()
        return piece

    def confirm(self, to: int) -> None:
        """All before `to` is durable where it went: the server need not keep it."""
        if to <= self.confirmed:
            return
        self.confirmed = to
        try:
            self._tell()
        except psycopg.Error as error:
            raise self._ended(error) from error

    def keep_alive(self) -> None:
        """Let the server hear of its reader while nothing is read."""
        try:
            self._keep_alive()
        except psycopg.Error as error:
            raise self._ended(error) from error

    def _keep_alive(self) -> None:
        if time.monotonic() - self._told_at >= STATUS_SECONDS:
            self._tell()

    def _tell(self) -> None:
        pgconn = self._connection.pgconn
        pgconn.put_copy_data(status(self.received, self.confirmed, time.time()))
        deadline = time.monotonic() + STATUS_SECONDS
        while pgconn.flush():
            # The server may itself wait for us to read: what it sends is taken meanwhile.
            readable, _, _ = select.select([pgconn.socket], [pgconn.socket], [], STATUS_SECONDS)
            if readable:
                pgconn.consume_input()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._address}: the server takes no answer")
        self._told_at = time.monotonic()

    def _ended(self, error: psycopg.Error | None = None) -> PostgresError:
        """Why there is no more: the server says it in a result of its own."""
        pgconn = self._connection.pgconn
        try:
            result = pgconn.get_result()
        except psycopg.Error:
            result = None
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            told = psycopg.errors.error_from_result(result, "utf-8")
            if told.sqlstate or error is None:
                error = told
        if error is None:
            return Unavailable(f"{self._address}: the server ended the stream of {self._slot}")
        return self._translated(error)

    def _translated(self, error: psycopg.Error) -> PostgresError:
        if error.sqlstate == _REMOVED:
            return SlotLost(
                f"{self._address}: WAL that the slot {self._slot} needs is gone: {error.diag.message_primary}"
            )
        found = translate(error, self._address)
        lost = isinstance(found, StatementFailed) and self._connection.closed
        return Unavailable(str(found)) if lost else found

    def close(self) -> None:
        """End it. What was not confirmed comes again."""
        self._connection.close()

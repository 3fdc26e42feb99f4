"""Signs of life: rows that each side writes and the streams carry to the other, and what has come how far."""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from adapters.postgres import bookkeeping
from adapters.postgres.driver import Connection, lsn
from adapters.postgres.target import applied

_TABLE = f"{bookkeeping.SCHEMA}.{bookkeeping.HEARTBEAT}"
_BEAT = f"""
with written as (
  insert into {_TABLE} as h values (%s, 1, pg_catalog.clock_timestamp())
  on conflict (side) do update set beat = h.beat + 1, at = excluded.at returning beat)
select beat, pg_catalog.pg_current_wal_insert_lsn()::text from written
"""
_HEARD = f"select beat, at from {_TABLE} where side = %s"
_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat. All that was committed at its side before it has its commit before `lsn`, and it has its own
    after: so once the mark of the stream is at `lsn` or beyond, all of that is applied."""

    number: int
    lsn: int


def beat(connection: Connection, side: str) -> Beat:
    """Write the next heartbeat of `side`, to which `connection` leads (in autocommit)."""
    row = connection.execute(_BEAT, (side,)).fetchone()
    if row is None:
        raise AssertionError("an INSERT with RETURNING returned nothing")
    return Beat(row[0], lsn(row[1]))


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest heartbeat of a side that is known somewhere; number 0 where none is. `at`: by that side's clock."""

    number: int
    at: datetime | None


def last(connection: Connection, side: str) -> Heard:
    """The newest heartbeat of `side` that is known where `connection` leads. All that was committed at that side
    before it was written has come, too."""
    row = connection.execute(_HEARD, (side,)).fetchone()
    return Heard(int(row[0]), row[1]) if row else Heard(0, None)


def heard(connection: Connection, side: str) -> int:
    """Its number."""
    return last(connection, side).number


def wait_applied(connection: Connection, stream: str, to: int, timeout: float) -> bool:
    """Wait until `stream` is applied up to `to` where `connection` leads; whether it is. Seconds. `to` is best that
    of a Beat: at a source where nothing is committed any more, no commit would ever lie beyond its position."""
    deadline = time.monotonic() + timeout
    while (applied(connection, stream) or 0) < to:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)  # the server tells of no commit
    return True

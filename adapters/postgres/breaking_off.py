"""Ends a stream at its target, for good: so that how far it came is final, whoever still carries it.

Its mark is set where no stream can be. A carrier that had the mark in hand cannot commit any more, and one that looks
anew finds that it was broken off (carrier.open_carrier). What was applied stands beside it, under a name of its own.
"""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

from adapters.postgres import bookkeeping
from adapters.postgres.bookkeeping import BROKEN_OFF
from adapters.postgres.driver import lsn, lsn_text
from adapters.postgres.errors import Unavailable
from adapters.postgres.side import Side

_MARK = f"{bookkeeping.SCHEMA}.{bookkeeping.MARK}"
_LOCK_MS = 1000
_ENDED = """
select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
 where application_name = %s and datname = pg_catalog.current_database() and usename = current_user
   and backend_type = 'client backend'
"""


def break_off(side: Side, stream: str) -> int:
    """End `stream` where `side` leads; how far it is applied there, for good. May be done again. A session that keeps
    its mark locked is ended."""
    for patience in (True, False):
        try:
            return _broken_off(side, stream)
        except Unavailable:
            side.run("rollback")
            if not patience:
                raise
            side.rows(_ENDED, (stream,))
    raise AssertionError("one of two attempts returns or raises")


def _broken_off(side: Side, stream: str) -> int:
    side.run("begin")
    side.run(f"set local lock_timeout = {_LOCK_MS}")
    side.run(
        f"insert into {_MARK} select %s, applied, pg_catalog.now() from {_MARK} where stream = %s and applied <> %s "
        "on conflict (stream) do update set applied = excluded.applied, at = excluded.at",
        (_aside(stream), stream, lsn_text(BROKEN_OFF)),
    )
    side.run(
        f"insert into {_MARK} values (%s, %s, pg_catalog.now()) "
        "on conflict (stream) do update set applied = excluded.applied",
        (stream, lsn_text(BROKEN_OFF)),
    )
    found = side.rows(f"select applied::text from {_MARK} where stream = %s", (_aside(stream),))
    side.run("commit")
    return lsn(found[0][0]) if found else 0


def mend(side: Side, stream: str) -> bool:
    """Let it go on from where it was broken off; whether it had been."""
    side.run("begin")
    found = side.rows(f"delete from {_MARK} where stream = %s returning applied::text", (_aside(stream),))
    if found:
        side.run(f"update {_MARK} set applied = %s, at = pg_catalog.now() where stream = %s", (found[0][0], stream))
    side.run("commit")
    return bool(found)


def forget(side: Side, stream: str) -> None:
    """No stream of this name was ever applied here: for one that begins anew."""
    side.run(f"delete from {_MARK} where stream in (%s, %s)", (stream, _aside(stream)))


def _aside(stream: str) -> str:
    return f"{stream} broken off"

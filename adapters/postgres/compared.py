"""What comparisons of rows that are not over have found so far, as a text that validation/ writes and reads; and which
server it is, and what was copied there: where that is another, rows were written by others than the streams."""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

from datetime import datetime

from adapters.postgres import bookkeeping
from adapters.postgres.bookkeeping import CHUNK, COMPARED, SCHEMA
from adapters.postgres.driver import translated
from adapters.postgres.side import Side

_TABLE = f"{SCHEMA}.{COMPARED}"
_READ = f"select state from {_TABLE} where comparison = %s"
_WRITE = f"""
insert into {_TABLE} values (%s, %s, %s)
on conflict (comparison) do update set state = excluded.state, at = excluded.at
"""
_FORGET = f"delete from {_TABLE} where comparison = %s"
_SERVER = """
select s.system_identifier::text,
       pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8), d.oid::text, d.datname
  from pg_catalog.pg_control_system() s, pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
"""
_COPIED = f"select pg_catalog.count(*), coalesce(pg_catalog.max(done)::text, 'never') from {SCHEMA}.{CHUNK}"


def read(side: Side, comparison: str) -> str | None:
    """What is kept of it; None where nothing is. Makes the table where it is missing: an older version joined."""
    with translated(side.address):
        bookkeeping.ensure(side.connection)
    found = side.rows(_READ, (comparison,))
    return str(found[0][0]) if found else None


def write(side: Side, comparison: str, state: str, at: datetime) -> None:
    """Keep `state` of it, instead of what was kept."""
    side.run(_WRITE, (comparison, state, at))


def forget(side: Side, comparison: str) -> None:
    """It is over."""
    side.run(_FORGET, (comparison,))


def server(side: Side) -> str:
    """Which database of which server this is, and on which timeline: another one after a promotion, and after a
    restore to a point in time, both of which may have lost rows."""
    return " ".join(map(str, side.row(_SERVER)))


def copied(side: Side) -> str:
    """What was written here by a copy: another text once rows were copied anew, added or put right."""
    return "{} parts, the last at {}".format(*side.row(_COPIED))

"""What a side offers to be followed by: a publication of named tables, and a slot that keeps what was not yet read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.postgres import bookkeeping
from adapters.postgres.bookkeeping import PUBLICATION
from adapters.postgres.catalog import Identity, Table, quoted
from adapters.postgres.driver import Connection, lsn, psycopg
from adapters.postgres.errors import StatementFailed, Unavailable

_OWN = tuple(f'"{bookkeeping.SCHEMA}"."{name}"' for name in (bookkeeping.MARK, bookkeeping.HEARTBEAT))
_PUBLISHED = "select schemaname, tablename from pg_catalog.pg_publication_tables where pubname = %s"
_STATE = """
select confirmed_flush_lsn::text, restart_lsn::text, active_pid, wal_status, safe_wal_size,
       pg_catalog.pg_wal_lsn_diff(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                                       else pg_catalog.pg_current_wal_lsn() end, confirmed_flush_lsn)::bigint,
       database, plugin
  from pg_catalog.pg_replication_slots where slot_name = %s
"""
_END_READER = """
select pg_catalog.pg_terminate_backend(active_pid) from pg_catalog.pg_replication_slots
 where slot_name = %s and active_pid is not null
"""
PLUGIN = "pgoutput"
_DUPLICATE = "42710"
LOST = "lost"
"""The wal_status of a slot whose WAL is gone: it never comes back."""


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot as its server sees it. `confirmed`: all before it was received and is not kept; `restart`: the oldest WAL
    that is kept; `reader`: the process that reads it, or None; `safe_bytes`: how much may be written before its WAL
    may go, None where nothing limits it; `lag_bytes`: what was written since `confirmed`."""

    name: str
    confirmed: int
    restart: int
    reader: int | None
    wal_status: str
    safe_bytes: int | None
    lag_bytes: int
    database: str
    plugin: str

    @property
    def lost(self) -> bool:
        """Whether what it kept is gone."""
        return self.wal_status == LOST


def published(connection: Connection) -> frozenset[tuple[str, str]]:
    """The tables of the publication, by schema and name, without ours; empty where there is no publication."""
    rows = connection.execute(_PUBLISHED, (PUBLICATION,)).fetchall()
    return frozenset((schema, name) for schema, name in rows if schema != bookkeeping.SCHEMA)


def publish(connection: Connection, tables: Sequence[Table]) -> tuple[str, ...]:
    """Publish `tables` and our own; the names of those that were added. What was published already stays, for a
    stream that no longer brings a table loses its changes. Raises StatementFailed where a table has no identity:
    published, each UPDATE and DELETE of it would fail for its writers."""
    bare = [str(table) for table in tables if table.identity is Identity.NONE]
    if bare:
        raise StatementFailed(
            f"not published: {', '.join(bare)}: without a replica identity each UPDATE and DELETE would fail for its "
            "writers. Give it a primary key, or: alter table ... replica identity full"
        )
    exists = connection.execute("select from pg_catalog.pg_publication where pubname = %s", (PUBLICATION,)).fetchone()
    present = {
        f"{quoted(schema)}.{quoted(name)}" for schema, name in connection.execute(_PUBLISHED, (PUBLICATION,)).fetchall()
    }
    missing = [name for name in (*_OWN, *(table.qualified for table in tables)) if name not in present]
    if exists is None:
        connection.execute(f"create publication {PUBLICATION} for table {', '.join(missing)}")
    elif missing:
        connection.execute(f"alter publication {PUBLICATION} add table {', '.join(missing)}")
    return tuple(missing)


def unpublish(connection: Connection) -> None:
    """Drop the publication. The stream of a slot that is still read fails from then on."""
    connection.execute(f"drop publication if exists {PUBLICATION}")


def ensure_slot(connection: Connection, name: str, timeout: float = 60.0) -> int:
    """Make the slot where it is missing, and tell from where on it keeps changes. Publish first: a change from before
    the publication cannot be read. Making one waits for each transaction under way to end; raises Unavailable where
    that takes more than `timeout` seconds, StatementFailed where another database has one of this name."""
    found = slot_state(connection, name)
    if found is None:
        connection.execute("select pg_catalog.set_config('statement_timeout', %s, false)", (f"{timeout * 1000:.0f}",))
        try:
            connection.execute("select pg_catalog.pg_create_logical_replication_slot(%s, %s)", (name, PLUGIN))
        except psycopg.errors.QueryCanceled:
            raise Unavailable(
                f"the slot {name} was not made within {timeout:.0f} s: a transaction that began before it is still "
                "open. pg_stat_activity, by xact_start, tells which"
            ) from None
        except psycopg.Error as error:
            if error.sqlstate != _DUPLICATE:
                raise
        finally:
            connection.execute("select pg_catalog.set_config('statement_timeout', '0', false)")
        found = slot_state(connection, name)
    if found is None:
        raise Unavailable(f"the slot {name} was made and is gone again")
    if found.database != connection.info.dbname or found.plugin != PLUGIN:
        raise StatementFailed(
            f"the slot {name} is there already, of the database {found.database} with {found.plugin}: a server has one "
            "slot of a name. Drop it, if nothing follows that database any more"
        )
    return found.confirmed


def slot_state(connection: Connection, name: str) -> SlotState | None:
    """The slot as it is now; None where there is none."""
    row = connection.execute(_STATE, (name,)).fetchone()
    if row is None:
        return None
    confirmed, restart, reader, status, safe, lag, database, plugin = row
    return SlotState(
        name,
        confirmed=lsn(confirmed) if confirmed else 0,
        restart=lsn(restart) if restart else 0,
        reader=reader,
        wal_status=status or LOST,
        safe_bytes=safe,
        lag_bytes=max(lag or 0, 0),
        database=database or "",
        plugin=plugin or "",
    )


def end_reader(connection: Connection, name: str) -> bool:
    """End the process that reads the slot; whether there was one. A carrier opens another within seconds."""
    return connection.execute(_END_READER, (name,)).fetchone() is not None


def drop_slot(connection: Connection, name: str) -> bool:
    """Drop the slot; whether there was one. Raises Unavailable, with the process, while someone reads it."""
    found = slot_state(connection, name)
    if found is None:
        return False
    try:
        connection.execute("select pg_catalog.pg_drop_replication_slot(%s)", (name,))
    except psycopg.errors.ObjectInUse:
        raise Unavailable(f"the slot {name} is read by process {found.reader}: end that first") from None
    except psycopg.errors.UndefinedObject:
        return False
    return True

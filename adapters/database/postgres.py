"""The trading store on Postgres, directly or through PgBouncer in transaction mode.

Nothing here depends on a session: no prepared statements, no SET, no session locks; so any
transaction may run on any server connection, and a pooler may pause, or repoint, between two
of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, override

from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from adapters.database import statements as sql
from adapters.database.base import (
    Claimed,
    Effects,
    Loaded,
    OrderRow,
    Position,
    Received,
    SignalRow,
    TradingStore,
    TradingTx,
)
from adapters.database.errors import (
    DatabaseAccessDenied,
    DatabaseError,
    DatabaseUnavailable,
    InvalidRequest,
    RetryableDatabaseError,
    SchemaMismatch,
)
from adapters.database.migrations import load_migrations, pending
from adapters.postgres.driver import Connection, TupleRow, conninfo_to_dict, first_line, make_conninfo, psycopg
from contracts.envelope import Event
from contracts.names import DATABASE_SCHEMA

_log = logging.getLogger(__name__)

_MIGRATION_LOCK = 0x63726F73736F7665
"""The advisory lock of migrations: "crossove" in ASCII, so that no other user of locks meets it by chance."""
_PING_TIMEOUT = 3.0
_CONNECTION_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""libpq: notice a dead peer within 30 s, without a limit on how long a paused pooler may hold a statement."""

_RETRYABLE_CLASSES = ("08", "40", "53", "57")
"""SQLSTATE classes: connection, rollback (serialization, deadlock), resources, operator intervention."""
_READ_ONLY = "25006"
"""A write met a server that is fenced or not yet promoted; the next try may meet the right one."""


class PostgresTradingStore(TradingStore):
    """See TradingStore. `retry_seconds` bounds how long one call goes on trying."""

    def __init__(self, url: str, *, application: str, max_connections: int = 4, retry_seconds: float = 60.0) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # psycopg's own text repeats the URL, and with it the password.
            raise InvalidRequest(
                "the database URL cannot be read: no connection was tried. "
                "It has the form postgresql://user:password@host:port/name, special characters percent-encoded"
            ) from None
        parameters = {**_CONNECTION_DEFAULTS, "application_name": application, **given}
        self._conninfo = make_conninfo(**{name: str(value) for name, value in parameters.items()})
        self._retry_seconds = retry_seconds
        self._pool = ConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=1,
            max_size=max_connections,
            timeout=_PING_TIMEOUT,
            reconnect_timeout=retry_seconds,
            name=application,
            open=False,
        )
        self._pool.open(wait=False)

    # -- one way in, one way out of psycopg

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with _translated(self._why), self._pool.connection() as connection:
            yield connection

    def _why(self) -> str:
        """Why no connection can be had: the pool only says that it timed out."""
        try:
            psycopg.connect(self._conninfo, connect_timeout=2).close()
        except psycopg.Error as error:
            return first_line(error)
        return "all connections of the pool are in use"

    def _retry[T](self, call: Callable[[], T]) -> T:
        for attempt in Retrying(
            retry=retry_if_exception_type(RetryableDatabaseError),
            stop=stop_after_delay(self._retry_seconds),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            before_sleep=lambda state: _log.warning(
                "database: trying again", extra={"attempt": state.attempt_number, "cause": _cause(state.outcome)}
            ),
            reraise=True,
        ):
            with attempt:
                return call()
        raise AssertionError("unreachable: Retrying returns or raises")

    def _query(self, statement: str, values: Mapping[str, object]) -> list[TupleRow]:
        def call() -> list[TupleRow]:
            with self._connection() as connection:
                return connection.execute(statement, values).fetchall()

        return self._retry(call)

    def _change(self, statement: str, values: Mapping[str, object]) -> int:
        def call() -> int:
            with self._connection() as connection:
                return connection.execute(statement, values).rowcount

        return self._retry(call)

    # -- TradingStore

    @override
    def migrate(self) -> Sequence[str]:
        return self._retry(self._migrate)

    def _migrate(self) -> Sequence[str]:
        with self._connection() as connection, connection.transaction():
            # Transaction-scoped: a session lock would stay behind on a pooler's server connection.
            connection.execute("select pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            exists = connection.execute("select to_regnamespace(%s) is not null", (DATABASE_SCHEMA,)).fetchone()
            if exists is None or not exists[0]:
                connection.execute(sql.CREATE_SCHEMA)
            connection.execute(sql.CREATE_MIGRATIONS)
            applied = dict(connection.execute("select name, sha256 from trading.schema_migrations").fetchall())
            try:
                todo = pending(applied, load_migrations())
            except ValueError as error:
                raise SchemaMismatch(str(error)) from None
            for migration in todo:
                connection.execute(migration.sql)
                connection.execute(sql.NOTE_MIGRATION, (migration.name, migration.sha256))
        return [migration.name for migration in todo]

    @override
    def run[T](self, work: Callable[[TradingTx], T]) -> T:
        def call() -> T:
            with self._connection() as connection, connection.transaction():
                return work(_PostgresTx(connection))

        return self._retry(call)

    @override
    def claimed(self, group: str, event_ids: Sequence[str]) -> Sequence[Claimed]:
        return [sql.claimed(row) for row in self._query(sql.CLAIMED, {"group": group, "ids": list(event_ids)})]

    @override
    def positions(self, *, after: str = "", limit: int = 100) -> Sequence[Position]:
        return [sql.position(row) for row in self._query(sql.POSITIONS, {"after": after, "limit": limit})]

    @override
    def orders(self, *, key: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[OrderRow]:
        rows = self._query(sql.ORDERS, {"key": key, "before": before, "limit": limit})
        return [sql.order_row(row) for row in rows]

    @override
    def signals(self, *, key: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[SignalRow]:
        rows = self._query(sql.SIGNALS, {"key": key, "before": before, "limit": limit})
        return [sql.signal_row(row) for row in rows]

    @override
    def set_comment(self, signal_id: str, comment: str) -> bool:
        return self._change(sql.SET_COMMENT, {"id": signal_id, "comment": comment}) == 1

    @override
    def unsent(self, limit: int) -> Sequence[Event]:
        return [sql.outbox_event(row) for row in self._query(sql.UNSENT, {"limit": limit})]

    @override
    def waiting(self) -> int:
        return int(self._query(sql.WAITING, {})[0][0])

    @override
    def mark_sent(self, event_ids: Sequence[str]) -> int:
        return self._change(sql.MARK_SENT, {"ids": list(event_ids)})

    @override
    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        values = {"name": name, "holder": holder, "seconds": timedelta(seconds=seconds)}
        return self._change(sql.TAKE_LEASE, values) == 1

    @override
    def drop_lease(self, name: str, holder: str) -> None:
        self._change(sql.DROP_LEASE, {"name": name, "holder": holder})

    @override
    def purge(self, older_than: timedelta, limit: int = 10_000) -> int:
        values = {"age": older_than, "limit": limit}
        return self._change(sql.PURGE_OUTBOX, values) + self._change(sql.PURGE_CLAIMS, values)

    @override
    def ping(self) -> None:
        with self._connection() as connection:
            connection.execute("select 1")

    @override
    def close(self) -> None:
        self._pool.close(timeout=10.0)


class _PostgresTx(TradingTx):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @override
    def claim(self, group: str, received: Sequence[Received]) -> frozenset[str]:
        rows = self._connection.execute(sql.CLAIM, {"group": group, **sql.claim_columns(received)}).fetchall()
        return frozenset(row[0] for row in rows)

    @override
    def load(self, strategy: str, keys: Sequence[str]) -> Mapping[str, Loaded]:
        # In one order for everybody, so that two engines cannot wait for each other.
        wanted = sorted(set(keys))
        rows = self._lock_states(strategy, wanted)
        if len(rows) < len(wanted):
            known = {row[0] for row in rows}
            fresh = [key for key in wanted if key not in known]
            self._connection.execute(sql.NEW_STATES, {"strategy": strategy, "keys": fresh})
            rows = self._lock_states(strategy, wanted)
        return {row[0]: sql.loaded(strategy, row) for row in rows if row[1]}

    def _lock_states(self, strategy: str, keys: Sequence[str]) -> list[TupleRow]:
        return self._connection.execute(sql.LOAD, {"strategy": strategy, "keys": list(keys)}).fetchall()

    @override
    def write(self, effects: Effects) -> None:
        for statement, columns, rows in sql.writes(effects):
            if rows and self._connection.execute(statement, columns).rowcount != rows:
                raise InvalidRequest(f"fewer rows than the {rows} given could be written: {statement.split('(')[0]}")


def _cause(outcome: Any) -> str:
    return str(outcome.exception()) if outcome is not None else ""


@contextmanager
def _translated(why: Callable[[], str]) -> Iterator[None]:
    """Foreign exceptions in, ours out. The texts of psycopg name hosts and tables, never passwords."""
    try:
        yield
    except DatabaseError:
        raise
    except (PoolTimeout, TooManyRequests) as error:
        raise DatabaseUnavailable(f"no connection to the database in time: {why()}") from error
    except PoolClosed as error:
        raise InvalidRequest("the store was closed by its owner") from error
    except psycopg.Error as error:
        raise _translate(error) from error


def _translate(error: psycopg.Error) -> DatabaseError:
    code, text = error.sqlstate, first_line(error)
    if code is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return DatabaseUnavailable(f"connection lost: {text}") if lost else InvalidRequest(text)
    if code[:2] in _RETRYABLE_CLASSES or code == _READ_ONLY:
        return DatabaseUnavailable(f"{text} (SQLSTATE {code})")
    if code[:2] == "28" or code == "42501":
        return DatabaseAccessDenied(
            f"{text} (SQLSTATE {code}): nothing was changed. Check the user and password in DATABASE_URL, "
            f"and that the role may create in, or owns, schema {DATABASE_SCHEMA}"
        )
    if code in ("3F000", "42P01", "42703"):
        return SchemaMismatch(f"{text} (SQLSTATE {code}): run the migrations of this version first")
    return InvalidRequest(f"{text} (SQLSTATE {code})")

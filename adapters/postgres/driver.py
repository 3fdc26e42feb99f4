"""Connections to Postgres. The one module that imports psycopg (psycopg_pool: adapters/database/postgres.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from adapters.postgres.errors import InvalidAddress, PostgresError, Refused, StatementFailed, Unavailable

Connection = psycopg.Connection[TupleRow]

CONNECT_SECONDS = 10
SESSION: Mapping[str, str] = {
    # Text forms that are the same whatever the server's defaults: a hosted one may round floats, for one.
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "client_encoding": "UTF8",
    "search_path": "",
    # A hosted server ends statements after minutes; a copy takes hours.
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
}
"""Parameters of a session. `row_security = off`: rows that a policy would hide are an error, not left out."""
_LOST = ("08", "40", "53", "55006", "55P03", "57", "58")
"""SQLSTATEs after which the same may succeed later: connections, rollbacks, resources, locks, operators, I/O."""
_REFUSED = ("28", "42501")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and who connects. `password` is in no repr and no text; `sslrootcert` is a path."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    sslmode: str = "prefer"
    sslrootcert: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read postgresql://user:password@host:port/name?sslmode=... Raises InvalidAddress."""
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise InvalidAddress(  # psycopg's own text repeats the URL
                "the database URL cannot be read: no connection was tried. "
                "It has the form postgresql://user:password@host:port/name, special characters percent-encoded"
            ) from None
        if not given.get("host") or not given.get("user"):
            raise InvalidAddress("the database URL names no host or no user: no connection was tried")
        return cls(
            host=str(given["host"]),
            port=int(given.get("port") or 5432),
            database=str(given.get("dbname") or given["user"]),
            user=str(given["user"]),
            password=str(given.get("password") or ""),
            sslmode=str(given.get("sslmode") or "prefer"),
            sslrootcert=str(given.get("sslrootcert") or ""),
        )

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.database}"

    @property
    def environment(self) -> dict[str, str]:
        """For libpq's own programs (pg_dump, psql): nothing of it has to stand in their arguments."""
        given = {
            "PGHOST": self.host, "PGPORT": str(self.port), "PGDATABASE": self.database, "PGUSER": self.user,
            "PGPASSWORD": self.password, "PGSSLMODE": self.sslmode, "PGSSLROOTCERT": self.sslrootcert,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        }  # fmt: skip
        return {name: value for name, value in given.items() if value}


def connect(
    address: Address, application: str, *, autocommit: bool = True, replication: bool = False,
    session: Mapping[str, str] = SESSION, seconds: int = CONNECT_SECONDS,
) -> Connection:  # fmt: skip
    """A direct connection (not through a pooler in transaction mode). `application` is its application_name;
    `replication`: one that takes replication commands; `seconds`: how long it may take. Raises Unavailable, Refused."""
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in session.items())
    given: dict[str, Any] = {
        "host": address.host, "port": address.port, "dbname": address.database, "user": address.user,
        "password": address.password, "sslmode": address.sslmode, "sslrootcert": address.sslrootcert or None,
        "application_name": application, "connect_timeout": seconds, "options": options,
        "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30000,
        "replication": "database" if replication else None,
    }  # fmt: skip
    conninfo = make_conninfo(**{name: str(value) for name, value in given.items() if value not in (None, "")})
    with translated(address):
        return psycopg.connect(conninfo, autocommit=autocommit, prepare_threshold=None)


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Foreign exceptions in, ours out, with the address that they came from."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, address) from error


def translate(error: psycopg.Error, address: Address) -> PostgresError:
    """Ours for `error`. The texts of psycopg name hosts, tables and values of keys, never passwords."""
    code, text = error.sqlstate, first_line(error)
    if code is None:
        # Postgres says "password authentication failed", PgBouncer "SASL authentication failed".
        if "authentication failed" in text or "no pg_hba.conf entry" in text:
            return Refused(f"{address}: {text}")
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return Unavailable(f"{address}: {text}") if lost else StatementFailed(f"{address}: {text}")
    told = f"{address}: {text} (SQLSTATE {code})"
    if code.startswith(_REFUSED):
        return Refused(told)
    return Unavailable(told) if code.startswith(_LOST) else StatementFailed(told)


def first_line(error: BaseException) -> str:
    """What it says, without the statement and the context."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def lsn(text: str) -> int:
    """`16/B374D848` as a number of bytes of WAL."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(value: int) -> str:
    """The other way round."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


__all__ = [
    "SESSION", "Address", "Connection", "TupleRow", "connect", "conninfo_to_dict", "first_line", "lsn", "lsn_text",
    "make_conninfo", "pq", "psycopg", "sql", "translate", "translated",
]  # fmt: skip

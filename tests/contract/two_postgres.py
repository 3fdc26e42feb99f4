"""Two real Postgres servers: one played as hosted, with a role as unprivileged as Supabase's `postgres`, and our own.

Of each pair of databases the hosted one is owned by HOSTED_ROLE, which owns what the application has; the other by
the application's role at our side.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.postgres.driver import Address, Connection, connect, sql
from tests.contract.postgres_server import PASSWORD, Postgres, find_postgres, postgres

HOSTED_ROLE = "hosted"
OWN_ROLE = "trading_app"
SETTINGS = {"wal_level": "logical", "max_wal_senders": "10", "max_replication_slots": "5", "fsync": "off"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One database at each server. `hosted` connects as the unprivileged role, `own` as a superuser; `hosted_admin`
    is for the test's own hands only."""

    hosted: Address
    own: Address
    hosted_admin: Address


def address(server: Postgres, database: str, role: str) -> Address:
    """Where a test connects."""
    return Address("127.0.0.1", server.port, database, role, PASSWORD, "disable")


@contextmanager
def two_servers(settings: Mapping[str, str] = SETTINGS) -> Iterator[tuple[Postgres, Postgres]]:
    """Both servers, running, with their roles."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("no Postgres server binaries here: install postgresql, or set CROSSOVER_POSTGRES_BIN")
    with postgres(Path(binaries), settings) as hosted, postgres(Path(binaries), settings) as own:
        with connect(address(hosted, "postgres", "postgres"), "test") as admin:
            admin.execute(
                sql.SQL("create role {} login createdb createrole replication bypassrls password {}").format(
                    sql.Identifier(HOSTED_ROLE), sql.Literal(PASSWORD)
                )
            )
            admin.execute(sql.SQL("grant pg_monitor, pg_read_all_data to {}").format(sql.Identifier(HOSTED_ROLE)))
        with connect(address(own, "postgres", "postgres"), "test") as admin:
            admin.execute(
                sql.SQL("create role {} login password {}").format(sql.Identifier(OWN_ROLE), sql.Literal(PASSWORD))
            )
        yield hosted, own


def new_pair(hosted: Postgres, own: Postgres) -> Pair:
    """Two empty databases of one new name."""
    name = f"trading_{uuid.uuid4().hex[:8]}"
    for server, owner in ((hosted, HOSTED_ROLE), (own, OWN_ROLE)):
        with connect(address(server, "postgres", "postgres"), "test") as admin:
            admin.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(owner)))
    return Pair(address(hosted, name, HOSTED_ROLE), address(own, name, "postgres"), address(hosted, name, "postgres"))


def run(connection: Connection, *statements: str) -> None:
    """Execute each."""
    for statement in statements:
        connection.execute(statement)

"""The two servers as the pooler reaches them: where they are, whether one can log in, and who holds a transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapters.postgres.driver import Address, connect
from adapters.postgres.errors import PostgresError
from adapters.postgres.pooler import Server
from contracts.stages import BACKENDS, Component

APPLICATION = "crossover-pooler"
_SECONDS = 3
"""How long a login may take, in seconds: clients stand still for it."""
_QUERY_CHARACTERS = 200
_TOLD = 3
"""So many transactions are told of one by one."""
_LITERAL = re.compile(r"'(?:[^']|'')*'?|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL)
_WHO = """
select pid, usename, application_name, extract(epoch from clock_timestamp() - xact_start)::float8, state, query
  from pg_catalog.pg_stat_activity where pid = any(%s) and xact_start is not null
"""


def read_sides(folder: Path) -> dict[str, Address]:
    """Each side of which `folder` has a file with its URL. Raises InvalidAddress, OSError."""
    names = BACKENDS[Component.DATABASE].values()
    return {name: Address.parse((folder / name).read_text().strip()) for name in names if (folder / name).exists()}


def login_trouble(address: Address) -> str:
    """Why the pooler could not log in there as it is told to; empty where it can."""
    try:
        with connect(address, APPLICATION, session={}, seconds=_SECONDS) as connection:
            connection.execute("select 1")
    except PostgresError as error:
        return str(error)
    return ""


def serving_trouble(address: Address) -> str:
    """Why clients must not be sent there: what login_trouble says, or that it takes no writes."""
    try:
        with connect(address, APPLICATION, session={}, seconds=_SECONDS) as connection:
            row = connection.execute("select pg_is_in_recovery() or current_setting('transaction_read_only')::bool")
            refuses = row.fetchone() != (False,)
    except PostgresError as error:
        return str(error)
    return f"{address} takes no writes: it recovers, or is read-only for {address.user}" if refuses else ""


def holders(address: Address, servers: Sequence[Server]) -> str:
    """Which transactions those are, in words: pid, age, user, application and query, without literals."""
    try:
        with connect(address, APPLICATION, session={}, seconds=_SECONDS) as connection:
            found = connection.execute(_WHO, ([server.pid for server in servers],)).fetchall()
    except PostgresError as error:
        return f"{_plainly(servers)} ({address} did not say more: {error})"
    if not found:
        return f"{_plainly(servers)}, which ended since"
    by_pid: Mapping[int, Server] = {server.pid: server for server in servers}
    told = [
        f"pid {pid} ({state}, its transaction began {age:.1f} s ago), user {user}, application "
        f"{by_pid[pid].client or application or 'unnamed'}: {_masked(query)}"
        for pid, user, application, age, state, query in sorted(found, key=lambda row: -row[3])
    ]
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return "; ".join(told[:_TOLD]) + more


def _plainly(servers: Sequence[Server]) -> str:
    return "; ".join(f"pid {server.pid}, user {server.user}, application {server.client}" for server in servers[:_TOLD])


def _masked(query: str) -> str:
    """On one line, without what stands in quotes: that is data."""
    plain = " ".join(_LITERAL.sub("'...'", query).split())
    return plain if len(plain) <= _QUERY_CHARACTERS else plain[:_QUERY_CHARACTERS] + "..."

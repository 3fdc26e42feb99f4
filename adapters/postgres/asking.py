"""Gathers the facts of one side: each group by itself, so that one refusal leaves the others known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from adapters.known import Fact, Unknown
from adapters.postgres import content_facts, server_facts
from adapters.postgres.driver import Address, connect, translated
from adapters.postgres.errors import PostgresError, StatementFailed, Unavailable
from adapters.postgres.facts import Activity, Contents, SideFacts

APPLICATION = "crossover-preflight"
STATEMENT_SECONDS = 60
"""A server that takes longer over one question is not asked any further: its catalog is locked, or it is drowning."""
WAL_SECONDS = 1.0
"""Over which the rate of WAL is measured: the mean since the statistics were reset would count a load of long ago."""
_HIDDEN = "the role is no member of pg_monitor, so what other sessions do is hidden from it"


def ask(address: Address, schemas: Sequence[str] | None = None) -> SideFacts:
    """The facts of the server at `address` about `schemas` (None: those that would move by default). Changes nothing.
    Raises PostgresError where it does not answer or does not let us in."""
    with connect(address, APPLICATION) as connection, translated(address):
        connection.execute(f"set statement_timeout = '{STATEMENT_SECONDS}s'")
        connection.execute("set lock_timeout = '5s'")
        role = server_facts.role(connection)

        def fact[T](read: Callable[[], T]) -> Fact[T]:
            try:
                with translated(address):
                    return read()
            except Unavailable:
                if connection.closed:
                    raise
                return Unknown("it took too long")
            except PostgresError as error:
                return Unknown(str(error))

        began, first = time.monotonic(), fact(lambda: server_facts.wal_position(connection))

        def wal_rate() -> float:
            if isinstance(first, Unknown):
                raise StatementFailed(first.why)
            time.sleep(max(0.0, began + WAL_SECONDS - time.monotonic()))
            return (server_facts.wal_position(connection) - first) / (time.monotonic() - began)

        moving = tuple(schemas) if schemas is not None else content_facts.owned_schemas(connection)
        activity: Fact[Activity] = Unknown(_HIDDEN)
        if role.watches:
            activity = fact(lambda: server_facts.activity(connection, moving))
        contents: Fact[Contents] | None = _locked(activity)
        if contents is None:
            contents = fact(lambda: content_facts.contents(connection, moving, role.member_of))
        return SideFacts(
            database=address.database,
            server=server_facts.server(connection),
            role=role,
            clock=server_facts.clock(connection),
            replication=fact(lambda: server_facts.replication(connection)),
            connections=fact(lambda: server_facts.connections(connection)),
            storage=fact(lambda: server_facts.storage(connection, role.watches)),
            activity=activity,
            contents=contents,
            extensions=fact(lambda: content_facts.extensions(connection, moving)),
            available=fact(lambda: content_facts.available(connection)),
            event_triggers=fact(lambda: content_facts.event_triggers(connection, moving)),
            roles=fact(lambda: content_facts.roles(connection)),
            collations=fact(lambda: content_facts.collations(connection)),
            wal_rate=fact(wal_rate),
            bookkeeping=content_facts.bookkeeping(connection),
        )


def _locked(activity: Fact[Activity]) -> Unknown | None:
    """Reading a table's size waits for whoever has it to himself: then nothing is asked rather than waited for."""
    if isinstance(activity, Unknown):
        return None
    held = [one for one in activity.ddl if one.mode == "AccessExclusiveLock"]
    return Unknown(f"DDL is in flight: {held[0]}") if held else None

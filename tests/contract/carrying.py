"""A pair of databases that follow each other, for tests of the carrier."""

# ruff: noqa: S608 - the tests' own names and numbers

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from adapters.postgres import bookkeeping, slots
from adapters.postgres.carrier import LIMITS, Carrier, End, Limits, open_carrier
from adapters.postgres.catalog import tables
from adapters.postgres.driver import Connection, connect, psycopg
from adapters.postgres.errors import Unavailable
from adapters.postgres.gate import Gate
from adapters.postgres.heartbeats import beat, heard
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import HOSTED_ROLE, Pair, new_pair, run

DEADLINE = 30.0
SCHEMA = "shop"
ODD_SETTINGS = (
    "extra_float_digits = 0", "datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "timezone = 'Asia/Kolkata'",
    "bytea_output = 'escape'", "xmloption = 'document'", "client_encoding = 'LATIN1'",
    "search_path = 'shop, pg_catalog'", "statement_timeout = '2min'",
)  # fmt: skip
"""What the hosted side has by default: text forms must not depend on it."""


def wait_until(holds: Callable[[], bool], seconds: float = DEADLINE, pause: float = 0.01) -> None:
    """Wait until `holds`, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(pause)


class Lane:
    """Two sides, "hosted" and "selfhosted", with one schema `shop`; both published, each with its slot."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.ends = {"hosted": End("hosted", pair.hosted), "selfhosted": End("selfhosted", pair.own)}
        self.hosted = connect(pair.hosted, "test")
        self.own = connect(pair.own, "test")
        self.opened: list[Carrier] = []
        for connection in (self.hosted, self.own):
            bookkeeping.ensure(connection)
            run(connection, f"create schema {SCHEMA}")

    def at(self, name: str) -> Connection:
        """A connection to the side."""
        return self.hosted if name == "hosted" else self.own

    def both(self, *statements: str) -> None:
        """Execute at both sides."""
        run(self.hosted, *statements)
        run(self.own, *statements)

    def follow(self) -> None:
        """Publish what is there, and make the slots."""
        for name in self.ends:
            connection = self.at(name)
            slots.publish(connection, tables(connection, [SCHEMA]))
            slots.ensure_slot(connection, bookkeeping.slot_name(name))

    def carrier(self, source: str = "hosted", content_from: int | None = 0, limits: Limits = LIMITS) -> Carrier:
        """A carrier from `source`; the slot of one that was just closed may take a moment to be free."""
        return self.gated(source, Gate(content_from), limits)

    def gated(self, source: str, gate: Gate, limits: Limits = LIMITS) -> Carrier:
        """The same, with a gate of the test's own."""
        target = "selfhosted" if source == "hosted" else "hosted"
        found: list[Carrier] = []

        def opened() -> bool:
            with suppress(Unavailable):
                found.append(open_carrier(self.ends[source], self.ends[target], gate, limits))
            return bool(found)

        wait_until(opened)
        self.opened += found
        return found[0]

    def carry(self, carrier: Carrier, source: str = "hosted") -> None:
        """Step until all that was committed at `source` so far is at the other side."""
        target = "selfhosted" if source == "hosted" else "hosted"
        number = beat(self.at(source), source).number

        def arrived() -> bool:
            carrier.step(0.05)
            return heard(self.at(target), source) >= number

        wait_until(arrived, pause=0)

    def rows(self, name: str, query: str) -> list[tuple[object, ...]]:
        """What a query says at a side."""
        return self.at(name).execute(query).fetchall()

    def same(self, *table_names: str) -> None:
        """Both sides have the same rows, by their text, each as often."""
        for table in table_names:
            query = f'select t::text from {SCHEMA}.{table} t order by t::text collate "C"'
            assert self.rows("hosted", query) == self.rows("selfhosted", query), table

    def close(self) -> None:
        """Close all, and drop the slots, of which a server has few."""
        for carrier in self.opened:
            carrier.close()
        for name in self.ends:
            wait_until(lambda name=name: self._dropped(name))  # type: ignore[misc]
            self.at(name).close()

    def _dropped(self, name: str) -> bool:
        with suppress(Unavailable, psycopg.OperationalError):
            slots.drop_slot(self.at(name), bookkeeping.slot_name(name))
            return True
        return False


@contextmanager
def lane(servers: tuple[Postgres, Postgres], *, replica_role: bool = True) -> Iterator[Lane]:
    """A lane over two new databases. `replica_role`: the hosted role may set session_replication_role, as Supabase's
    may."""
    pair = new_pair(*servers)
    with connect(pair.hosted_admin, "test") as admin:
        verb, word = ("grant", "to") if replica_role else ("revoke", "from")
        admin.execute(f"{verb} set on parameter session_replication_role {word} {HOSTED_ROLE}")
        for setting in ODD_SETTINGS:
            admin.execute(f"alter database {pair.hosted.database} set {setting}")
    made = Lane(pair)
    try:
        yield made
    finally:
        made.close()


def filled(connection: Connection, statements: Sequence[str]) -> None:
    """Execute all in one transaction."""
    with connection.transaction():
        run(connection, *statements)

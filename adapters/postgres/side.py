"""A connection that knows where it leads: its errors are ours and name the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adapters.postgres.driver import SESSION, Address, Connection, TupleRow, connect, translated
from adapters.postgres.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two servers, while a connection to it is open."""

    connection: Connection
    address: Address

    def run(self, query: str, values: Sequence[Any] | None = None) -> None:
        """Execute. Without values no character of `query` means anything to the driver."""
        with translated(self.address):
            self.connection.execute(query.encode(), values)

    def rows(self, query: str, values: Sequence[Any] | None = None) -> list[TupleRow]:
        """What it answers."""
        with translated(self.address):
            return self.connection.execute(query.encode(), values).fetchall()

    def row(self, query: str, values: Sequence[Any] | None = None) -> TupleRow:
        """The one row that it answers. Raises Unavailable where there is none."""
        found = self.rows(query, values)
        if not found:
            raise Unavailable(f"{self.address}: no row came back for {query.split(' from ', maxsplit=1)[0]!r}")
        return found[0]

    def close(self) -> None:
        """Give it up, and what was under way."""
        self.connection.close()


def open_side(address: Address, application: str, session: Mapping[str, str] = SESSION) -> Side:
    """Connect. Raises Unavailable, Refused."""
    return Side(connect(address, application, session=session), address)


@contextmanager
def opened(address: Address, application: str, session: Mapping[str, str] = SESSION) -> Iterator[Side]:
    """Connected for as long as a block lasts."""
    side = open_side(address, application, session)
    try:
        yield side
    finally:
        side.close()

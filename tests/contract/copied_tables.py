"""Tables of both sides of a pair of databases, copied as plainly as can be: by a pipe of COPY."""

from __future__ import annotations

from adapters.postgres.catalog import Table, quoted, tables
from adapters.postgres.driver import Address, connect, sql
from tests.contract.two_postgres import Pair, run


def create(pair: Pair, *statements: str, own_first: tuple[str, ...] = ()) -> None:
    """Execute at both sides; `own_first` before that at our own side."""
    with connect(pair.own, "test") as own:
        run(own, *own_first, *statements)
    with connect(pair.hosted, "test") as hosted:
        run(hosted, *statements)


def catalog(address: Address, schema: str) -> tuple[Table, ...]:
    """The tables of one side."""
    with connect(address, "test") as connection:
        return tables(connection, [schema])


def copy_over(pair: Pair, schema: str) -> None:
    """All rows of `schema` from hosted to own."""
    with connect(pair.hosted, "test") as hosted, connect(pair.own, "test") as own:
        for table in tables(hosted, [schema]):
            if not table.stored:
                continue
            columns = ", ".join(quoted(column.name) for column in table.stored)
            name = sql.SQL(f"{table.qualified} ({columns})")
            with (
                hosted.cursor().copy(sql.SQL("copy {} to stdout").format(name)) as out,
                own.cursor().copy(sql.SQL("copy {} from stdin").format(name)) as into,
            ):
                for block in out:
                    into.write(block)


def at_own(pair: Pair, *statements: str) -> None:
    """Execute at our own side."""
    with connect(pair.own, "test") as own:
        run(own, *statements)


def at_hosted(pair: Pair, *statements: str) -> None:
    """Execute at the hosted side."""
    with connect(pair.hosted, "test") as hosted:
        run(hosted, *statements)

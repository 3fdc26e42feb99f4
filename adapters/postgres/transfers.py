"""A bank's tables and its one transaction, for proving that nothing is lost in a move. Through a pooler, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.postgres.driver import Address, Connection, psycopg, translate

SCHEMA = "bank"
INITIAL = 1_000_000
"""Of each account, in cents."""
_TABLES = f"""
create schema if not exists {SCHEMA};
create table if not exists {SCHEMA}.account (number integer primary key, balance bigint not null);
create table if not exists {SCHEMA}.transfer (
  id uuid primary key, run text not null, source integer not null references {SCHEMA}.account,
  target integer not null references {SCHEMA}.account, amount bigint not null check (amount > 0),
  at timestamptz not null default pg_catalog.clock_timestamp());
"""
_ACCOUNTS = f"""
insert into {SCHEMA}.account select n, {INITIAL} from pg_catalog.generate_series(0, %s) n on conflict do nothing
"""  # noqa: S608 - constants
_MOVE = f"update {SCHEMA}.account set balance = balance + %s where number = %s"  # noqa: S608 - constants
_NOTE = f"insert into {SCHEMA}.transfer (id, run, source, target, amount) values (%s, %s, %s, %s, %s)"  # noqa: S608
_TRANSFERS = f"select id::text, source, target, amount from {SCHEMA}.transfer where run = %s"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Money:
    """`amount` cents from one account to another; `id` is a UUID."""

    id: str
    source: int
    target: int
    amount: int


@dataclass(frozen=True, slots=True)
class NotDone:
    """A transfer that was not acknowledged. `unknown`: the connection was lost at the commit, so it may have been."""

    why: str
    unknown: bool


def prepare(connection: Connection, accounts: int) -> None:
    """Make the tables and `accounts` accounts, where they are missing."""
    with connection.transaction():
        connection.execute(_TABLES)
        connection.execute(_ACCOUNTS, (accounts - 1,))


def transfer(connection: Connection, address: Address, run: str, money: Money) -> NotDone | None:
    """One transaction; None where it was acknowledged."""
    committing = False
    try:
        connection.execute("begin")
        # In one order for everybody, so that no two wait for each other.
        changes = sorted(((money.source, -money.amount), (money.target, money.amount)))
        for number, change in changes:
            connection.execute(_MOVE, (change, number))
        connection.execute(_NOTE, (money.id, run, money.source, money.target, money.amount))
        committing = True
        connection.execute("commit")
    except psycopg.Error as error:
        lost = connection.closed or connection.broken
        if not lost:
            connection.rollback()
        return NotDone(str(translate(error, address)), committing and bool(lost))
    return None


def transfers(connection: Connection, run: str) -> Iterator[Money]:
    """All transfers of `run`."""
    rows = connection.execute(_TRANSFERS, (run,))
    for row in rows:
        yield Money(*row)


def balances(connection: Connection) -> tuple[int, int, int]:
    """Accounts, their total in cents, and how many have another balance than all transfers give them."""
    row = connection.execute(
        f"""with moved as (
              select number, sum(change) as change from (
                select source, -amount from {SCHEMA}.transfer union all select target, amount from {SCHEMA}.transfer
              ) as each (number, change) group by number)
            select count(*), sum(balance)::bigint,
                   count(*) filter (where balance <> {INITIAL} + coalesce(moved.change, 0))
              from {SCHEMA}.account left join moved using (number)"""  # noqa: S608 - constants
    ).fetchone()
    if row is None:
        raise AssertionError("an aggregate without a row")
    return int(row[0]), int(row[1] or 0), int(row[2])

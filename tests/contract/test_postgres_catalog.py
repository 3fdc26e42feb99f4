"""What the catalog tells of tables, keys and sequences, on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.postgres import bookkeeping
from adapters.postgres.catalog import Column, Identity, sequences, tables
from adapters.postgres.driver import Address, Connection, connect
from adapters.postgres.errors import Refused, Unavailable
from tests.contract.two_postgres import Pair, new_pair, run, two_servers

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with two_servers() as (hosted, own):
        yield new_pair(hosted, own)


@pytest.fixture
def connection(pair: Pair) -> Iterator[Connection]:
    with connect(pair.hosted, "test") as opened:
        yield opened


def test_tables_tell_columns_keys_and_identity(connection: Connection) -> None:
    run(
        connection,
        "create schema facts",
        """create table facts."Order" (b int not null, a bigint generated always as identity, "select" text collate "C",
             twice int generated always as (b * 2) stored, primary key (a, b))""",
        "create table facts.chosen (a int not null, b int not null)",
        "create unique index chosen_b on facts.chosen (b) include (a)",
        "alter table facts.chosen replica identity using index chosen_b",
        "create table facts.none (a int)",
        "create table facts.whole (a int)",
        "alter table facts.whole replica identity full",
        "create unlogged table facts.passing (a int primary key)",
        "alter table facts.none add column gone int",
        "alter table facts.none drop column gone",
    )
    found = {table.name: table for table in tables(connection, ["facts"])}
    assert sorted(found) == ["Order", "chosen", "none", "whole"]
    order = found["Order"]
    assert order.key == order.primary_key == ("a", "b")
    assert order.columns == (
        Column("b", "integer", not_null=True),
        Column("a", "bigint", not_null=True, identity="a"),
        Column("select", "text", collation="C"),
        Column("twice", "integer", generated=True),
    )
    assert [column.name for column in order.stored] == ["b", "a", "select"]
    assert order.qualified == '"facts"."Order"'
    assert (found["chosen"].key, found["chosen"].primary_key) == (("b",), ())
    assert [found[name].identity for name in ("Order", "chosen", "none", "whole")] == [
        Identity.KEY,
        Identity.KEY,
        Identity.NONE,
        Identity.FULL,
    ]


def test_sequences_tell_what_was_given_out(connection: Connection) -> None:
    run(connection, "create schema counting", "create sequence counting.one start 5 increment 2 cache 3")
    (before,) = sequences(connection, ["counting"])
    run(connection, "select nextval('counting.one')")
    (after,) = sequences(connection, ["counting"])
    assert (before.last, before.called) == (5, False)
    assert (after.last, after.called, after.increment, after.cache) == (9, True, 2, 3)


def test_bookkeeping_is_made_twice_alike_without_a_superuser(connection: Connection) -> None:
    bookkeeping.ensure(connection)
    bookkeeping.ensure(connection)
    assert [str(table) for table in tables(connection, [bookkeeping.SCHEMA])] == [
        "crossover.chunk",
        "crossover.compared",
        "crossover.counted",
        "crossover.heartbeat",
        "crossover.mark",
        "crossover.unfollowed",
    ]


def test_a_wrong_password_is_refused_and_a_dead_port_is_unavailable(pair: Pair) -> None:
    at = pair.hosted
    wrong = Address(at.host, at.port, at.database, at.user, "s3cret-wrong", "disable")
    with pytest.raises(Refused) as refused:
        connect(wrong, "test")
    with pytest.raises(Unavailable):
        connect(Address("127.0.0.1", 1, "x", "y", "s3cret-wrong", "disable"), "test")
    assert "s3cret" not in str(refused.value) + repr(wrong) + str(wrong)

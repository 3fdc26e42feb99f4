"""Over a copy that was made in parts, at other times, the stream makes both sides the same; on real servers."""

# ruff: noqa: S608 - the tests' own names and numbers

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.carrier import Limits
from adapters.postgres.driver import psycopg
from adapters.postgres.errors import Conflict
from tests.contract.carrying import Lane, filled, lane
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import two_servers

pytestmark = pytest.mark.contract

TABLES = {"keyed": "id int primary key, v text", "whole": "id int, v text"}
HALF = 4


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        yield both


@pytest.fixture
def between(servers: tuple[Postgres, Postgres]) -> Iterator[Lane]:
    with lane(servers) as made:
        for name, columns in TABLES.items():
            made.both(f"create table shop.{name} ({columns})")
        made.both("alter table shop.whole replica identity full")
        made.follow()
        yield made


def copied(between: Lane, table: str, part: int) -> None:
    """Copy one half of a table: its rows, and how far the source had written once they were seen."""
    lower, upper = (-1, HALF) if part == 0 else (HALF, 1000)
    where = f"id >= {lower} and id < {upper}"
    with between.hosted.transaction():
        between.hosted.execute("set transaction isolation level repeatable read")
        rows = between.hosted.execute(f"select id, v from shop.{table} where {where}").fetchall()
        seen = between.hosted.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    assert seen is not None
    with between.own.transaction():
        for row in rows:
            between.own.execute(f"insert into shop.{table} values (%s, %s)", row)
        between.own.execute(
            "insert into crossover.chunk (relation, part, cut, seen) values (%s, %s, 'whole', %s)",
            (table, part, seen[0]),
        )


def emptied(between: Lane) -> None:
    """Begin anew: nothing at either side, and nothing copied."""
    for table in TABLES:
        between.hosted.execute(f"truncate shop.{table}")
    between.carry(between.carrier())
    between.opened[-1].close()
    between.own.execute("truncate crossover.chunk")


IDS = st.integers(0, 2 * HALF - 1)
VALUES = st.sampled_from(["a", "b", "c"])
CHANGES = st.one_of(
    st.builds("insert into shop.keyed values ({}, '{}') on conflict do nothing".format, IDS, VALUES),
    st.builds("update shop.keyed set v = '{}' where id = {}".format, VALUES, IDS),
    st.builds("update shop.keyed set id = {}, v = v || '.' where id = {}".format, IDS, IDS),
    st.builds("update shop.keyed set id = {} - id where id <> {}".format, st.just(2 * HALF - 1), IDS),
    st.builds("delete from shop.keyed where id = {}".format, IDS),
    st.builds(
        "insert into shop.whole select {0}, '{1}' where {0} not in (select id from shop.whole)".format, IDS, VALUES
    ),
    st.builds("update shop.whole set v = '{}' where id = {}".format, VALUES, IDS),
    st.builds("delete from shop.whole where id = {}".format, IDS),
    st.just("truncate shop.keyed"),
    st.just("truncate shop.keyed, shop.whole"),
)
TRANSACTIONS = st.lists(st.lists(CHANGES, min_size=1, max_size=4), max_size=8)
LIMITS = st.builds(Limits, transactions=st.integers(1, 4), unsent_bytes=st.sampled_from([1, 500, 100_000]))


def committed(between: Lane, statements: list[str]) -> None:
    """Run one transaction, or none where a key is there twice."""
    with suppress(psycopg.errors.UniqueViolation):
        filled(between.hosted, statements)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(TRANSACTIONS, min_size=5, max_size=5), st.permutations([(t, p) for t in TABLES for p in (0, 1)]), LIMITS
)
def test_whatever_is_written_while_a_table_is_copied_in_parts(
    between: Lane, written: list[list[list[str]]], parts: list[tuple[str, int]], limits: Limits
) -> None:
    emptied(between)
    steps: list[Callable[[], None]] = [
        *(lambda table=table, part=part: copied(between, table, part) for table, part in parts),
        lambda: None,
    ]
    for transactions, copy in zip(written, steps, strict=True):
        for statements in transactions:
            committed(between, statements)
        copy()
    carrier = between.carrier(limits=limits)
    assert carrier.state.catching_up
    between.carry(carrier)
    between.same(*TABLES)
    assert not carrier.state.catching_up
    for statements in written[0]:
        committed(between, statements)  # strictly, from now on
    between.carry(carrier)
    between.same(*TABLES)
    carrier.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TRANSACTIONS, LIMITS, st.integers(1, 20))
def test_random_transactions_strictly_with_a_restart_among_them(
    between: Lane, written: list[list[str]], limits: Limits, steps: int
) -> None:
    emptied(between)
    for statements in [*written, *written]:
        committed(between, statements)
    carrier = between.carrier(limits=limits)
    for _ in range(steps):
        carrier.step(0.0)
    carrier.close()
    carrier = between.carrier(limits=limits)
    assert not carrier.state.catching_up
    between.carry(carrier)
    between.same(*TABLES)
    carrier.close()


def test_a_key_that_moves_under_the_copy_with_a_value_stored_apart(servers: tuple[Postgres, Postgres]) -> None:
    with lane(servers) as between:
        between.both(
            "create table shop.long (id int primary key, v text, n int)",
            "create table shop.fixed (id int generated always as identity (start 11) primary key, v text, n int)",
        )
        for table in ("long", "fixed"):
            between.both(f"alter table shop.{table} alter v set storage external")
        between.follow()
        copied_while_it_moved(between, "long", "update shop.long set id = id + 10")
        copied_while_it_moved(between, "fixed", "update shop.fixed set id = default")
        between.carry(between.carrier())
        between.same("long", "fixed")
        between.opened[-1].close()
        between.hosted.execute("update shop.long set id = 1 where id = 11")
        seen = between.rows("hosted", "select pg_current_wal_insert_lsn()::text")[0]
        between.own.execute(
            "insert into crossover.chunk (relation, part, cut, seen) values ('long', 9, 'whole', %s)", seen
        )
        between.own.execute("delete from shop.long where id in (1, 11)")  # as if the copy had met it under neither
        with pytest.raises(Conflict, match=r"shop\.long: the row \(id\) = \(1\)"):
            between.carry(between.carrier())


def copied_while_it_moved(between: Lane, table: str, move: str) -> None:
    """Four rows whose keys change: copied under the old key, under both, under the new one, and under the old one."""
    rows = "select n, repeat('x', 5000), n from generate_series(1, 4) n"
    between.hosted.execute(f"insert into shop.{table} (id, v, n) overriding system value {rows}")
    old = between.rows("hosted", f"select id, v, n from shop.{table} where n in (1, 2, 4)")
    between.hosted.execute(move)
    new = between.rows("hosted", f"select id, v, n from shop.{table} where n in (2, 3)")
    for row in [*old, *new]:
        between.own.execute(f"insert into shop.{table} (id, v, n) overriding system value values (%s, %s, %s)", row)
    seen = between.rows("hosted", "select pg_current_wal_insert_lsn()::text")[0]
    between.own.execute(
        "insert into crossover.chunk (relation, part, cut, seen) values (%s, 0, 'whole', %s)", (table, *seen)
    )


def test_a_key_that_moves_between_parts_that_are_copied_before_and_after(between: Lane) -> None:
    emptied(between)
    between.hosted.execute("insert into shop.keyed values (1, 'lost'), (7, 'twice')")
    copied(between, "keyed", 1)
    between.hosted.execute("update shop.keyed set id = 6 - id where id = 1")  # into the part that was copied
    between.hosted.execute("update shop.keyed set id = 2 where id = 7")  # and out of it
    copied(between, "keyed", 0)
    assert between.rows("selfhosted", "select * from shop.keyed order by id") == [(2, "twice"), (7, "twice")]
    between.carry(between.carrier())
    between.same("keyed")
    assert between.rows("selfhosted", "select * from shop.keyed order by id") == [(2, "twice"), (5, "lost")]

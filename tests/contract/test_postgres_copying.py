"""Rows copied between two real servers: of every kind, in parts, under writers, and killed on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from adapters.postgres import chunks, schema
from adapters.postgres.catalog import tables
from adapters.postgres.copying import Copy
from adapters.postgres.driver import connect
from adapters.postgres.errors import Conflict, Drift, Refused, StatementFailed, Unavailable
from adapters.postgres.planning import travelling_types
from adapters.postgres.progress import Progress
from adapters.postgres.schema import Building
from adapters.postgres.side import opened
from tests.contract.moved_databases import (
    ALL,
    CODE,
    FINE,
    ROWS,
    SHAPES,
    TYPES,
    big,
    digest,
    digests,
    done_parts,
    dumped,
    fill,
    moved_tables,
    plan_first,
    prepared,
)
from tests.contract.postgres_server import PASSWORD, Postgres
from tests.contract.two_postgres import OWN_ROLE, Pair, address, new_pair, two_servers

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        with connect(address(both[0], "postgres", "postgres"), "test") as admin:
            admin.execute("create role authenticated")
        yield both


@pytest.fixture
def pair(servers: tuple[Postgres, Postgres]) -> Pair:
    return new_pair(*servers)


# -- what is copied


def test_rows_of_every_kind_arrive_as_they_were(pair: Pair) -> None:
    moved = prepared(pair, [*TYPES, *SHAPES, *CODE], ALL)
    plain = next(table for table in moved if str(table) == "kinds.plain")
    with opened(pair.hosted, "test") as source:
        assert chunks.binary(plain, travelling_types(source))
    result = Copy(pair.hosted, pair.own, moved, FINE).run()
    wanted = dumped(pair, ALL)
    schema.build_keys(pair.own, wanted, OWN_ROLE, Building())
    schema.build_rest(pair.own, wanted, OWN_ROLE, Building())
    schema.analyze(pair.own, moved)
    expected = digests(pair.hosted, moved)
    assert digests(pair.own, moved) == expected
    assert result.rows == sum(rows for rows, _ in expected.values())
    assert expected["kinds.every"][0] == expected["kinds.plain"][0] == 202
    assert expected["shapes.nothing"][0] == 2
    assert set(result.exact) == {f'"shapes"."{name}"' for name in ("log", "nothing", "computed", "child")}


def test_parts_of_a_skewed_table_are_of_like_size_and_lose_nothing(pair: Pair) -> None:
    (table,) = big(pair)
    Copy(pair.hosted, pair.own, [table], FINE).run()
    assert digest(pair.own, table) == digest(pair.hosted, table)
    with connect(pair.own, "test") as own:
        counts = [row[0] for row in own.execute("select copied_rows from crossover.chunk")]
    assert len(counts) >= 20
    assert sum(counts) == ROWS
    assert max(counts) < 3 * ROWS / len(counts)


def test_a_table_that_lies_in_another_order_than_its_key_is_cut_less_often(pair: Pair) -> None:
    fill(pair, "create schema big", "create table big.rows (id uuid primary key, t text)",
         "insert into big.rows select gen_random_uuid(), repeat('x', 90) from generate_series(1, 5000)",
         "analyze big.rows")  # fmt: skip
    schema.make(pair.own, dumped(pair, ["big"]).before, OWN_ROLE)
    (table,) = moved_tables(pair, ["big"])
    Copy(pair.hosted, pair.own, [table], FINE).run()
    assert digest(pair.own, table) == digest(pair.hosted, table)
    assert len(done_parts(pair)) == chunks.SCATTERED_PARTS


@pytest.mark.parametrize(
    ("kind", "values"),
    [("text collate \"C\"", "g::text || 'é'"), ("numeric", "g / 7.0 - 100"), ("uuid", "md5(g::text)::uuid"),
     ("timestamptz", "'epoch'::timestamptz + g * interval '1 hour 1 us'"), ("bytea", "int4send(g)"),
     ("\"char\"", "chr(32 + g % 90)"), ("float8", "sqrt(g) * (g % 2 - 0.5)"), ("char(9)", "to_char(g, '999')"),
     ("big.step", "g::numeric"), ("inet", "'10.0.0.0'::inet + g")],
)  # fmt: skip
def test_a_key_of_any_type_cuts_a_table(pair: Pair, kind: str, values: str) -> None:
    fill(pair, "create schema big", "create domain big.step as numeric(9, 2)",
         f"create table big.rows (\"select\" {kind}, g int, \"t\" text, primary key (\"select\", g))",
         # No injection: the values stand above.
         f"insert into big.rows select {values}, g, repeat('x', 200) from generate_series(1, 2000) g")  # noqa: S608  # fmt: skip
    schema.make(pair.own, dumped(pair, ["big"]).before, OWN_ROLE)
    (table,) = moved_tables(pair, ["big"])
    Copy(pair.hosted, pair.own, [table], replace(FINE, part_bytes=64 << 10)).run()
    assert digest(pair.own, table) == digest(pair.hosted, table)
    assert len(done_parts(pair)) > 3


# -- refused and reported


def test_rows_that_a_policy_would_hide_are_copied_or_refused_but_never_left_out(pair: Pair) -> None:
    (table,) = big(pair, "small")
    fill(pair, "alter table big.small enable row level security", "alter table big.small force row level security",
         "create policy none on big.small using (false)")  # fmt: skip
    with connect(pair.hosted_admin, "test") as admin:
        admin.execute(f"do $$ begin if not exists (select from pg_roles where rolname = 'plain') then "
                      f"create role plain login password '{PASSWORD}'; end if; end $$")  # fmt: skip
        admin.execute("grant usage on schema big to plain; grant select on all tables in schema big to plain")
    with pytest.raises(Refused, match=r"big\.small.*row-level security"):
        Copy(replace(pair.hosted, user="plain"), pair.own, [table], FINE).run()
    assert Copy(pair.hosted, pair.own, [table], FINE).run().rows == 10


def test_an_error_names_its_table_and_ends_all_while_what_was_copied_stays(pair: Pair) -> None:
    moved = big(pair, None)
    with connect(pair.own, "test") as own:
        own.execute("alter table big.rows add check (account <> 96)")
    with pytest.raises(StatementFailed, match=r"big\.rows, part \d+: .*violates check constraint"):
        Copy(pair.hosted, pair.own, moved, FINE).run()
    before = done_parts(pair)
    assert ('"big"."log"', 0) in before
    with connect(pair.own, "test") as own:
        own.execute("alter table big.rows drop constraint rows_account_check")
    Copy(pair.hosted, pair.own, moved, FINE).run()
    assert digests(pair.own, moved) == digests(pair.hosted, moved)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("copy-")]


def test_nothing_is_added_to_the_rows_of_others(pair: Pair) -> None:
    (table,) = big(pair, "small")
    with connect(pair.own, "test") as own:
        own.execute("insert into big.small values (1)")
    with pytest.raises(Conflict, match=r"big\.small has rows"):
        Copy(pair.hosted, pair.own, [table], FINE).run()
    assert digest(pair.own, table)[0] == 1


def test_cuts_that_do_not_fit_any_more_are_a_drift(pair: Pair) -> None:
    (table,) = big(pair)
    plan_first(pair, [table])
    columns = tuple(replace(c, name="renamed") if c.name == "account" else c for c in table.columns)
    with pytest.raises(Drift, match="account"):
        Copy(pair.hosted, pair.own, [replace(table, columns=columns)], FINE).run()


def test_as_long_as_there_is_pressure_nothing_is_begun_and_no_more_connections_are_opened(pair: Pair) -> None:
    (table,) = big(pair)
    asked: list[int] = []
    told: list[Progress] = []
    most: list[int] = []
    used = (
        "select count(*) from pg_stat_activity"
        " where application_name = 'crossover-copy' and datname = current_database()"
    )

    def pressure() -> str:
        asked.append(1)
        return "1 GB of WAL" if len(asked) < 3 else ""

    def progress(now: Progress) -> None:
        told.append(now)
        with connect(pair.hosted_admin, "test") as admin:
            most.extend(row[0] for row in admin.execute(used.encode()))

    result = Copy(pair.hosted, pair.own, [table], replace(FINE, workers=3), pressure=pressure, progress=progress).run()
    paused = [now for now in told if now.paused]
    assert paused
    assert all(now.parts_done == now.rows == 0 for now in paused)
    assert told[-1].parts_done == told[-1].parts
    assert (told[-1].rows, told[-1].tables_done, told[-1].eta) == (result.rows, 1, 0)
    assert [now.parts_done for now in told] == sorted(now.parts_done for now in told)
    assert max(most) <= 3


def test_a_failing_pressure_ends_the_copy(pair: Pair) -> None:
    (table,) = big(pair)
    with pytest.raises(Unavailable, match="nobody knows"):
        Copy(pair.hosted, pair.own, [table], FINE, pressure=partial(_raise, Unavailable("nobody knows"))).run()


def _raise(error: Exception) -> str:
    raise error


def test_tables_that_come_later_are_copied_in_a_later_run(pair: Pair) -> None:
    moved = big(pair, None)
    Copy(pair.hosted, pair.own, moved[:1], FINE).run()
    before = done_parts(pair)
    Copy(pair.hosted, pair.own, moved, FINE).run()
    after = done_parts(pair)
    assert {key: after[key] for key in before if key[1]} == {key: at for key, at in before.items() if key[1]}
    with connect(pair.own, "test") as own:
        assert len(tables(own, ["big"])) == 3
    assert digests(pair.own, moved) == digests(pair.hosted, moved)

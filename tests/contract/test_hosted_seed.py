"""The stand-in's seed on a real server: its likeness to a Supabase project, and that it may be read again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.postgres import bookkeeping
from adapters.postgres.driver import connect, psycopg
from tests.contract.hosted_postgres import Project, project
from tests.contract.two_postgres import Pair, run

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def planted() -> Iterator[Project]:
    with project() as made:
        yield made


@pytest.fixture(scope="module")
def pair(planted: Project) -> Pair:
    return planted.new()


def test_it_may_be_read_at_every_start(planted: Project, pair: Pair) -> None:
    with connect(pair.hosted, "test") as connection:
        run(connection, "insert into public.watchlists (owner, symbol) values (gen_random_uuid(), 'KEPT')")
        count = connection.execute("select count(*) from public.watchlists").fetchone()
        planted.plant(pair.hosted.database)
        assert connection.execute("select count(*) from public.watchlists").fetchone() == count == (101,)


def test_the_migration_role_is_what_postgres_is_at_supabase(pair: Pair) -> None:
    with connect(pair.hosted, "test") as connection:
        found = connection.execute(
            "select rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls"
            "  from pg_roles where rolname = current_user"
        ).fetchone()
        assert found == (False, True, True, True, True, True, True)
        members = connection.execute(
            "select r.rolname::text, m.admin_option from pg_auth_members m join pg_roles r on r.oid = m.roleid"
            " where m.member = current_user::regrole and r.rolname like 'pg\\_%' order by 1"
        ).fetchall()
        names = ["pg_monitor", "pg_read_all_data", "pg_signal_backend"]
        if connection.info.server_version >= 160000:
            names.insert(0, "pg_create_subscription")
        assert members == [(name, True) for name in names]


def test_a_project_without_the_right_to_subscribe(planted: Project, pair: Pair) -> None:
    def granted() -> bool:
        with connect(pair.hosted, "test") as connection:
            row = connection.execute(
                "select exists (select from pg_auth_members m join pg_roles r on r.oid = m.roleid"
                " where m.member = current_user::regrole and r.rolname = 'pg_create_subscription')"
            ).fetchone()
            assert row is not None
            return bool(row[0])

    with connect(pair.hosted, "test") as connection:
        has_it = connection.info.server_version >= 160000
    assert granted() is has_it
    planted.plant(pair.hosted.database, subscriptions=False)
    assert not granted()
    planted.plant(pair.hosted.database)
    assert granted() is has_it


def test_what_a_move_does_needs_no_superuser(pair: Pair) -> None:
    with connect(pair.hosted, "test") as connection:
        run(
            connection,
            "set session_replication_role = replica",
            "create publication ours for table public.watchlists",
            "select pg_create_logical_replication_slot('seed_test', 'pgoutput')",
            "select pg_drop_replication_slot('seed_test')",
            "drop publication ours",
        )
        bookkeeping.ensure(connection)


@pytest.mark.parametrize(
    "statement",
    [
        "create publication everything for all tables",
        "create table auth.mine (id int)",
        "alter table auth.users add column mine int",
        "create publication theirs for table auth.users",
        "alter role authenticator bypassrls superuser",
        "select pg_read_file('/etc/hostname')",
        "alter system set work_mem = '8MB'",
    ],
)
def test_what_only_the_platform_may_is_refused(pair: Pair, statement: str) -> None:
    with connect(pair.hosted, "test") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_its_defaults_are_those_that_break_who_counts_on_others(pair: Pair) -> None:
    with connect(pair.hosted, "test", session={}) as connection:
        shown = [connection.execute(f"show {name}".encode()).fetchone() for name in (
            "statement_timeout", "extra_float_digits", "timezone")]  # fmt: skip
        assert shown == [("2min",), ("0",), ("UTC",)]
        assert connection.execute("select (0.1::float8 + 0.2)::text").fetchone() == ("0.3",)
    with connect(pair.hosted, "test") as connection:
        assert connection.execute("show statement_timeout").fetchone() == ("0",)
        assert connection.execute("select (0.1::float8 + 0.2)::text").fetchone() == ("0.30000000000000004",)


def test_a_policy_hides_rows_and_ddl_is_announced(pair: Pair) -> None:
    with connect(pair.hosted, "test") as connection:
        run(connection, "listen pgrst", "create table public.announced (id int primary key)")
        assert [one.payload for one in connection.notifies(timeout=10, stop_after=1)] == ["reload schema"]
        everyone = connection.execute("select count(*) from public.watchlists").fetchone()
        run(
            connection,
            "set row_security = on",
            "set role authenticated",
            "set request.jwt.claim.sub = '00000000-0000-4000-8000-000000000003'",
        )
        assert connection.execute("select count(*) from public.watchlists").fetchone() == (10,)
        assert everyone is not None and everyone[0] >= 100

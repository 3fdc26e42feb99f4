"""Schemas dumped at one real server and built at another, however often that is ended on the way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.postgres import schema
from adapters.postgres.copying import Copy, CopySettings
from adapters.postgres.driver import connect
from adapters.postgres.dumped import Item, Roles
from adapters.postgres.errors import PostgresError, Refused, StatementFailed, Stopped, Unavailable
from adapters.postgres.schema import Building, Extension, Schema
from tests.contract.moved_databases import ALL, CODE, SHAPES, TYPES, dumped, eventually, fill, moved_tables, scalar
from tests.contract.postgres_server import PASSWORD, Postgres
from tests.contract.two_postgres import HOSTED_ROLE, OWN_ROLE, Pair, address, new_pair, two_servers

pytestmark = pytest.mark.contract
BUILDING = Building(workers=2)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        for number, server in enumerate(both):
            with connect(address(server, "postgres", "postgres"), "test") as admin:
                admin.execute("create role reader")
                if number == 0:
                    admin.execute("create role authenticated")
        yield both


@pytest.fixture
def pair(servers: tuple[Postgres, Postgres]) -> Pair:
    return new_pair(*servers)


def again(pair: Pair, schemas: Sequence[str] = ALL) -> Schema:
    """What the new side holds, dumped as the old side was."""
    with connect(pair.own, "test") as own:
        roles = schema.roles_of(own, OWN_ROLE, [])
    return schema.dump(pair.own, schemas, roles)


def everything(found: Schema) -> dict[str, str]:
    """Its items by name; those that stand for roles apart, which differ on purpose."""
    after = [*found.after.keys, *(item for _, wave in found.after.rest for item in wave)]
    assert len({str(item) for item in [*found.before, *after]}) == len(found.before) + len(after)
    return {str(item): item.sql for item in [*found.before, *after] if "ACL" not in item.kind}


def build(pair: Pair, wanted: Schema) -> None:
    schema.make(pair.own, wanted.before, OWN_ROLE)
    schema.build_keys(pair.own, wanted, OWN_ROLE, BUILDING)
    schema.build_rest(pair.own, wanted, OWN_ROLE, BUILDING)


def filled(pair: Pair) -> Schema:
    """The old side with all kinds, its rows at the new side, and the schema that is to be built there."""
    fill(pair, *TYPES, *SHAPES, *CODE)
    wanted = dumped(pair, ALL)
    schema.make(pair.own, wanted.before, OWN_ROLE)
    Copy(pair.hosted, pair.own, moved_tables(pair, ALL), CopySettings(workers=2)).run()
    return wanted


def test_what_is_built_is_what_was_there_and_belongs_to_the_application(pair: Pair) -> None:
    wanted = filled(pair)
    build(pair, wanted)
    build(pair, wanted)  # all of it is there already
    assert everything(again(pair)) == everything(wanted)
    assert len(everything(wanted)) > 60
    owners = (
        "select string_agg(distinct pg_get_userbyid(relowner), ',') from pg_class"
        " where relnamespace::regnamespace::text in ('kinds', 'shapes', 'code')"
    )
    assert scalar(pair.own, owners) == OWN_ROLE
    assert scalar(pair.own, "select string_agg(s::text, ',') from code.more") == "4"
    assert scalar(pair.own, "select count(*) from pg_publication") == 0


def test_after_a_kill_at_any_statement_it_goes_on(pair: Pair) -> None:
    fill(pair, *SHAPES, *CODE)
    wanted = dumped(pair, ALL[1:])
    for count in range(1, len(wanted.before) + 1):  # each time one item more is there already
        there = schema.make(pair.own, wanted.before[:count], OWN_ROLE)
        assert set(there) <= {str(item) for item in wanted.before[: count - 1]}
    assert scalar(pair.own, "select count(*) from pg_index where indrelid = 'shapes.parent'::regclass") == 0
    waves = [wanted.after.keys, *(wave for _, wave in wanted.after.rest)]
    for wave in waves:
        for count in range(1, len(wave) + 1):
            schema.build(pair.own, wave[:count], OWN_ROLE, BUILDING, parallel=False)
    assert everything(again(pair, ALL[1:])) == everything(wanted)


def test_a_builder_that_is_killed_or_stopped_leaves_whole_items(pair: Pair) -> None:
    wanted = filled(pair)
    schema.build_keys(pair.own, wanted, OWN_ROLE, BUILDING)
    blocked = (
        "select count(*) from pg_stat_activity where application_name = 'crossover-schema' and wait_event = 'relation'"
    )
    stop = threading.Event()
    for end in ("kill", "stop"):
        failures: list[BaseException] = []

        def run(failures: list[BaseException] = failures) -> None:
            try:
                schema.build_rest(pair.own, wanted, OWN_ROLE, BUILDING, stop)
            except PostgresError as error:
                failures.append(error)

        with connect(pair.own, "blocker", autocommit=False) as blocker:
            blocker.execute("lock table code.account, shapes.parted in access exclusive mode")
            thread = threading.Thread(target=run)
            thread.start()
            eventually(lambda: scalar(pair.own, blocked), "no item waits for the lock")
            if end == "kill":
                blocker.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = 'crossover-schema' and datname = current_database()"
                )
            else:
                stop.set()
        thread.join(30)
        assert isinstance(failures[0], Unavailable if end == "kill" else Stopped)
    assert scalar(pair.own, "select count(*) from pg_constraint where contype = 'f'") == 0
    schema.build_rest(pair.own, wanted, OWN_ROLE, BUILDING)
    assert everything(again(pair)) == everything(wanted)


def test_grants_and_policies_come_for_roles_that_are_there_and_the_others_are_named(pair: Pair) -> None:
    fill(pair, *CODE, "grant select on code.audit to reader", "create policy read on code.audit for select to reader, "
         "authenticated using (true)", "grant usage on schema code to reader")  # fmt: skip
    wanted = dumped(pair, ["code"])
    build(pair, wanted)
    left_out = "\n".join(wanted.left_out)
    assert left_out.count('no role "authenticated" there') == len(wanted.left_out) == 7
    can = "select has_table_privilege('{}', '{}', 'select')"
    assert scalar(pair.own, can.format("reader", "code.audit")) is True
    assert scalar(pair.own, can.format("reader", "code.account")) is True  # PUBLIC
    assert scalar(pair.own, "select has_schema_privilege('reader', 'code', 'usage')") is True
    assert scalar(pair.own, "select string_agg(polname, ',' order by polname) from pg_policy") == "all_see,mine,read"
    roles = "select array_agg(r::regrole::text) from pg_policy, unnest(polroles) r where polname = '{}'"
    assert scalar(pair.own, roles.format("read")) == ["reader"]
    assert scalar(pair.own, roles.format("mine")) == [OWN_ROLE]  # which was the owner's there
    assert scalar(pair.own, "select relrowsecurity from pg_class where oid = 'code.account'::regclass") is True


def test_triggers_and_foreign_keys_see_no_row_that_is_copied(pair: Pair) -> None:
    wanted = filled(pair)
    assert scalar(pair.own, "select count(*) from code.audit") == scalar(pair.hosted, "select count(*) from code.audit")
    schema.build_keys(pair.own, wanted, OWN_ROLE, BUILDING)
    assert scalar(pair.own, "select count(*) from pg_trigger") == 0
    primary = "select count(*) from pg_index where indisprimary and indrelid::regclass::text !~ '^(pg_|crossover)'"
    assert scalar(pair.own, primary) == scalar(pair.hosted, primary)
    assert scalar(pair.own, "select count(*) from pg_index where indisreplident") == 1
    assert scalar(pair.own, "select count(*) from pg_class where relname = 'account_total'") == 0


def test_a_failure_names_its_item_and_ends_the_build(pair: Pair) -> None:
    fill(pair, "create schema code", "create table code.a (id int, b int unique)", "create index later on code.a (id)")
    wanted = dumped(pair, ["code"])
    schema.make(pair.own, wanted.before, OWN_ROLE)
    with connect(pair.own, "test") as own:
        own.execute("insert into code.a values (1, 1), (2, 1)")
    with pytest.raises(StatementFailed, match=r"CONSTRAINT code\.a a_b_key: .*could not create unique index"):
        schema.build_rest(pair.own, wanted, OWN_ROLE, BUILDING)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("build-")]


def test_foreign_keys_that_cross_are_built_together(pair: Pair) -> None:
    fill(pair, "create schema code", *(f"create table code.t{n} (id int primary key, o int)" for n in range(4)),
         *(f"insert into code.t{n} select g, g from generate_series(1, 2000) g" for n in range(4)),  # noqa: S608
         *(f"alter table code.t{n} add constraint f{m} foreign key (o) references code.t{m}"
           for n in range(4) for m in range(4)))  # fmt: skip
    wanted = dumped(pair, ["code"])
    schema.make(pair.own, wanted.before, OWN_ROLE)
    Copy(pair.hosted, pair.own, moved_tables(pair, ["code"]), CopySettings(workers=2)).run()
    schema.build_keys(pair.own, wanted, OWN_ROLE, Building(workers=3))
    schema.build_rest(pair.own, wanted, OWN_ROLE, Building(workers=3))
    assert scalar(pair.own, "select count(*) from pg_constraint where contype = 'f' and convalidated") == 16


def test_the_schema_public_is_there_already(pair: Pair) -> None:
    with connect(pair.hosted_admin, "test") as admin:
        admin.execute(f"grant all on schema public to {HOSTED_ROLE}, reader")
        admin.execute("comment on schema public is 'ours'")
    fill(pair, "create table public.t (id int primary key)")
    build(pair, dumped(pair, ["public"]))
    assert scalar(pair.own, "select count(*) from public.t") == 0
    assert scalar(pair.own, "select has_schema_privilege('reader', 'public', 'create')") is True
    assert scalar(pair.own, "select obj_description('public'::regnamespace)") == "ours"


def test_extensions_come_into_the_schemas_that_they_had(pair: Pair) -> None:
    if not scalar(pair.own, "select count(*) from pg_available_extensions where name = 'hstore'"):
        pytest.skip("this server has no contrib modules")
    with connect(pair.hosted_admin, "test") as admin:
        admin.execute("create schema extensions; grant usage on schema extensions to public")
        admin.execute("create extension hstore schema extensions; create extension pg_trgm schema extensions")
    fill(pair, "create schema code", "create table code.t (id int primary key, tags extensions.hstore, name text)",
         "create index trigrams on code.t using gin (name extensions.gin_trgm_ops)",
         "insert into code.t values (1, 'a=>\"b c\", d=>NULL', 'x')")  # fmt: skip
    with connect(pair.hosted, "test") as hosted:
        found = schema.extensions(hosted)
    assert [(each.name, each.schema) for each in found] == [
        ("hstore", "extensions"), ("pg_trgm", "extensions"), ("plpgsql", "pg_catalog"),
    ]  # fmt: skip
    for _ in range(2):
        schema.ensure_extensions(pair.own, found, OWN_ROLE)
    wanted = dumped(pair, ["code"])
    schema.make(pair.own, wanted.before, OWN_ROLE)
    Copy(pair.hosted, pair.own, moved_tables(pair, ["code"])).run()
    build(pair, wanted)
    assert scalar(pair.own, "select tags::text from code.t") == '"a"=>"b c", "d"=>NULL'
    with pytest.raises(PostgresError, match="extension nowhere_to_be_found"):
        schema.ensure_extensions(pair.own, [Extension("nowhere_to_be_found", "x", "1")], OWN_ROLE)


# -- pg_dump itself


def script(folder: Path, body: str) -> str:
    path = folder / "pg_dump"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


NOBODY = Roles(frozenset())


def test_a_program_that_is_older_than_the_server_dumps_nothing(pair: Pair, tmp_path: Path) -> None:
    for version in ("14.2", "9.6.1", "nonsense"):
        program = script(tmp_path, f"echo 'pg_dump (PostgreSQL) {version}'")
        with pytest.raises(StatementFailed, match="cannot dump a server of version"):
            schema.dump(pair.hosted, ["public"], NOBODY, program=program)
    with pytest.raises(StatementFailed, match="cannot be run"):
        schema.dump(pair.hosted, ["public"], NOBODY, program=str(tmp_path / "gone"))


def test_no_argument_holds_the_password_and_no_variable_of_ours_leads_astray(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("pg_dump")
    assert real is not None
    told = tmp_path / "told"
    program = script(tmp_path, f'echo "$@" >> {told}\nenv | grep ^PG >> {told}.env\nexec {real} "$@"')
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    fill(pair, 'create schema "it\'s ""a"".*"', 'create table "it\'s ""a"".*".t ()')
    found = schema.dump(pair.hosted, ['it\'s "a".*'], NOBODY, program=program)
    assert [item.kind for item in found.before] == ["SCHEMA", "TABLE"]
    assert PASSWORD not in told.read_text()
    assert f"PGPASSWORD={PASSWORD}" in (tmp_path / "told.env").read_text()


def test_what_pg_dump_says_is_said_without_the_password(pair: Pair) -> None:
    with pytest.raises(StatementFailed, match="no matching schemas"):
        schema.dump(pair.hosted, ["gone"], NOBODY)
    with connect(pair.hosted_admin, "test") as admin:
        admin.execute("create schema closed; create table closed.t (); revoke pg_read_all_data from hosted")
    try:
        with pytest.raises(Refused, match="permission denied") as refused:
            schema.dump(pair.hosted, ["closed"], NOBODY)
        assert PASSWORD not in str(refused.value)
    finally:
        with connect(pair.hosted_admin, "test") as admin:
            admin.execute("grant pg_read_all_data to hosted")


def test_an_item_is_made_whole_or_not_at_all(pair: Pair) -> None:
    fill(pair, "create schema code")
    schema.make(pair.own, dumped(pair, ["code"]).before, OWN_ROLE)
    broken = Item("TABLE", "code", "t", "create table code.t (); create table code.u (x nonsense);")
    with pytest.raises(StatementFailed, match=r"TABLE code\.t: .*nonsense"):
        schema.make(pair.own, [broken], OWN_ROLE)
    assert scalar(pair.own, "select count(*) from pg_tables where schemaname = 'code'") == 0

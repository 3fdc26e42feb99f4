"""What two real servers declare, compared; and fingerprints, which DDL changes and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.postgres import bookkeeping
from adapters.postgres.catalog import sequences
from adapters.postgres.definitions import Definition, declared
from adapters.postgres.driver import connect
from adapters.postgres.errors import PostgresError
from tests.contract.copied_tables import at_hosted, at_own, create
from tests.contract.two_postgres import OWN_ROLE, Pair, new_pair, run, two_servers
from validation.database import fingerprint, structure
from validation.result import Check, Report, Verdict

pytestmark = pytest.mark.contract
# ruff: noqa: S608  the statements of these tests are put together from constants

SCHEMA = (
    "create schema s",
    "create schema parts",
    "create type s.mood as enum ('sad', 'ok')",
    "create type s.pair as (a int, b text)",
    "create domain s.code as text not null default 'c' check (value <> '')",
    "create type s.span as range (subtype = int)",
    """create collation s.de (provider = icu, locale = 'de')""",
    "create sequence s.loose increment 2",
    """create table s.t (id bigint generated always as identity primary key, a int not null default 1 check (a > 0),
         b text collate s.de, mood s.mood, twice int generated always as (a * 2) stored, c s.code, serial serial)""",
    "create table s.child (id int primary key, t bigint references s.t deferrable, unique (t))",
    "create index by_b on s.t (lower(b)) where a > 5",
    "create table s.log (at timestamptz not null, what text) partition by range (at)",
    "create table parts.log_1 partition of s.log for values from ('2024-01-01') to ('2025-01-01')",
    "alter table s.t enable row level security",
    "create policy mine on s.t for select to public using (a > 1)",
    "create function s.f(x int) returns int language sql immutable as 'select x + 1'",
    "create aggregate s.total(int) (sfunc = int4pl, stype = int)",
    "create function s.touch() returns trigger language plpgsql as 'begin return new; end'",
    "create trigger touched before update on s.t for each row execute function s.touch()",
    "create view s.v as select id, a from s.t",
    "create materialized view s.m as select id from s.t",
    "create rule no_delete as on delete to s.child do instead nothing",
    "create statistics s.stats on a, b from s.t",
)


@pytest.fixture(scope="module")
def servers() -> Iterator[Iterator[Pair]]:
    """New pairs of databases; both servers have the roles of the application."""
    with two_servers() as (hosted, own):
        pairs = (new_pair(hosted, own) for _ in range(200))
        first = next(pairs)
        with connect(first.hosted_admin, "test") as admin:
            run(admin, "create role anon", "create role only_hosted")
        with connect(first.own, "test") as admin:
            run(admin, "create role anon")
        yield pairs


@pytest.fixture(scope="module")
def pair(servers: Iterator[Pair]) -> Pair:
    """Both sides with the same structure; each test puts back what it changes."""
    made = next(servers)
    create(made, *SCHEMA)
    return made


def compared(pair: Pair) -> Report:
    with connect(pair.hosted, "test") as a, connect(pair.own, "test") as b:
        return structure.compare(a, b, ["s", "parts", bookkeeping.SCHEMA])


def failed(pair: Pair) -> Check:
    """The one check that fails."""
    (check,) = compared(pair).failures()
    return check


def test_the_same_structure_is_the_same(pair: Pair) -> None:
    with connect(pair.own, "test") as own:
        bookkeeping.ensure(own)
    report = compared(pair)
    assert report.overall() is Verdict.HOLDS, report.failures()
    assert {check.name: check.found for check in report.checks}["columns"] == "13, the same"


OTHERWISE = {
    "tables": ("alter table s.child set unlogged", "alter table s.child set logged", "s.child"),
    "columns": ("alter table s.t alter a drop not null", "alter table s.t alter a set not null", "s.t.a"),
    "constraints": (
        "alter table s.child drop constraint child_t_fkey",
        "alter table s.child add foreign key (t) references s.t deferrable", "s.child.child_t_fkey is not at B",
    ),
    "indexes": ("drop index s.by_b", "create index by_b on s.t (lower(b)) where a > 5", "s.by_b is not at B"),
    "policies": ("alter policy mine on s.t using (a > 2)", "alter policy mine on s.t using (a > 1)", "s.t.mine"),
    "triggers": ("alter table s.t disable trigger touched", "alter table s.t enable trigger touched", "s.t.touched"),
    "rules": (
        "drop rule no_delete on s.child", "create rule no_delete as on delete to s.child do instead nothing",
        "s.child.no_delete",
    ),
    "views": (
        "create or replace view s.v as select id, a + 0 as a from s.t",
        "create or replace view s.v as select id, a from s.t", "s.v",
    ),
    "sequences": ("alter sequence s.loose cache 5", "alter sequence s.loose cache 1", "s.loose"),
    "statistics": ("drop statistics s.stats", "create statistics s.stats on a, b from s.t", "s.stats"),
    "functions": (
        "create or replace function s.f(x int) returns int language sql immutable as 'select x + 2'",
        "create or replace function s.f(x int) returns int language sql immutable as 'select x + 1'", "s.f(x integer)",
    ),
    "types": ("alter domain s.code drop not null", "alter domain s.code set not null", "s.code"),
    "grants": ("grant select on s.t to anon", "revoke select on s.t from anon", "nothing at A, SELECT at B"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERWISE)
def test_what_is_otherwise_is_named(pair: Pair, kind: str) -> None:
    change, back, named = OTHERWISE[kind]
    at_own(pair, change)
    try:
        check = failed(pair)
    finally:
        at_own(pair, back)
    assert (check.name, check.outcome) == (kind, Verdict.DOES_NOT_HOLD)
    assert named in check.detail
    assert check.fix
    assert compared(pair).overall() is Verdict.HOLDS


def test_row_security_that_is_off_at_one_side(pair: Pair) -> None:
    at_own(pair, "alter table s.t disable row level security")
    check = failed(pair)
    at_own(pair, "alter table s.t enable row level security")
    assert (check.name, "row security" in check.detail) == ("tables", True)


def test_an_index_that_failed_stands_for_none(pair: Pair) -> None:
    at_own(pair, "update pg_catalog.pg_index set indisvalid = false where indexrelid = 's.by_b'::regclass")
    check = failed(pair)
    at_own(pair, "update pg_catalog.pg_index set indisvalid = true where indexrelid = 's.by_b'::regclass")
    assert (check.name, check.detail) == ("indexes", "s.by_b is not at B")


def test_grants_of_columns_and_of_roles_that_are_not_there(pair: Pair) -> None:
    at_hosted(
        pair,
        "grant update (a) on s.t to anon",
        "grant select on s.v to only_hosted",
        "revoke execute on function s.f from public",
    )
    check = failed(pair)
    assert check.name == "grants"
    assert "s.t.a to anon: UPDATE at A, nothing at B" in check.detail
    assert "s.f(x integer) to public: nothing at A, EXECUTE at B" in check.detail
    assert "roles only_hosted" in check.detail
    at_hosted(pair, "revoke update (a) on s.t from anon", "grant execute on function s.f to public")
    assert compared(pair).overall() is Verdict.HOLDS
    assert "only_hosted" in next(one.detail for one in compared(pair).checks if one.name == "grants")
    at_hosted(pair, "revoke select on s.v from only_hosted")


def test_an_owner_needs_no_grant(pair: Pair) -> None:
    at_own(pair, f"alter view s.v owner to {OWN_ROLE}")
    with connect(pair.hosted_admin, "test") as admin:
        admin.execute(f"create role {OWN_ROLE}")
        admin.execute(f"grant select on s.v to {OWN_ROLE}")
        try:
            assert compared(pair).overall() is Verdict.HOLDS
        finally:
            run(admin, f"revoke select on s.v from {OWN_ROLE}", f"drop role {OWN_ROLE}")


def test_extensions_that_are_missing_or_older(pair: Pair) -> None:
    at_own(pair, "create extension citext schema public version '1.5'")
    assert compared(pair).overall() is Verdict.HOLDS
    with connect(pair.hosted_admin, "test") as admin:
        admin.execute("create extension citext schema public")
        check = failed(pair)
        assert (check.name, "1.5 at B" in check.detail) == ("extensions", True)
        at_own(pair, "drop extension citext")
        assert "is not at B" in failed(pair).detail
        with connect(pair.hosted, "test") as a, connect(pair.own, "test") as b:
            optional = structure.compare(a, b, ["s", "parts"], optional_extensions={"citext"})
        assert optional.overall() is Verdict.HOLDS
        admin.execute("drop extension citext")


def test_a_schema_that_is_nowhere_could_not_be_checked(pair: Pair) -> None:
    with connect(pair.hosted, "test") as a, connect(pair.own, "test") as b:
        assert structure.compare(a, b, ["nothing"]).overall() is Verdict.COULD_NOT_CHECK
        b.close()
        assert structure.compare(a, b, ["s"]).overall() is Verdict.COULD_NOT_CHECK


def test_views_of_another_version_are_left_to_the_eye(pair: Pair) -> None:
    with connect(pair.hosted, "test") as connection:
        a = declared(connection, ["s"])
    other = tuple(replace(one, text=one.text + " ") if one.kind == "view" else one for one in a.definitions)
    newer = structure.checks(a, replace(a, definitions=other, major=a.major + 1))
    same = structure.checks(a, replace(a, definitions=other))
    assert [check.outcome for check in newer if check.name == "views"] == [Verdict.COULD_NOT_CHECK]
    assert [check.outcome for check in same if check.name == "views"] == [Verdict.DOES_NOT_HOLD]


def test_sequences_of_the_new_side_are_beyond(pair: Pair) -> None:
    with connect(pair.hosted, "test") as a, connect(pair.own, "test") as b:
        run(a, "select nextval('s.loose')", "select nextval('s.t_serial_seq')")
        at_first = structure.sequences(sequences(a, ["s"]), sequences(b, ["s"]), 10)
        for name in ("loose", "t_id_seq", "t_serial_seq"):
            b.execute("select setval(%s, 100)", (f"s.{name}",))
        moved = structure.sequences(sequences(a, ["s"]), sequences(b, ["s"]), 10)
        too_far = structure.sequences(sequences(a, ["s"]), sequences(b, ["s"]), 100)
    assert (at_first.outcome, moved.outcome) == (Verdict.DOES_NOT_HOLD, Verdict.HOLDS)
    assert too_far.outcome is Verdict.DOES_NOT_HOLD
    assert '"s"."loose": next 3 at A, 102 at B' in too_far.detail


def test_sequences_that_may_not_be_read_are_named(pair: Pair) -> None:
    with connect(replace(pair.own, user=OWN_ROLE), "test") as connection:
        unreadable = declared(connection, ["s"]).unreadable
    assert unreadable == ("s.loose", "s.t_id_seq", "s.t_serial_seq")
    assert structure.sequences((), (), 0, unreadable).outcome is Verdict.COULD_NOT_CHECK
    with connect(pair.hosted, "test") as connection:
        assert declared(connection, ["s"]).unreadable == ()


DDL = {
    "add a column": "alter table s.t add column more int",
    "drop a column": "alter table s.t drop column c",
    "rename a column": "alter table s.child rename t to u",
    "change a type": "alter table s.child alter id type bigint",
    "widen a type": "alter table s.log alter what type varchar(50)",
    "a default": "alter table s.t alter a set default 2",
    "not null": "alter table s.child alter t set not null",
    "identity": "alter table s.t alter id set generated by default",
    "storage": "alter table s.t alter b set storage external",
    "compression": "alter table s.t alter b set compression pglz",
    "a table": "create table s.other (a int)",
    "drop a table": "drop table s.child",
    "rename a table": "alter table s.child rename to kid",
    "move a table": "alter table s.child set schema parts",
    "options": "alter table s.child set (fillfactor = 70)",
    "an index": "create index on s.child (t)",
    "drop an index": "drop index s.by_b",
    "a check": "alter table s.child add check (id > 0)",
    "a check, not validated": "alter table s.child add check (id > 0) not valid",
    "drop a constraint": "alter table s.child drop constraint child_t_key",
    "row security": "alter table s.child enable row level security",
    "forced": "alter table s.t force row level security",
    "a policy": "create policy other on s.t using (true)",
    "a policy's roles": "alter policy mine on s.t to anon",
    "a trigger": "create trigger two before insert on s.t for each row execute function s.touch()",
    "disable a trigger": "alter table s.t disable trigger touched",
    "a function": "create function s.g() returns int language sql as 'select 1'",
    "a function's body": "create or replace function s.f(x int) returns int language sql immutable as 'select x'",
    "a function's setting": "alter function s.f set work_mem = '1MB'",
    "a view": "create or replace view s.v as select id, a, b from s.t",
    "an enum's label": "alter type s.mood add value 'happy'",
    "rename a label": "alter type s.mood rename value 'sad' to 'blue'",
    "an attribute": "alter type s.pair add attribute c int",
    "a domain": "alter domain s.code add check (value <> 'x')",
    "a sequence": "create sequence s.more",
    "a sequence's step": "alter sequence s.loose increment 3",
    "an unlogged sequence": "alter table s.child set unlogged",
    "attach": "alter table s.log detach partition parts.log_1",
    "replica identity": "alter table s.child replica identity full",
    "an owner": f"alter table s.child owner to {OWN_ROLE}",
    "a grant": "grant select on s.t to anon",
    "a column's grant": "grant select (a) on s.t to anon",
    "a revoke": "revoke execute on function s.f from public",
    "default grants": "alter default privileges in schema s grant select on tables to anon",
    "an extension": "create extension citext schema public",
    "statistics": "create statistics s.more on a, mood from s.t",
    "a rule": "create rule two as on update to s.child do also nothing",
    "a collation": "create collation s.fr (provider = icu, locale = 'fr')",
    "drop the schema": "drop schema s cascade",
}


@pytest.mark.parametrize("what", DDL)
def test_ddl_changes_the_fingerprint(pair: Pair, what: str) -> None:
    with connect(pair.own, "test") as own, own.transaction(force_rollback=True):
        before = fingerprint.take(own, ["s", "parts"])
        own.execute(DDL[what])
        after = fingerprint.take(own, ["s", "parts"])
    assert before.digest != after.digest
    assert fingerprint.changes(before, after)


def test_what_changed_is_said_by_name(pair: Pair) -> None:
    with connect(pair.own, "test") as own, own.transaction(force_rollback=True):
        before = fingerprint.take(own, ["s", "parts"])
        run(own, "alter table s.child alter id type bigint", "drop index s.by_b", "create table s.other ()")
        after = fingerprint.take(own, ["s", "parts"])
    told = fingerprint.changes(fingerprint.Fingerprint.from_json(before.to_json()), after)
    assert {"column s.child.id: changed", "index s.by_b: gone", "table s.other: added"} <= set(told)
    assert fingerprint.changes(before, before) == ()


def test_only_ddl_changes_the_fingerprint(servers: Iterator[Pair]) -> None:
    pair = next(servers)
    at_hosted(pair, *SCHEMA)
    with connect(pair.hosted, "test") as hosted:
        before = fingerprint.take(hosted, ["s", "parts", bookkeeping.SCHEMA])
        run(
            hosted, "insert into s.t (a, b) select 10, 'b' from generate_series(1, 2000)",
            "delete from s.t where id < 100", "update s.t set a = 7", "select nextval('s.loose')", "analyze",
            "vacuum s.t", "cluster s.t using t_pkey", "reindex table s.t", "refresh materialized view s.m",
            "create temporary table x (a int)", "truncate s.child",
            "create table public.elsewhere (a int)", "create publication crossover for table s.t",
        )  # fmt: skip
        bookkeeping.ensure(hosted)
        assert fingerprint.changes(before, fingerprint.take(hosted, ["s", "parts", bookkeeping.SCHEMA])) == ()
    with connect(pair.hosted_admin, "test") as admin:  # who asks does not matter
        assert fingerprint.take(admin, ["s", "parts"]).digest == before.digest


def test_a_lost_connection_has_no_fingerprint(pair: Pair) -> None:
    with connect(pair.own, "test") as own:
        own.close()
        with pytest.raises(PostgresError):
            fingerprint.take(own, ["s"])


def test_names_cannot_be_confused() -> None:
    one = [Definition("table", 's."a.b"', "x")]
    other = [Definition("table", "s.a", "x"), Definition("column", "s.a.b", "x")]
    assert fingerprint.of(one).digest != fingerprint.of(other).digest

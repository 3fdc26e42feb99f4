"""Rows of two real servers: what is the same is found the same, and one byte that differs is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from adapters.postgres import checksums
from adapters.postgres.catalog import Column, Table
from adapters.postgres.checksums import Query, Span
from adapters.postgres.driver import connect
from adapters.postgres.masks import MASKED, Masks
from tests.contract.copied_tables import at_hosted, at_own, catalog, copy_over, create
from tests.contract.two_postgres import Pair, new_pair, two_servers
from validation.database.differences import Kind
from validation.database.looking import Looks
from validation.database.rows import Pace, Rows, compare
from validation.result import Verdict

pytestmark = pytest.mark.contract
# ruff: noqa: S608  the statements of these tests are put together from constants
ROWS = 20_000
ODD = 'Größe "of" 100%s {x}'
SMALL = Pace(range_rows=3_000)

THINGS = (
    "create schema shop",
    "create type shop.mood as enum ('sad', 'ok')",
    "alter type shop.mood add value 'happy'",
    "create domain shop.code as text check (value <> 'x')",
    "create type shop.pair as (a int, b text)",
    """create table shop.things (
         id bigint primary key,
         small smallint, whole int, big bigint, flag boolean, word text, short varchar(20), padded char(8),
         amount numeric, scaled numeric(18, 6), ratio float8, ratio4 real, doc jsonb, raw_doc json, bytes bytea,
         at timestamptz, local timestamp, day date, hour time, span interval, mood shop.mood, moods shop.mood[],
         words text[], numbers numeric[], code shop.code, pair shop.pair, place point, valid tstzrange, uid uuid,
         net inet, twice bigint generated always as (id * 2) stored)""",
)
FIRM = (  # the same, and nothing may be NULL
    "create schema firm",
    "create table firm.things (like shop.things including generated, primary key (id))",
    """do $$ declare name text; begin
         for name in select attname from pg_catalog.pg_attribute where attrelid = 'firm.things'::regclass and attnum > 0
         loop execute format('alter table firm.things alter %I set not null', name); end loop; end $$""",
)
FILL = f"""
insert into shop.things
select n, n % 7, n, n, n % 2 = 0, 'word ' || n, 'short', 'pad', n / 7.0, n / 8.0, n / 3.0::float8, n / 3.0::real,
       jsonb_build_object('n', n, 'list', array[n, 2]), '{{"a":  1}}', decode('00ff' || lpad(to_hex(n), 8, '0'), 'hex'),
       '2024-01-01'::timestamptz + n * interval '1.000001 s', '2024-01-01', '2024-01-01', '12:00', '30 days', 'ok',
       array['ok', 'happy']::shop.mood[], array['a', null, 'b"c'], array[1.0, 2.50], 'c' || n, row(n, 'x')::shop.pair,
       point(n, 1), tstzrange('2024-01-01', null), md5(n::text)::uuid, '10.0.0.1/24'
  from pg_catalog.generate_series(1, {ROWS}) n
"""
SPECIAL = """
update shop.things set amount = 'NaN', ratio = 'NaN', ratio4 = '-Infinity', at = 'infinity', word = '', bytes = '',
       doc = 'null', pair = row(null, null)::shop.pair, words = '{}', span = '1 mon', local = '-infinity' where id = 1;
"""


def compared(pair: Pair, schema: str, *, masks: Masks | None = None, pace: Pace = SMALL) -> Rows:
    """The comparison of all tables of `schema`, with nobody writing."""
    return compare(
        pair.hosted, pair.own, catalog(pair.hosted, schema), catalog(pair.own, schema), masks=masks, pace=pace
    )


@pytest.fixture(scope="module")
def pairs() -> Iterator[list[Pair]]:
    """A list with the pair of servers' first pair of databases, and a way to more."""
    with two_servers() as (hosted, own):
        first = new_pair(hosted, own)
        with connect(first.hosted_admin, "test") as admin:
            admin.execute(f'alter database "{first.hosted.database}" set extra_float_digits = 0')
        yield [first, *(new_pair(hosted, own) for _ in range(1))]


@pytest.fixture(scope="module")
def things(pairs: list[Pair]) -> Pair:
    """A table with a column of every kind, the same at both sides. Enums have other OIDs there."""
    pair = pairs[0]
    create(pair, *THINGS, *FIRM, own_first=("create type public.shift as enum ('a', 'b', 'c')",))
    at_hosted(pair, FILL, SPECIAL, "analyze shop.things")
    columns = "id, " + ", ".join(
        sorted({column for column, *_ in CHANGES.values()} | {"small", "short", "scaled", "day", "hour"})
    )
    at_hosted(
        pair, f"insert into firm.things ({columns}) select {columns} from shop.things where id between 2 and 2000"
    )
    copy_over(pair, "shop")
    copy_over(pair, "firm")
    return pair


@pytest.fixture(scope="module")
def other(pairs: list[Pair]) -> Pair:
    """A pair of databases for tables of the tests' own, each in a schema of its own."""
    return pairs[1]


def test_a_plain_copy_is_the_same(things: Pair) -> None:
    oids = []
    for address in (things.hosted, things.own):
        with connect(address, "test") as connection:
            oids.append(connection.execute("select 'shop.mood'::pg_catalog.regtype::pg_catalog.oid").fetchall())
    assert oids[0] != oids[1]
    found = compared(things, "shop")
    assert [(table.table, table.rows, table.verdict) for table in found.tables] == [
        ("shop.things", ROWS, Verdict.HOLDS)
    ]
    report = found.report()
    assert report.overall() is Verdict.HOLDS
    assert report.figures["rows"] == ROWS


HALVES = 1 << 32 | 1
"""With these bits changed, a 64-bit number has the same XOR of its halves, which is what Postgres hashes of it."""
AT = 8766 * 86_400_000_000 + 777 * 1_000_001  # microseconds since 2000
CHANGES = {
    "word": ("word", "overlay(word placing 'W' from 1 for 1)", "'word 777'", "'Word 777'"),
    "whole": ("whole", "-whole", "'777'", "'-777'"),
    "both halves of a bigint": ("big", str(HALVES ^ 777), "'777'", f"'{HALVES ^ 777}'"),
    "a sign": ("scaled", "-scaled", "'97.125000'", "'-97.125000'"),
    "both halves of a time": ("at", f"at + {(AT ^ HALVES) - AT} * interval '1 us'", "", ""),
    "padded": ("padded", "'pae'", "'pad     '", "'pae     '"),
    "scale of a numeric": ("amount", "777.00", "", "'777.00'"),
    "a jsonb": ("doc", "jsonb_set(doc, '{n}', '777.0')", "", ""),
    "json blanks": ("raw_doc", """'{"a": 1}'""", """'{"a":  1}'""", """'{"a": 1}'"""),
    "a byte": ("bytes", "set_byte(bytes, 1, 254)", "", ""),
    "a microsecond": ("at", "at + interval '1 us'", "", ""),
    "an hour and more": ("at", "at + interval '4294.967296 s'", "", ""),
    "local": ("local", "'infinity'", "'2024-01-01 00:00:00'", "'infinity'"),
    "equal intervals": ("span", "'1 mon'", "'30 days'", "'1 mon'"),
    "an enum": ("mood", "'happy'", "'ok'", "'happy'"),
    "an enum in an array": ("moods", "array['ok', 'sad']::shop.mood[]", "'{ok,happy}'", "'{ok,sad}'"),
    "an array": ("words", "array['a', '', 'b\"c']", "", ""),
    "scale in an array": ("numbers", "array[1.0, 2.5]", "'{1.0,2.50}'", "'{1.0,2.5}'"),
    "NULL, not empty": ("code", "null", "'c777'", "NULL"),
    "a domain": ("code", "''", "'c777'", "''"),
    "a composite": ("pair", "row(777, '')::shop.pair", "'(777,x)'", "'(777,\"\")'"),
    "a flag": ("flag", "null", "'f'", "NULL"),
    "a point": ("place", "point(777, 1.0000000000000002)", "'(777,1)'", "'(777,1.0000000000000002)'"),
    "the last bit of a float": ("ratio", "ratio + 3e-14", "'259'", "'259.00000000000006'"),
    "the last bit of a real": ("ratio4", "259.00003", "'259'", "'259.00003'"),
    "a uuid": ("uid", "overlay(uid::text placing '0000' from 1 for 4)::uuid", "", ""),
    "a network": ("net", "'10.0.0.1/25'", "'10.0.0.1/24'", "'10.0.0.1/25'"),
    "a range's end": ("valid", "tstzrange('2024-01-01', null, '()')", "", ""),
}


@pytest.mark.parametrize(
    ("schema", "change"),
    [("shop", change) for change in CHANGES] + [("firm", change) for change in CHANGES if CHANGES[change][1] != "null"],
)
def test_one_value_of_one_row_is_found_and_named(things: Pair, schema: str, change: str) -> None:
    column, expression, at_a, at_b = CHANGES[change]
    with connect(things.own, "test") as own:
        own.execute(f"create temporary table kept as select * from {schema}.things where id = 777")
        own.execute(f"update {schema}.things set {column} = {expression} where id = 777")
        try:
            found = compared(things, schema)
        finally:
            own.execute(f"update {schema}.things t set {column} = k.{column} from kept k where t.id = k.id")
    (difference,) = found.differences
    assert found.verdict is Verdict.DOES_NOT_HOLD
    assert (difference.table, difference.kind, difference.key) == (f"{schema}.things", Kind.DIFFERENT, {"id": "777"})
    (seen,) = difference.changes
    assert seen.column == column
    assert seen.a != seen.b
    if at_b:
        assert f"{column} {at_a}" in str(difference)
        assert f"{at_b} at B" in str(difference)
    (check,) = found.report().failures()
    assert check.name == f"rows of {schema}.things"
    assert "id = '777'" in check.detail
    assert column in check.detail


def test_the_two_zeros_differ(things: Pair) -> None:
    at_hosted(things, "update shop.things set ratio = 0, ratio4 = '-0' where id = 5")
    at_own(things, "update shop.things set ratio = '-0', ratio4 = '-0' where id = 5")
    (difference,) = compared(things, "shop").differences
    assert [(change.column, change.a, change.b) for change in difference.changes] == [("ratio", "0", "-0")]
    at_own(things, "update shop.things set ratio = 0 where id = 5")
    assert compared(things, "shop").verdict is Verdict.HOLDS


def test_null_is_not_empty_and_no_composite_of_nulls(things: Pair) -> None:
    at_own(things, "update shop.things set word = null, pair = null, doc = null, bytes = null where id = 1")
    (difference,) = compared(things, "shop").differences
    assert {change.column: (change.a, change.b) for change in difference.changes} == {
        "word": ("", None), "pair": ("(,)", None), "doc": ("null", None), "bytes": ("\\x", None),
    }  # fmt: skip
    at_own(
        things,
        "update shop.things set word = '', pair = row(null, null)::shop.pair, doc = 'null', bytes = '' where id = 1",
    )
    assert compared(things, "shop").verdict is Verdict.HOLDS


@pytest.mark.parametrize("schema", ["shop", "firm"])
def test_rows_that_swap_a_value_differ(things: Pair, schema: str) -> None:
    swap = f"""update {schema}.things t set word = o.word, small = o.small from {schema}.things o
               where (t.id, o.id) in ((100, 201), (201, 100))"""
    at_own(things, swap)
    found = compared(things, schema, pace=Pace())
    at_own(things, swap)
    assert sorted(difference.key["id"] or "" for difference in found.differences) == ["100", "201"]


def test_columns_that_swap_their_values_differ(things: Pair) -> None:
    at_own(things, "update shop.things set small = whole, whole = small where id = 777")
    found = compared(things, "shop")
    at_own(things, "update shop.things set small = whole, whole = small where id = 777")
    (difference,) = found.differences
    assert [(c.column, c.a, c.b) for c in difference.changes] == [("small", "0", "777"), ("whole", "777", "0")]


def test_what_changes_while_nobody_should_write_could_not_be_compared(
    things: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = checksums.parts

    def parts(table: Table, span: Span, ranged: Sequence[Column], count: int) -> Query:
        at_own(things, "update shop.things set whole = 777 where id = 777")
        return plain(table, span, ranged, count)

    monkeypatch.setattr(checksums, "parts", parts)
    at_own(things, "update shop.things set whole = 0 where id = 777")
    found = compared(things, "shop")
    assert (found.verdict, found.differences) == (Verdict.COULD_NOT_CHECK, ())
    assert "nobody should write" in found.tables[0].unknown[0]


def test_missing_and_superfluous_rows_are_told_apart(things: Pair) -> None:
    at_own(
        things, "create temporary table kept as select * from shop.things where id in (1, 9999)",
        "update shop.things set id = -4 where id = 9999", "update shop.things set id = 50000 where id = 1",
    )  # fmt: skip
    found = compared(things, "shop")
    at_own(
        things, "update shop.things set id = 9999 where id = -4", "update shop.things set id = 1 where id = 50000"
    )  # fmt: skip
    assert sorted((difference.kind, difference.key["id"]) for difference in found.differences) == [
        (Kind.MISSING_AT_A, "-4"), (Kind.MISSING_AT_A, "50000"), (Kind.MISSING_AT_B, "1"), (Kind.MISSING_AT_B, "9999"),
    ]  # fmt: skip
    assert compared(things, "shop").verdict is Verdict.HOLDS


def test_what_is_masked_is_named_and_never_shown(things: Pair) -> None:
    at_own(things, "update shop.things set word = 'hush-b', id = id where id = 777")
    at_hosted(things, "update shop.things set word = 'hush-a' where id = 777")
    masks = Masks(frozenset({"shop.things.word", "*.id"}))
    found = compared(things, "shop", masks=masks)
    at_own(things, "update shop.things set word = 'hush-a' where id = 777")
    (difference,) = found.differences
    assert difference.key == {"id": MASKED}
    assert [(change.column, change.a, change.b) for change in difference.changes] == [("word", MASKED, MASKED)]
    assert "hush" not in found.report().to_json() + repr(found)
    assert "777" not in found.report().to_json()


def test_very_much_that_differs_is_not_all_listed(things: Pair) -> None:
    at_own(things, "update shop.things set small = small + 1")
    found = compare(
        things.hosted, things.own, catalog(things.hosted, "shop"), catalog(things.own, "shop"), looks=Looks(named=5),
        pace=SMALL,
    )  # fmt: skip
    at_own(things, "update shop.things set small = small - 1")
    assert found.tables[0].more
    assert len(found.differences) < ROWS
    assert "at least" in found.report().checks[0].found


KEYS = {
    "two columns": ("a int, b bigint", "n % 5, n"),
    "text in another order": ('a text collate "en"', "chr(65 + 32 * (n % 2)) || n / 2"),
    "text by bytes": ('a text collate "C"', "chr(97 + (n % 26)) || chr(65 + (n % 7)) || n"),
    "uuid": ("a uuid", "md5(n::text)::uuid"),
    "time": ("a timestamptz", "'2024-01-01'::timestamptz + n * interval '0.5 s'"),
    "numeric": ("a numeric(12, 3), b date", "n / 4.0, '2024-01-01'"),
    "bytes and enum": ("a bytea, b keyed.way", "decode(lpad(to_hex(n), 8, '0'), 'hex'), 'up'"),
    "char": ("a char(9)", "n::text"),
    "array": ("a int[]", "array[n, 1]"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind(other: Pair, kind: str) -> None:
    columns, values = KEYS[kind]
    names = ", ".join(f'"{part.split()[0]}"' for part in columns.split(", ") if part[:1] in "ab")
    names = {"numeric": "a, b"}.get(kind, names)
    schema = "keyed"
    statements = [
        f"drop schema if exists {schema} cascade", f"create schema {schema}",
        f"create type {schema}.way as enum ('up', 'down')",
    ]  # fmt: skip
    at_own(
        other,
        *statements,
        """create collation if not exists public."en" (provider = icu, locale = 'en-US-u-kf-upper')""",
    )
    at_hosted(other, *statements, """create collation if not exists public."en" (provider = icu, locale = 'en-US')""")
    columns = columns.replace('"en"', 'public."en"')
    table = f"create table {schema}.t ({columns}, v text, primary key ({names}))"
    create(other, table)
    at_hosted(
        other,
        f"insert into {schema}.t select {values}, 'v' from pg_catalog.generate_series(1, 2000) n",
        f"analyze {schema}.t",
    )
    copy_over(other, schema)
    pace = Pace(range_rows=301)  # odd: a range ends between a and A
    assert compared(other, schema, pace=pace).verdict is Verdict.HOLDS
    at_own(other, f"delete from {schema}.t where ctid = (select min(ctid) from {schema}.t)")
    at_own(other, f"update {schema}.t set v = 'w' where ctid = (select max(ctid) from {schema}.t)")
    found = compared(other, schema, pace=pace)
    assert sorted(difference.kind for difference in found.differences) == [Kind.DIFFERENT, Kind.MISSING_AT_B]


def test_a_key_of_another_scale_is_one_row(other: Pair) -> None:
    create(other, "create schema scaled", "create table scaled.t (k numeric primary key, v int)")
    at_hosted(other, "insert into scaled.t values (1.0, 1), (2, 2)")
    at_own(other, "insert into scaled.t values (1.00, 1), (2, 2)")
    (difference,) = compared(other, "scaled").differences
    assert [(change.column, change.a, change.b) for change in difference.changes] == [("k", "1.0", "1.00")]


def test_without_a_key_copies_are_counted(other: Pair) -> None:
    create(other, "create schema loose", "create table loose.t (a int, b text)", "create table loose.empty ()")
    at_hosted(other, "insert into loose.t select n % 10, null from pg_catalog.generate_series(1, 2000) n")
    copy_over(other, "loose")
    assert compared(other, "loose").verdict is Verdict.HOLDS
    at_own(other, "insert into loose.t values (3, null), (3, null), (99, 'x')")
    at_hosted(other, "insert into loose.t values (3, '')")
    found = compared(other, "loose")
    assert sorted((d.kind, d.key["a"], d.key["b"], d.count) for d in found.differences) == [
        (Kind.MISSING_AT_A, "3", None, 2), (Kind.MISSING_AT_A, "99", "x", 1), (Kind.MISSING_AT_B, "3", "", 1),
    ]  # fmt: skip


def test_names_of_every_kind(other: Pair) -> None:
    quoted = '"' + ODD.replace('"', '""') + '"'
    create(
        other, 'create schema "select"', f'create type "select".{quoted} as enum (\'a\', \'b\')',
        f'create table "select"."Order" ({quoted} int, "table" "select".{quoted}, "ü%s" text)',
        f'alter table "select"."Order" add primary key ({quoted}, "table")',
    )  # fmt: skip
    at_hosted(
        other,
        """insert into "select"."Order" select n, 'a', '%s' from pg_catalog.generate_series(1, 900) n""",
        'analyze "select"."Order"',
    )
    copy_over(other, "select")
    assert compared(other, "select", pace=Pace(range_rows=100)).verdict is Verdict.HOLDS
    at_own(other, f"""update "select"."Order" set "ü%s" = '%%s{{}}' where {quoted} = 450""")
    (difference,) = compared(other, "select", pace=Pace(range_rows=100)).differences
    assert difference.key == {ODD: "450", "table": "a"}
    assert [(change.column, change.a, change.b) for change in difference.changes] == [("ü%s", "%s", "%%s{}")]


def test_tables_that_are_not_comparable(other: Pair) -> None:
    create(other, "create schema shapes", "create table shapes.same (a int primary key)")
    at_own(other, "create table shapes.typed (a bigint)", "create table shapes.own (a int)")
    at_hosted(other, "create table shapes.typed (a int)", "create table shapes.hosted (a int)")
    found = {table.table: table for table in compared(other, "shapes").tables}
    assert {name: table.verdict for name, table in found.items()} == {
        "shapes.same": Verdict.HOLDS, "shapes.typed": Verdict.COULD_NOT_CHECK,
        "shapes.own": Verdict.DOES_NOT_HOLD, "shapes.hosted": Verdict.DOES_NOT_HOLD,
    }  # fmt: skip
    assert (found["shapes.own"].missing, found["shapes.hosted"].missing) == ("A", "B")
    assert compared(other, "no_such_schema").verdict is Verdict.COULD_NOT_CHECK


def test_rows_that_may_not_be_read_could_not_be_compared(other: Pair) -> None:
    create(
        other, "create schema closed", "create table closed.policed (a int)", "create table closed.forbidden (a int)"
    )
    with connect(other.hosted_admin, "test") as admin:
        admin.execute("create role watcher login password 'contract-test-password'")
        admin.execute("grant usage on schema closed to watcher")
        admin.execute("grant select on closed.policed to watcher")
        admin.execute("alter table closed.policed enable row level security")
    watcher = type(other.hosted)(
        other.hosted.host, other.hosted.port, other.hosted.database, "watcher", other.hosted.password, "disable"
    )
    found = compare(watcher, other.own, catalog(other.hosted, "closed"), catalog(other.own, "closed"))
    assert {table.table: table.verdict for table in found.tables} == {
        "closed.policed": Verdict.COULD_NOT_CHECK, "closed.forbidden": Verdict.COULD_NOT_CHECK,
    }  # fmt: skip
    assert "row-level security" in found.tables[1].unknown[0]
    assert "permission denied" in found.tables[0].unknown[0]

"""Each type comes out on the other side as it went in, there and back; on real servers."""

# ruff: noqa: S608 - the tests' own names and numbers

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.carrying import Lane, filled, lane
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import two_servers

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        yield both


@pytest.fixture
def between(servers: tuple[Postgres, Postgres]) -> Iterator[Lane]:
    with lane(servers) as made:
        yield made


TYPES = {
    "smallint": ("-32768", "32767"),
    "bigint": ("-9223372036854775808", "9223372036854775807"),
    "numeric": ("NaN", "-Infinity", "1.00", "1e-40", "123456789012345678901234567890.5"),
    "numeric(10,2)": ("1.00", "-99999999.99", "NaN"),
    "real": ("1.1", "-0", "NaN", "Infinity", "3.4028235e38"),
    "double precision": ("0.1", "-0", "NaN", "-Infinity", "0.30000000000000004"),
    "boolean": ("t", "f"),
    "text": ("", "NULL", "null", '"', "\\", "\\N", "{a,b}", "a,b", "'", " x ", "\n\t\r", "ünïcödé 💱", "%s $1 {0}"),
    "character varying(5)": ("", "abc  ", "äöüß€"),
    "character(5)": ("", "ab", "ab   "),
    '"char"': ("a", ""),
    "name": ("Order", "ü"),
    "bytea": (r"\x", r"\x00", r"\x00ff5c00275c", r"\xdeadbeef"),
    "json": ('{"b": 1,  "a":1.0, "a":2}', "null"),
    "jsonb": ('{"b": 1.00, "a": [null, "\\u00e4"]}', "null", '"x"'),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",),
    "date": ("infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "2024-02-29"),
    "time without time zone": ("24:00:00", "00:00:00.000001"),
    "time with time zone": ("23:59:59.999999+15:59", "00:00:00-12"),
    "timestamp without time zone": ("infinity", "-infinity", "4713-01-01 00:00:00 BC", "2024-02-29 23:59:59.999999"),
    "timestamp(3) with time zone": ("infinity", "2024-02-29 23:59:59.999+02", "0044-03-15 12:00:00+00 BC"),
    "interval": ("1 mon", "30 days", "-1 year -2 mons +3 days -04:05:06.789", "178000000 years"),
    "interval day to second(3)": ("1 day 00:00:00.123",),
    "bit(3)": ("101", "000"),
    "bit varying(8)": ("", "1", "10101010"),
    "inet": ("10.0.0.1", "10.0.0.1/8", "::1"),
    "cidr": ("10.0.0.0/8", "::/0"),
    "macaddr": ("08:00:2b:01:02:03",),
    "money": ("12.34", "-12345.67"),
    "xml": ("<a>x</a>", "text & more".replace("&", "&amp;")),
    "point": ("(1.1,-0)", "(NaN,Infinity)"),
    "box": ("(1,2),(0.1,-3)",),
    "polygon": ("((0,0),(1,1),(1,0))",),
    "tsvector": ("'a':1A 'it''s':2",),
    "pg_lsn": ("16/B374D848", "0/0"),
    "integer[]": ("{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[2:3]={7,8}"),
    "text[]": ('{"",NULL,"NULL","a,b","\\"","\\\\","{}"," x "}',),
    "box[]": ("{(1,2),(0,0);(3,4),(1,1)}",),
    "bytea[]": (r'{"\\x00","\\xff5c22"}',),
    "jsonb[]": ('{"{\\"a\\": \\"b,c\\"}",NULL}',),
    "int4range": ("empty", "[1,10)", "(,5)", "(,)"),
    "tstzrange": ('["2024-01-01 00:00:00+00",infinity)', "[,]"),
    "nummultirange": ("{}", "{[1.00,2.5),(3,)}"),
    "shop.mood": ("so so", "Ünhappy,\"'"),
    "shop.mood[]": ('{"so so",NULL}',),
    "shop.positive": ("1",),
    "shop.code": ("ab",),
    "shop.positives": ("{1,2}",),
    "shop.pair": ('(1,"a,""b"")")', "(,)", '(2,"")'),
    "shop.pair[]": ('{"(1,\\"x,y\\")","(,)"}',),
    'shop."Select"': ('("(1,x)","{1,2}","so so")',),
    "shop.moodrange": ('["so so",ok)',),
}


def with_types(between: Lane) -> list[str]:
    """A table with a column of each type, and one row for each value."""
    between.both(
        "create type shop.mood as enum ('so so', 'ok', 'Ünhappy,\"''')",
        "create domain shop.positive as integer check (value > 0)",
        "create domain shop.code as character varying(4) collate \"C\" check (value ~ '^[a-z]+$')",
        "create domain shop.positives as integer[] check (cardinality(value) > 0)",
        "create type shop.pair as (a integer, b text)",
        'create type shop."Select" as (pair shop.pair, "select" integer[], mood shop.mood)',
        "create type shop.moodrange as range (subtype = shop.mood)",
        "create table shop.kinds (id integer primary key, "
        + ", ".join(f"c{number} {kind}" for number, kind in enumerate(TYPES))
        + ")",
    )
    rows = []
    for row in range(max(map(len, TYPES.values()))):
        values = [values[row % len(values)].replace("'", "''") for values in TYPES.values()]
        rows.append(f"insert into shop.kinds values ({row}, {', '.join(f"'{value}'" for value in values)})")
    return [*rows, "insert into shop.kinds (id) values (999)"]


@pytest.mark.parametrize("source", ["hosted", "selfhosted"])
def test_each_type_comes_out_as_it_went_in(between: Lane, source: str) -> None:
    statements = with_types(between)
    between.follow()
    carrier = between.carrier(source)
    at = between.at(source)
    filled(at, statements)  # many rows in one statement
    at.execute("update shop.kinds set id = id + 1000")
    for statement in statements[:3]:
        at.execute(statement)  # a row in each
    between.carry(carrier, source)
    between.same("kinds")
    columns = ", ".join(f"c{number} = k.c{number}" for number in range(len(TYPES)))
    at.execute(f"update shop.kinds set {columns.replace('k.', 'o.')} from shop.kinds o where o.id = shop.kinds.id + 1")
    between.carry(carrier, source)
    between.same("kinds")
    assert between.rows("hosted", "select count(*) from shop.kinds")[0][0] == len(statements) + 3


def test_each_type_is_found_by_a_whole_row(between: Lane) -> None:
    statements = with_types(between)
    between.both("alter table shop.kinds drop constraint kinds_pkey", "alter table shop.kinds replica identity full")
    between.follow()
    carrier = between.carrier()
    filled(between.hosted, [*statements, *statements[:2]])
    between.carry(carrier)
    between.hosted.execute("update shop.kinds set id = id + 1 where ctid in (select ctid from shop.kinds offset 3)")
    between.hosted.execute("delete from shop.kinds where ctid in (select min(ctid) from shop.kinds group by id)")
    between.carry(carrier)
    between.same("kinds")
    assert between.rows("hosted", "select count(*) from shop.kinds")[0][0] == 2

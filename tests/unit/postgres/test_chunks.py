"""What is copied in how many parts, and by what they are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres import chunks
from adapters.postgres.catalog import Column, Identity, Table
from adapters.postgres.chunks import PLACE, Part, Planned

KEYED = Table(
    "app", 'od"d', (Column("a", "integer"), Column("b", "character varying(9)"), Column("c", "text", generated=True)),
    key=("a", "b"), primary_key=("a", "b"), rows=1000, bytes=1 << 20,
)  # fmt: skip
KEYLESS = Table("app", "log", (Column("t", "text"),), identity=Identity.FULL, bytes=1 << 20)


def holds(part: Part, key: tuple[int, int]) -> bool:
    lower = None if part.lower is None else tuple(int(text) for text in json.loads(part.lower))
    upper = None if part.upper is None else tuple(int(text) for text in json.loads(part.upper))
    return (lower is None or key >= lower) and (upper is None or key < upper)


PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-50, 50)), max_size=80)


@given(PAIRS, PAIRS, st.integers(1, 12))
def test_each_row_is_in_one_part_whatever_the_sample_said(
    sample: list[tuple[int, int]], rows: list[tuple[int, int]], wanted: int
) -> None:
    parts = chunks.by_key(KEYED, [(str(a), str(b)) for a, b in sorted(sample)], wanted)
    assert 1 <= len(parts) <= wanted
    assert [part.number for part in parts] == list(range(len(parts)))
    for key in [*rows, *sample]:
        assert sum(holds(part, key) for part in parts) == 1


@given(st.integers(2, 12), st.integers(1, 5))
def test_parts_hold_as_many_rows_however_skewed_the_keys(parts: int, power: int) -> None:
    sample = [(str(n**power), "x") for n in range(1000)]
    cut = chunks.by_key(KEYED, sample, parts)
    assert len(cut) == parts
    counts = [sum(holds_first(part, n**power) for n in range(1000)) for part in cut]
    assert max(counts) - min(counts) <= 1


def holds_first(part: Part, value: int) -> bool:
    edges = [None if edge is None else int(json.loads(edge)[0]) for edge in (part.lower, part.upper)]
    return (edges[0] is None or value >= edges[0]) and (edges[1] is None or value < edges[1])


def test_one_value_is_one_part() -> None:
    assert len(chunks.by_key(KEYED, [("1", "x")] * 100, 5)) == 1
    assert len(chunks.by_key(KEYED, [], 5)) == 1


def test_a_table_without_a_key_is_cut_by_pages_and_its_last_part_is_open() -> None:
    parts = chunks.by_place(KEYLESS, 100, 4)
    assert [part.lower for part in parts] == [None, '["(25,0)"]', '["(50,0)"]', '["(75,0)"]']
    assert [part.upper for part in parts] == ['["(25,0)"]', '["(50,0)"]', '["(75,0)"]', None]
    assert all(part.by_place for part in parts)
    assert len(chunks.by_place(KEYLESS, 0, 4)) == 1


def test_the_query_names_stored_columns_and_casts_its_bounds() -> None:
    part = Part(KEYED.qualified, 1, '["a", "b"]', '["1", "it\'s"]', '["2", "\\\\"]')
    assert chunks.select(KEYED, part) == (
        'select "a", "b" from only "app"."od""d"'
        " where (\"a\", \"b\") >= ('1'::integer, 'it''s'::character varying(9))"
        " and (\"a\", \"b\") < ('2'::integer, '\\'::character varying(9))"
    )
    assert chunks.select(KEYED, Part("x", 0)) == 'select "a", "b" from only "app"."od""d"'
    assert chunks.select(KEYLESS, Part("x", 0, PLACE, '["(2,0)"]')) == (
        'select "t" from only "app"."log" where ctid >= (\'(2,0)\'::pg_catalog.tid)'
    )
    assert chunks.cut_by(part) == {"a", "b"}
    assert chunks.cut_by(Part("x", 0)) == chunks.cut_by(Part("x", 0, PLACE)) == frozenset()


@pytest.mark.parametrize(
    ("size", "correlation", "parts"),
    [(0, None, 1), (100, None, 1), (149, None, 1), (151, None, 2), (1000, 0.9, 10), (1000, -0.9, 10),
     (1000, 0.1, chunks.SCATTERED_PARTS), (200, 0.1, 2), (1 << 40, None, chunks.MOST_PARTS)],
)  # fmt: skip
def test_how_many_parts(size: int, correlation: float | None, parts: int) -> None:
    table = Table("s", "t", KEYED.columns, primary_key=("a",), bytes=size)
    assert chunks.wanted_parts(table, 100, correlation) == parts


def test_samples_of_tables_that_nobody_counted_are_taken_too() -> None:
    fresh = Table("s", "t", KEYED.columns, primary_key=("a",))
    assert chunks.sample_percent(fresh, 0) == 100
    assert chunks.sample_percent(fresh, 100_000) == pytest.approx(5.0)
    assert 'tablesample system (100.000000) order by t."a", t."b"' in chunks.sample_query(KEYED, 100.0)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("integer", True), ("numeric(10,-2)", True), ("timestamp(3) with time zone", True), ("text[]", True),
     ("character varying(20)[]", True), ('"char"', True), ("app.mood", True), ("app.mood[]", True), ("regclass", False),
     ("public.hstore", False), ("xml", False), ("app.pair", False), ("regtype[]", False)],
)  # fmt: skip
def test_what_holds_something_of_its_server_travels_as_text(name: str, plain: bool) -> None:
    table = Table("s", "t", (Column("a", "bigint"), Column("b", name)))
    assert chunks.binary(table, frozenset({"app.mood"})) is plain
    assert not chunks.binary(Table("s", "t", ()))


def test_what_needs_the_one_snapshot_comes_first_then_the_largest() -> None:
    small = Table("s", "small", KEYED.columns, primary_key=("a",), bytes=10)
    large = Table("s", "large", KEYED.columns, primary_key=("a",), bytes=1000)
    pinned = Table("s", "pinned", KEYED.columns, bytes=1)
    planned = [
        *chunks.weighed(small, [Part(small.qualified, 0)]),
        *chunks.weighed(large, [Part(large.qualified, n) for n in range(3)], {1: True}),
        *chunks.weighed(pinned, [Part(pinned.qualified, 0)]),
    ]
    assert [(each.table.name, each.part.number) for each in chunks.in_order(planned)] == [
        ("pinned", 0), ("large", 0), ("large", 2), ("small", 0),
    ]  # fmt: skip
    assert Planned(large, Part(large.qualified, 1), 333, True) in planned


def test_only_what_was_read_in_a_snapshot_that_is_gone_begins_anew() -> None:
    assert chunks.begun_anew(KEYLESS, {0: True, 1: False})
    assert not chunks.begun_anew(KEYLESS, {0: True, 1: True})
    assert not chunks.begun_anew(KEYED, {0: True, 1: False})

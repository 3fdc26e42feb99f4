"""What of a table its checksums are made of, and the form in which values come back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres import checksums
from adapters.postgres.catalog import Column, Table
from adapters.postgres.checksums import Span, by_name, key_columns, range_columns, row_hash, unwrapped

A, B, C = Column("a", "integer", not_null=True), Column("b", "text", collation="default"), Column("c", "public.mood")


def table(*columns: Column, key: tuple[str, ...] = (), primary: tuple[str, ...] = ()) -> Table:
    return Table("s", "t", columns, key, primary)


def test_columns_are_hashed_in_one_order() -> None:
    assert row_hash((A, B, C)) == row_hash((C, B, A))
    assert [column.name for column in by_name((C, A, B))] == ["a", "b", "c"]
    assert row_hash((A, B)) != row_hash((A, C))


def test_columns_that_are_alike_have_other_hashes() -> None:
    other = Column("b", "integer", not_null=True)
    text = row_hash((A, other)).as_string(None)
    assert text.index('"b"') < text.index('"a"')  # one is the seed of the other
    loose = row_hash([Column(name, "integer") for name in "ab"]).as_string(None)
    seeds = re.findall(r'hashint4extended\(t\."[ab]", \( ?(-?\d+)\)', loose)
    assert len(set(seeds)) == 2


def test_the_end_of_a_hash_is_not_linear() -> None:
    for columns in ([Column("a", "integer")], [Column("c", "xml")], []):
        assert row_hash(columns).as_string(None).startswith("pg_catalog.hashint4extended(0, ")


@pytest.mark.parametrize(
    ("columns", "key", "ranged"),
    [
        ((A, B), ("a", "b"), ["a"]),
        ((A, B), ("b", "a"), []),
        ((A, C), ("c",), []),
        ((Column("a", "character varying(9)", collation="C"), A), ("a",), ["a"]),
        ((Column("a", "character varying(9)", collation="en_US"),), ("a",), []),
        ((Column("a", "timestamp(3) with time zone"), Column("b", "numeric(12,-3)")), ("b", "a"), ["b", "a"]),
        ((Column("a", "character(3)", collation="C"),), ("a",), []),
        ((A,), (), []),
    ],
)
def test_ranges_are_cut_by_what_all_servers_sort_alike(
    columns: tuple[Column, ...], key: tuple[str, ...], ranged: list[str]
) -> None:
    assert [column.name for column in range_columns(table(*columns, primary=key))] == ranged


def test_the_primary_key_names_a_row_or_else_the_replica_identity() -> None:
    assert [c.name for c in key_columns(table(A, B, C, key=("c",), primary=("b", "a")))] == ["b", "a"]
    assert [c.name for c in key_columns(table(A, B, C, key=("c",)))] == ["c"]
    assert key_columns(table(A)) == ()


def test_hidden_columns_are_no_ends_of_ranges() -> None:
    both = table(A, Column("b", "bigint"), primary=("a", "b"))
    assert [c.name for c in range_columns(both, hidden={"b"})] == ["a"]
    assert range_columns(both, hidden={"a"}) == ()


def test_values_are_never_part_of_the_text() -> None:
    query = checksums.digest(table(A, primary=("a",)), Span(("1; drop",), ("2",)), (A,))
    assert query.values == ("1; drop", "2")
    assert "drop" not in query.text.as_string(None)
    assert checksums.digest(table(A), Span(), ()).values == ()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_row_texts_are_read_back(value: str) -> None:
    quoted = '("' + value.replace("\\", "\\\\").replace('"', '""') + '")'
    assert unwrapped(quoted) == value
    plain = all(character not in value for character in '",()\\') and not any(c.isspace() for c in value)
    if plain:
        assert unwrapped(f"({value})") == value


def test_null_is_not_empty() -> None:
    assert unwrapped("()") is None
    assert unwrapped('("")') == ""
    assert unwrapped('("(,)")') == "(,)"

"""When a row is called different, and what is said of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.catalog import Column, Table
from adapters.postgres.masks import MASKED, Masks
from validation.database.differences import (
    Answer,
    Change,
    Kind,
    Sight,
    Version,
    describe,
    judge,
)

V, W, V2 = Version("v", "1"), Version("w", "2"), Version("v", "3")
SAME, DIFFERENT, UNDECIDED = Answer.SAME, Answer.DIFFERENT, Answer.UNDECIDED
TABLE = Table("s", "t", (Column("id", "integer"), Column("name", "text"), Column("note", "text")), ("id",), ("id",))


@pytest.mark.parametrize(
    ("sights", "answer"),
    [
        ([(V, V2)], SAME),
        ([(None, None)], SAME),
        ([(V, W)], UNDECIDED),
        ([(V, W), (V, W)], UNDECIDED),
        ([(V, W), (V, W), (V, W)], DIFFERENT),
        ([(V, W), (V, W), (V, V2)], SAME),
        ([(V, None), (V, W), (V, None)], DIFFERENT),  # the source stood still
        ([(V, W), (V2, W), (V2, W)], UNDECIDED),  # the same content, written anew
        ([(V, W), (V2, W), (V, W), (V2, W), (V, W)], UNDECIDED),
        ([(V2, W), (V, W), (V, W), (V, W)], DIFFERENT),
        ([(V, W), (V, W), (V2, W)], UNDECIDED),
        ([(None, V), (None, V), (None, V)], DIFFERENT),
        ([(None, V), (None, V2), (None, V)], UNDECIDED),  # it may have come and gone
        ([(None, V), (V, None), (None, V)], UNDECIDED),
        ([(V, V), (V, W), (V, W)], UNDECIDED),
    ],
)
def test_only_what_stood_still_and_differs_is_different(
    sights: list[tuple[Version | None, Version | None]], answer: Answer
) -> None:
    assert judge([Sight(a, b) for a, b in sights], 2) is answer


def test_where_nobody_writes_one_look_is_enough() -> None:
    assert judge([Sight(V, W)], 0) is DIFFERENT
    assert judge([Sight(V, V2)], 0) is SAME


SOME = st.sampled_from([None, V, W, V2])


@given(st.lists(st.builds(Sight, SOME, SOME), min_size=1), st.integers(0, 3))
def test_no_row_is_both(sights: list[Sight], needed: int) -> None:
    answer = judge(sights, needed)
    assert (answer is SAME) == sights[-1].agrees
    if answer is DIFFERENT:
        tail = sights[-needed - 1 :]
        assert len(tail) == needed + 1
        assert len({sight.a for sight in tail}) == 1


def row(**values: str | None) -> dict[str, str | None]:
    return {"id": "1", "name": "x", "note": None} | values


def test_a_changed_row_names_its_columns() -> None:
    found = describe(TABLE, ("id",), row(), row(name="y", note=""), Masks())
    assert (found.kind, found.key) == (Kind.DIFFERENT, {"id": "1"})
    assert found.changes == (Change("name", "x", "y"), Change("note", None, ""))
    assert str(found) == "s.t (id = '1'): different; name 'x' at A, 'y' at B; note NULL at A, '' at B"


def test_a_missing_row_is_missing_somewhere() -> None:
    assert describe(TABLE, ("id",), None, row(), Masks()).kind is Kind.MISSING_AT_A
    assert describe(TABLE, ("id",), row(), None, Masks()).kind is Kind.MISSING_AT_B
    assert describe(TABLE, (), row(), None, Masks()).key == row()


@pytest.mark.parametrize("pattern", ["s.t.name", "s.*.name", "*"])
def test_what_is_masked_is_not_shown(pattern: str) -> None:
    masks = Masks(frozenset({pattern}))
    for b in (row(name="hush-b"), None):
        for key in (("name",), ("id",), ()):
            assert "hush" not in repr(describe(TABLE, key, row(name="hush-a"), b, masks))
    assert describe(TABLE, ("id",), row(), row(name=None), masks).changes == (Change("name", MASKED, MASKED),)


def test_other_columns_are_shown() -> None:
    assert Masks(frozenset({"s.t.nam", "t.name", "s.t"})).hidden(TABLE) == frozenset()


def test_what_is_said_of_a_row_is_bounded_however_wide_it_is() -> None:
    wide = Table("s", "wide", tuple(Column(f"column_{n}", "text") for n in range(500)), ("column_0",), ("column_0",))
    a, b = ({column.name: letter * 1000 for column in wide.columns} for letter in "ab")
    for key in (("column_0",), ()):
        for other in (b, None):
            assert len(str(describe(wide, key, a, other, Masks()))) < 800
    assert "and 498 more columns" in str(describe(wide, ("column_0",), a, b, Masks()))


def test_what_differs_in_a_long_value_is_in_sight() -> None:
    long = "a" * 10_000
    found = describe(TABLE, ("id",), row(name=long), row(name=long[:7_000] + "b" + long[7_001:]), Masks())
    (change,) = found.changes
    assert change.a is not None
    assert change.b is not None
    assert "b" in change.b
    assert change.a != change.b
    assert len(str(found)) < 400

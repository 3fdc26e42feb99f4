"""The SQL of a change, by its shape. What it does is tested on servers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.postgres.applying import (
    ROWS_A_STATEMENT,
    Gathering,
    Shape,
    bare_type,
    delete,
    insert,
    shape_of,
    truncate,
    update,
)
from adapters.postgres.catalog import Column, Identity, Table
from adapters.postgres.errors import Drift
from adapters.postgres.pgoutput import UNCHANGED, Delete, Old, Relation, RelationColumn, Update

ID, NAME, LONG = Column("id", "bigint"), Column("na me", "character varying(5)"), Column("long", "jsonb")
TABLE = Table("shop", "Order", (ID, NAME, LONG), ("id",), ("id",))
SHAPE = Shape(TABLE, (ID, NAME, LONG), (0,))
WHOLE = Shape(Table("shop", "t", (ID, NAME), identity=Identity.FULL), (ID, NAME), (), full=True)


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("character varying(5)", "character varying"),
        ("character varying(5)[]", "character varying[]"),
        ("character(5)", "pg_catalog.bpchar"),
        ("character(5)[]", "pg_catalog.bpchar[]"),
        ("bit(3)", "bit varying"),
        ("bit varying(3)", "bit varying"),
        ("numeric(10,2)", "numeric"),
        ("timestamp(3) with time zone", "timestamp with time zone"),
        ("interval day to second(3)", "interval day to second"),
        ("extras.vector(3)", "extras.vector"),
        ("bits.bit", "bits.bit"),
        ('"char"', '"char"'),
        ('shop."odd(5)"', 'shop."odd(5)"'),
    ],
)
def test_types_without_their_modifiers(name: str, bare: str) -> None:
    assert bare_type(name) == bare


def test_inserts() -> None:
    (one,) = insert(SHAPE, [("1", "a", None)], catching_up=False)
    assert one.text == (
        'insert into "shop"."Order" ("id", "na me", "long") values ($1::bigint, $2::character varying, $3::jsonb)'
    )
    assert (one.values, one.rows, one.told()) == (("1", "a", None), 1, "shop.Order: the row (id) = (1)")
    (many,) = insert(SHAPE, [("1", "a", None), ("2", "b", "{}")], catching_up=True)
    assert many.text.endswith(
        "from unnest($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[]) as v(c0, c1, c2) "
        'on conflict ("id") do update set "na me" = excluded."na me", "long" = excluded."long"'
    )
    assert (many.values, many.rows) == ([["1", "2"], ["a", "b"], [None, "{}"]], None)
    assert many.told("Key (id)=(2) already exists.") == "shop.Order: the row (id) = (2)"
    assert many.told("Key (mail)=(secret) already exists.") == "shop.Order"
    assert [statement.rows for statement in insert(WHOLE, [("1", "a")] * 2, catching_up=True)] == [None, None]


def test_a_value_that_was_not_sent_is_left_as_it_is() -> None:
    (statement,) = update(SHAPE, Update(1, ("1", "b", UNCHANGED)), catching_up=False)
    assert statement.text == 'update "shop"."Order" set "na me" = $1::character varying where "id" = $2::bigint'
    assert (statement.values, statement.rows) == (("b", "1"), 1)
    (nothing,) = update(SHAPE, Update(1, ("1", UNCHANGED, UNCHANGED)), catching_up=False)
    assert nothing.text == 'select from "shop"."Order" where "id" = $1::bigint'


def test_a_whole_row_brings_what_was_not_sent_again() -> None:
    change = Update(1, ("1", UNCHANGED), ("1", "old"), Old.FULL)
    (statement,) = update(WHOLE, change, catching_up=False)
    assert statement.values == ("1", "old", "1", "old") and "limit 1" in statement.text


def test_a_key_that_changes_while_catching_up_is_replaced() -> None:
    moved = Update(1, ("2", "b", "{}"), ("1", None, None), Old.KEY)
    assert [s.text.split()[0] for s in update(SHAPE, moved, catching_up=True)] == ["delete", "insert"]
    assert [s.text.split()[0] for s in update(SHAPE, moved, catching_up=False)] == ["update"]
    partly = update(SHAPE, Update(1, ("2", "b", UNCHANGED), ("1", None, None), Old.KEY), catching_up=True)
    assert [(s.text.split()[0], s.rows) for s in partly] == [("delete", None), ("update", None), ("update", 1)]


def test_deletes_and_truncates() -> None:
    (strict,) = delete(SHAPE, Delete(1, ("1", None, None), Old.KEY), catching_up=False)
    assert (strict.text, strict.values, strict.rows) == (
        'delete from "shop"."Order" where "id" = $1::bigint',
        ("1",),
        1,
    )
    (loose,) = delete(SHAPE, Delete(1, ("1", None, None), Old.KEY), catching_up=True)
    assert loose.rows is None
    assert [s.text for s in truncate([SHAPE, WHOLE])] == ['truncate only "shop"."Order", "shop"."t"']
    assert truncate([]) == []


def test_only_neighbours_of_one_table_are_gathered() -> None:
    gathering, other = Gathering(), Shape(TABLE, (ID, NAME, LONG), (0,))
    for number in range(ROWS_A_STATEMENT + 1):
        gathering.insert(SHAPE, (str(number), "x", None), False)
    gathering.insert(other, ("1", "x", None), False)
    gathering.insert(other, ("2", "x", None), True)
    gathering.add(delete(SHAPE, Delete(1, ("1", None, None), Old.KEY), catching_up=False))
    gathering.insert(other, ("3", "x", None), True)
    assert gathering.bytes > 1000 * 100
    taken = gathering.take()
    assert [s.text.split()[0] for s in taken] == ["insert"] * 4 + ["delete", "insert"]
    assert [s.rows for s in taken] == [ROWS_A_STATEMENT, 1, 1, None, 1, None]
    assert gathering.take() == [] and gathering.bytes == 0


def _relation(identity: str, *columns: tuple[str, bool]) -> Relation:
    return Relation(7, "shop", "Order", identity, tuple(RelationColumn(name, 25, -1, key) for name, key in columns))


def test_shapes_follow_the_order_in_which_columns_are_sent() -> None:
    shape = shape_of(_relation("d", ("long", False), ("id", True), ("na me", False)), TABLE, {})
    assert shape.columns == (LONG, ID, NAME) and shape.key == (1,)
    whole = shape_of(_relation("f", ("id", True), ("na me", True), ("long", True)), TABLE, {})
    assert whole.key == (0,) and whole.full  # a primary key finds it as well, and faster


def test_columns_and_keys_that_differ_are_drift() -> None:
    with pytest.raises(Drift, match="only at the source: new; only at the target: long"):
        shape_of(_relation("d", ("id", True), ("na me", False), ("new", False)), TABLE, {})
    with pytest.raises(Drift, match="known by na me at the source, by id"):
        shape_of(_relation("d", ("id", False), ("na me", True), ("long", False)), TABLE, {})


def test_an_error_tells_the_key_and_no_other_value() -> None:
    assert SHAPE.told(("1", "secret", "secret")) == "the row (id) = (1)"
    assert "secret" not in WHOLE.told(("1", "secret"))


def test_an_error_tells_no_value_of_a_key_that_is_hidden_and_cuts_a_long_one() -> None:
    hidden = replace(SHAPE, hidden=frozenset({"id"}))
    (one,) = insert(hidden, [("secret", "a", None)], catching_up=False)
    assert one.told() == "shop.Order: the row (id) = ((masked))"
    (many,) = insert(hidden, [("secret", "a", None), ("2", "b", None)], catching_up=True)
    assert many.told("Key (id)=(secret) already exists.") == "shop.Order: the row (id) = ((masked))"
    assert len(SHAPE.told(("x" * 10_000, "a", None))) < 150
    assert len(SHAPE.told_duplicate(f"Key (id)=({'x' * 10_000}) already exists.")) < 150

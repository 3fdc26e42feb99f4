"""Which rows strays touched, and how they left them; what of it is told, and how much."""

from __future__ import annotations

from adapters.postgres.applying import Shape
from adapters.postgres.catalog import Column, Table
from adapters.postgres.masks import Masks
from adapters.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Change,
    Delete,
    Insert,
    Old,
    Relation,
    RelationColumn,
    Truncate,
    Update,
)
from adapters.postgres.stranded import Seen
from adapters.postgres.strays import MOST_CHANGES, Gathered, Stray, touched
from cutover.database.strays_told import told

TABLE = Table("s", "t", (Column("id", "integer"), Column("a", "text"), Column("b", "text")), ("id",), ("id",))
SHAPE = Shape(TABLE, TABLE.columns, (0,))
RELATION = Relation(1, "s", "t", "d", tuple(RelationColumn(c.name, 25, -1, c.name == "id") for c in TABLE.columns))


def stray(*changes: Change, commit: int = 100) -> Stray:
    gathered = Gathered([])
    for number, change in enumerate(changes):
        gathered.take(Seen(Begin(commit, 0, 7), number, change, RELATION))
    (made,) = gathered.found
    return made


def left(*strays: Stray) -> dict[str | None, tuple[object, ...] | None]:
    return {str(each.key[0]): each.left for each in touched(strays, lambda _: SHAPE)}


def test_a_row_is_left_as_the_last_change_of_it_says() -> None:
    first = stray(Insert(1, ("1", "a", "b")), Insert(1, ("2", "a", "b")), Delete(1, ("2", None, None), Old.KEY))
    second = stray(Update(1, ("1", "A", UNCHANGED)), commit=200)
    assert left(first) == {"1": ("1", "a", "b"), "2": None}
    assert left(first, second) == {"1": ("1", "A", "b"), "2": None}
    assert left(second) == {"1": ("1", "A", UNCHANGED)}


def test_a_key_that_changed_is_two_rows() -> None:
    moved = Update(1, ("2", "a", UNCHANGED), ("1", None, None), Old.KEY)
    assert left(stray(moved)) == {"1": None, "2": ("2", "a", UNCHANGED)}


def test_what_was_committed_from_a_position_on_is_none() -> None:
    gathered = Gathered([], before=150)
    for commit in (100, 150):
        gathered.take(Seen(Begin(commit, 0, commit), 0, Insert(1, ("1", "a", "b")), RELATION))
    assert [one.begin.commit for one in gathered.found] == [100]


def test_what_cannot_be_settled_row_by_row_says_why() -> None:
    assert stray(Insert(1, ("1", "a", "b"))).unsettled == ""
    assert "emptied s.t" in stray(Truncate((1,), False, False)).unsettled
    many = stray(*[Insert(1, (str(n), "a", "b")) for n in range(MOST_CHANGES + 1)])
    assert len(many.changes) == MOST_CHANGES and f"{MOST_CHANGES + 1} changes" in many.unsettled


def test_both_values_are_told_short_and_masked() -> None:
    one = stray(
        Update(1, ("1", "x" * 500, "secret")), Insert(1, ("2", "new", None)), Delete(1, ("3", None, None), Old.KEY)
    )
    now = {"1": ("1", "y" * 500, "other"), "2": None, "3": ("3", "old", "b")}
    rows = tuple((each, now[str(each.key[0])]) for each in touched([one], lambda _: SHAPE))
    lines = told(one, "hosted", "selfhosted", rows, Masks(frozenset({"s.t.b"}))).lines()
    text = "\n".join(lines)
    assert "secret" not in text and "other" not in text and max(map(len, lines)) < 300
    assert "s.t (id = '1'): changed" in text and "(500 characters)' at selfhosted" in text
    assert "s.t (id = '2'): only by the stray" in text and "a: NULL at selfhosted, 'new' by the stray" in text
    assert "s.t (id = '3'): deleted by the stray" in text and "a: 'old' at selfhosted, NULL by the stray" in text

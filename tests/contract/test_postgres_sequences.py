"""Sequences moved between two real servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from adapters.postgres.driver import connect
from adapters.postgres.errors import Drift, Refused
from adapters.postgres.sequences import move, read
from adapters.postgres.side import Side, opened
from tests.contract.moved_databases import fill, scalar
from tests.contract.two_postgres import Pair, new_pair, two_servers

pytestmark = pytest.mark.contract
COUNTING = (
    "create schema counting",
    'create sequence counting."up ""1"""',
    "create sequence counting.down increment -3 start -5 maxvalue -1",
    "create sequence counting.fresh start 7",
    "create sequence counting.restarted",
    "create sequence counting.full maxvalue 10",
    "create sequence counting.round maxvalue 10 cycle",
    "create sequence counting.small as smallint",
    "create table counting.owned (id int generated always as identity, s serial)",
)
NEXT = {
    'counting."up ""1"""': 42 + 100 + 1, "counting.down": -5 - 3 * 101, "counting.fresh": 7, "counting.restarted": 500,
    "counting.full": 10, "counting.round": 1, "counting.small": 32760 + 4, "counting.owned_id_seq": 3 + 101,
    "counting.owned_s_seq": 3 + 101,
}  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with two_servers() as (hosted, own):
        yield new_pair(hosted, own)


def moved(pair: Pair, schemas: Sequence[str], headroom: int = 100) -> list[str]:
    with opened(pair.hosted, "test") as source, opened(pair.own, "test") as target:
        return [setting.name for setting in move(source, target, schemas, headroom)]


def test_each_gives_out_what_was_never_given_out(pair: Pair) -> None:
    fill(pair, *COUNTING)
    with connect(pair.own, "test") as own:
        for statement in COUNTING:
            own.execute(statement.encode())
    fill(pair, "select setval('counting.\"up \"\"1\"\"\"', 42)", "select nextval('counting.down')",
         "alter sequence counting.restarted restart 500", "select setval('counting.full', 9)",
         "select setval('counting.round', 10)", "select setval('counting.small', 32760)",
         "insert into counting.owned default values", "insert into counting.owned default values",
         "insert into counting.owned default values")  # fmt: skip
    names = moved(pair, ["counting"])
    assert len(names) == len(NEXT) - 1  # one was not called, and stands there already
    for name, value in NEXT.items():
        assert scalar(pair.own, f"select nextval('{name}')") == value, name
    # What was given out at the new side since is not given out again by moving once more.
    again = moved(pair, ["counting"], 0)
    assert again == ['"counting"."round"']
    assert scalar(pair.own, "select nextval('counting.down')") == NEXT["counting.down"] - 3


def test_one_that_the_role_may_not_read_is_refused_and_one_that_is_missing_a_drift(pair: Pair) -> None:
    fill(pair, "create schema lonely", "create sequence lonely.s")
    with pytest.raises(Drift, match=r'"lonely"\."s" is not at the other side'):
        moved(pair, ["lonely"])
    with connect(pair.own, "test") as own:
        own.execute("create schema closed; create sequence closed.s; select nextval('closed.s')")
        own.execute("do $$ begin create role blind login; exception when duplicate_object then null; end $$")
        own.execute("grant usage on schema closed to blind; set role blind")
        with pytest.raises(Refused, match="permission denied for sequence s"):
            read(Side(own, pair.own), ["closed"])

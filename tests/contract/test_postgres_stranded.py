"""What a side committed that never came over, read from its slot and kept at the other one, on real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from adapters.postgres import bookkeeping, breaking_off, catalog, heartbeats, slots, stranded
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.carrier import End, open_carrier
from adapters.postgres.driver import Connection, connect
from adapters.postgres.errors import Conflict, SlotLost, Unavailable
from adapters.postgres.gate import Gate
from adapters.postgres.side import Side, opened
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import Pair, new_pair, two_servers

pytestmark = [pytest.mark.contract, pytest.mark.timeout(120)]
SLOT = slot_name("selfhosted")
TABLES = (
    "create table public.plain (id int primary key, note text, body text)",
    "create table public.whole (a int, b text)",
    "alter table public.whole replica identity full",
)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        yield both


@pytest.fixture
def pair(servers: tuple[Postgres, Postgres]) -> Iterator[Pair]:
    made = new_pair(*servers)
    for at in (made.hosted_admin, made.own):
        with connect(at, "test") as connection:
            bookkeeping.ensure(connection)
            for statement in TABLES:
                connection.execute(statement)
    with connect(made.hosted_admin, "test") as admin:
        admin.execute("alter schema crossover owner to hosted")
        for name in ("mark", "heartbeat", "chunk", "counted", "unfollowed"):
            admin.execute(f"alter table crossover.{name} owner to hosted")
        for name in ("plain", "whole"):
            admin.execute(f"alter table public.{name} owner to hosted")
    with connect(made.own, "test") as own:
        slots.publish(own, catalog.tables(own, ["public"]))
        slots.ensure_slot(own, SLOT)
    yield made
    with connect(made.own, "test") as own:
        dropped(own)


def dropped(own: Connection) -> None:
    """The slot is dropped, once who reads it has ended: a stream that a test has just closed may take a moment."""
    deadline = time.monotonic() + 20
    while True:
        slots.end_reader(own, SLOT)
        try:
            slots.drop_slot(own, SLOT)
            return
        except Unavailable:
            assert time.monotonic() < deadline, "whoever reads the slot does not end"
            time.sleep(0.05)  # the end of a process announces nothing


def _gathered(pair: Pair, applied: int = 0) -> tuple[stranded.Found, list[tuple[object, ...]]]:
    with connect(pair.own, "test") as own:
        to = heartbeats.beat(own, "selfhosted").lsn
    with opened(pair.hosted, "test") as hosted:
        found = stranded.gather(pair.own, SLOT, applied, to, stranded.Keeper(hosted, 7))
        query = "select epoch, relation, kind, was, is_now from crossover.stranded order by lsn, number"
        return found, hosted.rows(query)


def test_every_change_is_kept_as_it_was_and_the_slot_keeps_it_still(pair: Pair) -> None:
    long = "x" * 50_000
    with connect(pair.own, "test", autocommit=False) as own:
        own.execute("alter table public.plain alter column body set storage external")
        own.execute("insert into public.plain values (1, 'ü \"quoted\"', %s), (2, null, '')", (long,))
        own.commit()
        own.execute("update public.plain set note = 'other' where id = 1")
        own.execute("update public.plain set id = 3 where id = 2")
        own.execute("delete from public.plain where id = 3")
        own.commit()
        own.execute("insert into public.whole values (1, 'b')")
        own.execute("delete from public.whole")
        own.execute("truncate public.plain, public.whole")
        own.commit()
    found, kept = _gathered(pair)
    assert found.transactions == 3 and found.changes == {"public.plain": 6, "public.whole": 3}
    assert kept == [
        (7, "public.plain", "insert", None, {"id": "1", "note": 'ü "quoted"', "body": long}),
        (7, "public.plain", "insert", None, {"id": "2", "note": None, "body": ""}),
        (7, "public.plain", "update", None, {"id": "1", "note": "other"}),  # what did not change was not sent
        (7, "public.plain", "update", {"id": "2"}, {"id": "3", "note": None, "body": ""}),
        (7, "public.plain", "delete", {"id": "3"}, None),
        (7, "public.whole", "insert", None, {"a": "1", "b": "b"}),
        (7, "public.whole", "delete", {"a": "1", "b": "b"}, None),
        (7, "public.plain", "truncate", None, None),
        (7, "public.whole", "truncate", None, None),
    ]
    again, kept_again = _gathered(pair)
    assert (str(again), kept_again) == (str(found), kept)
    assert "3 transactions" in str(found) and found.first is not None and found.last is not None
    only_last, _ = _gathered(pair, found.last[0] - 1)
    assert only_last.transactions == 1


def test_what_came_from_the_other_side_and_signs_of_life_are_not_stranded(pair: Pair) -> None:
    with connect(pair.own, "test", autocommit=False) as own:
        own.execute("insert into crossover.mark values ('crossover_from_hosted', '0/1', now())")
        own.execute("insert into public.plain values (1, 'carried', '')")
        own.commit()
        own.execute("insert into crossover.heartbeat values ('selfhosted', 1, now())")
        own.execute("insert into public.plain values (2, 'written here', '')")
        own.commit()
    found, kept = _gathered(pair)
    assert found.transactions == 1
    assert [row[4] for row in kept] == [{"id": "2", "note": "written here", "body": ""}]


def test_a_stream_that_was_broken_off_brings_nothing_more_until_it_is_mended(pair: Pair) -> None:
    gate = Gate(0)
    ends = End("selfhosted", pair.own), End("hosted", pair.hosted)
    carrier = open_carrier(*ends, gate)
    _write(pair, 1)
    _carried(pair, lambda: carrier.step(0.1), 1)
    with opened(pair.hosted, "test") as hosted:
        first = breaking_off.break_off(hosted, SLOT)
        assert first > 0 and breaking_off.break_off(hosted, SLOT) == first  # also where a run was cut off after it
        _write(pair, 2)
        with pytest.raises(Unavailable, match="mark has moved"):
            _carried(pair, lambda: carrier.step(0.1), 2)
        carrier.close()
        with pytest.raises(Conflict, match="broken off"):
            open_carrier(*ends, gate)
        assert _ids(hosted) == [1]
        assert breaking_off.mend(hosted, SLOT) and not breaking_off.mend(hosted, SLOT)
        carrier = open_carrier(*ends, gate)
        assert carrier.state.applied == first
        _carried(pair, lambda: carrier.step(0.1), 2)
        carrier.close()


def test_one_that_holds_its_mark_locked_is_ended(pair: Pair) -> None:
    with (
        opened(pair.hosted, "test") as hosted,
        connect(pair.hosted, SLOT, autocommit=False) as frozen,
    ):
        hosted.run("insert into crossover.mark values (%s, '0/5', now())", (SLOT,))
        frozen.execute("update crossover.mark set applied = '0/6'")
        frozen.execute("insert into public.plain values (9, '', '')")
        assert breaking_off.break_off(hosted, SLOT) == 5
        with pytest.raises(Exception, match=r"terminating|closed"):
            frozen.commit()
        assert _ids(hosted) == []


def test_a_slot_that_is_gone_is_said_to_be(pair: Pair) -> None:
    with connect(pair.own, "test") as own:
        slots.drop_slot(own, SLOT)
    with pytest.raises(SlotLost):
        _gathered(pair)


def _write(pair: Pair, number: int) -> None:
    with connect(pair.own, "test") as own:
        own.execute("insert into public.plain values (%s, '', '')", (number,))


def _ids(hosted: Side) -> list[int]:
    return [row[0] for row in hosted.rows("select id from public.plain order by id")]


def _carried(pair: Pair, step: object, number: int) -> None:
    assert callable(step)
    with opened(pair.hosted, "test") as hosted:
        for _ in range(100):
            step()
            if number in _ids(hosted):
                return
    raise AssertionError(f"row {number} did not come")

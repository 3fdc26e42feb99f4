"""Killed anywhere, cut off, run twice, or written past: each transaction is applied once, and nothing is left out."""

# ruff: noqa: S608 - the tests' own names and numbers

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import bookkeeping, slots
from adapters.postgres.applying import Statement
from adapters.postgres.carrier import Carrier, Limits, open_carrier
from adapters.postgres.driver import connect, lsn
from adapters.postgres.errors import Conflict, SlotLost, StatementFailed, Unavailable
from adapters.postgres.gate import Gate
from adapters.postgres.heartbeats import beat, heard, wait_applied
from adapters.postgres.target import Target, applied
from tests.contract.carrying import Lane, filled, lane, wait_until
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import new_pair, two_servers

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        yield both


@pytest.fixture
def between(servers: tuple[Postgres, Postgres]) -> Iterator[Lane]:
    with lane(servers) as made:
        made.both(
            "create table shop.accounts (id int primary key, balance int not null)",
            "create table shop.moves (source int, target int, note text)",
            "alter table shop.moves replica identity full",
        )
        made.follow()
        yield made


def transfer(between: Lane, at: str, number: int) -> None:
    """One transaction of several changes. `moves` has no key: what is applied twice is there twice."""
    filled(
        between.at(at),
        [
            f"insert into shop.accounts values ({number}, 0) on conflict do nothing",
            f"update shop.accounts set balance = balance + 1 where id = {number % 7}",
            f"insert into shop.moves select {number}, n, 'same' from generate_series(1, 3) n",
            f"delete from shop.moves where source = {number - 3} and target = 2",
        ],
    )


class Killed(Exception):
    """The process ended here."""


class Doom:
    """Ends a carrier at its `nth` effect: both connections are gone, and what was under way with them."""

    def __init__(self, carrier: Carrier, nth: int) -> None:
        self._carrier = carrier
        self._left = nth
        self.log: list[str] = []
        for owner, name in (
            (carrier._stream, "read"),
            (carrier._stream, "confirm"),
            (carrier._target, "write"),
            (carrier._target, "commit"),
            (carrier._target._connection, "commit"),
        ):
            setattr(owner, name, self._mortal(getattr(owner, name), name))

    def _mortal(self, effect: Callable[..., Any], name: str) -> Callable[..., Any]:
        def acting(*arguments: Any) -> Any:
            self._pass(f"before {name}")
            done = effect(*arguments)
            self._pass(f"after {name}")
            return done

        return acting

    def _pass(self, where: str) -> None:
        self.log.append(where)
        self._left -= 1
        if not self._left:
            self._carrier.close()
            raise Killed(where)


def test_a_carrier_that_is_killed_at_any_effect_applies_everything_once(between: Lane) -> None:
    limits = Limits(transactions=2, unsent_bytes=200)  # several batches, each written in parts
    killed: set[str] = set()
    number = nth = 0
    while nth < 200:
        nth += 1
        for _ in range(3):
            number += 1
            transfer(between, "hosted", number)
        doom = Doom(between.carrier(limits=limits), nth)
        try:
            between.carry(doom._carrier)
            doom._carrier.close()
        except Killed as end:
            killed.add(str(end))
            continue
        break
    between.carry(between.carrier())
    between.same("accounts", "moves")
    assert killed == {
        f"{when} {what}" for when in ("before", "after") for what in ("read", "confirm", "write", "commit")
    }
    assert len(between.rows("selfhosted", "select from shop.moves")) == 3 * number - (number - 3)


def test_two_that_apply_the_same_stream_do_not_apply_it_twice(between: Lane) -> None:
    name = bookkeeping.slot_name("hosted")
    first, second = (Target(between.pair.own, name) for _ in range(2))
    insert = Statement("insert into shop.moves values (1, 1, 'x')", (), 1, "shop.moves")
    first.begin(100)
    first.write([insert])
    second.begin(100)
    ended: list[Exception] = []

    def late() -> None:
        try:
            second.commit(100, [insert])
        except Unavailable as error:
            ended.append(error)

    waiting = threading.Thread(target=late)
    waiting.start()
    wait_until(lambda: between.rows("selfhosted", "select from pg_locks where not granted") != [])
    first.commit(100, [])
    waiting.join()
    assert "another process" in str(ended[0])
    assert between.rows("selfhosted", "select source from shop.moves") == [(1,)]
    assert applied(between.own, name) == 100
    first.close()
    second.close()


def test_nothing_comes_back_while_both_directions_run_and_all_is_written(between: Lane) -> None:
    there, back = between.carrier("hosted"), between.carrier("selfhosted", None)
    stop = threading.Event()
    failed: list[BaseException] = []

    def running(carrier: Carrier) -> None:
        try:
            while not stop.is_set():
                carrier.step(0.05)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=running, args=(carrier,)) for carrier in (there, back)]
    for thread in threads:
        thread.start()
    for number in range(1, 200):
        transfer(between, "hosted", number)
        if number % 20 == 0:
            beat(between.hosted, "hosted")
            beat(between.own, "selfhosted")
    last, returned = beat(between.hosted, "hosted"), beat(between.own, "selfhosted")
    assert wait_applied(between.own, bookkeeping.slot_name("hosted"), last.lsn, 30)
    wait_until(lambda: bool(failed) or heard(between.hosted, "selfhosted") >= returned.number)
    after = beat(between.own, "selfhosted")  # the marks of what was applied last are behind it
    wait_until(lambda: bool(failed) or heard(between.hosted, "selfhosted") >= after.number)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    between.same("accounts", "moves")
    assert back.state.changes == 0 and back.state.held is None
    assert there.state.transactions + there.state.dropped >= 200
    assert back.state.dropped > 0  # it has seen them


def test_what_is_written_at_the_side_that_does_not_serve_is_held_until_its_turn(between: Lane) -> None:
    gate = Gate()
    back = between.gated("selfhosted", gate)
    between.carry(back, "selfhosted")
    confirmed = back.state.confirmed
    transfer(between, "selfhosted", 1)
    late = beat(between.own, "selfhosted")
    transfer(between, "selfhosted", 2)

    def counted() -> bool:
        back.step(0.01)
        return back.state.held is not None and back.state.held.transactions == 2

    wait_until(counted, pause=0)
    held = back.state.held
    assert held is not None and held.table == "shop.accounts" and not held.at_least
    assert "2 from" in str(held) and back.state.seconds_behind > 0
    assert between.rows("hosted", "select from shop.accounts") == []
    assert heard(between.hosted, "selfhosted") < late.number  # what follows is held with it
    state = slots.slot_state(between.own, bookkeeping.slot_name("selfhosted"))
    assert state is not None and confirmed <= state.confirmed < held.commit
    gate.set(held.commit + 1)
    assert back.step(0.01) == 0 and back.state.held is not None
    gate.set(held.commit)
    between.carry(back, "selfhosted")
    between.same("accounts", "moves")
    assert back.state.held is None and len(between.rows("hosted", "select from shop.moves")) == 6


def test_what_is_held_is_kept_over_a_restart_and_counted_as_far_as_memory_goes(between: Lane) -> None:
    for number in range(1, 50):
        transfer(between, "selfhosted", number)
    back = between.carrier("selfhosted", None, Limits(ahead_bytes=2000))

    def held() -> bool:
        back.step(0.01)
        return back.state.held is not None and back.state.held.at_least

    wait_until(held, pause=0)
    back.close()
    gate = Gate()
    back = between.gated("selfhosted", gate, Limits(ahead_bytes=2000, transactions=3))
    wait_until(held, pause=0)
    gate.set(0)
    between.carry(back, "selfhosted")
    between.same("accounts", "moves")


def test_a_heartbeat_in_a_transaction_with_content_does_not_let_it_through(between: Lane) -> None:
    back = between.carrier("selfhosted", None)
    filled(
        between.own,
        [
            "insert into crossover.heartbeat values ('selfhosted', 1000, now())",
            "insert into shop.accounts values (1, 1)",
            "insert into crossover.mark values ('forged', '0/0', now())",
        ],
    )

    def held() -> bool:
        back.step(0.01)
        return back.state.held is not None

    wait_until(held, pause=0)
    assert between.rows("hosted", "select from shop.accounts") == [] and heard(between.hosted, "selfhosted") == 0
    back._gate.set(0)
    between.carry(back, "selfhosted")
    between.same("accounts")
    assert between.rows("hosted", "select stream from crossover.mark where stream = 'forged'") == []


def test_a_quiet_database_moves_the_slot_beside_a_busy_one(between: Lane) -> None:
    carrier = between.carrier()
    between.carry(carrier)
    between.hosted.execute("create table shop.unpublished (v text)")
    between.hosted.execute("insert into shop.unpublished select repeat('x', 1000) from generate_series(1, 5000)")
    end = lsn(str(between.rows("hosted", "select pg_current_wal_lsn()")[0][0]))
    name = bookkeeping.slot_name("hosted")

    def moved() -> bool:
        carrier.step(0.05)
        state = slots.slot_state(between.hosted, name)
        return state is not None and state.confirmed >= end

    wait_until(moved, pause=0)
    assert carrier.state.changes == 0


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_large_transaction_takes_bounded_memory(between: Lane) -> None:
    carrier = between.carrier()
    transfer(between, "hosted", 1)
    between.carry(carrier)
    between.hosted.execute("insert into shop.moves select n, n, repeat('x', 2000) from generate_series(1, 50000) n")
    before, most, most_pending = _resident(), 0, 0
    number, began = beat(between.hosted, "hosted").number, time.monotonic()
    while heard(between.own, "hosted") < number:
        carrier.step(0.1)
        most, most_pending = max(most, _resident()), max(most_pending, carrier._gathering.bytes)
        assert time.monotonic() - began < 60
    assert len(between.rows("selfhosted", "select from shop.moves")) == 50_003
    assert most - before < 40 << 20  # of 100 MB
    assert most_pending < 2 << 20


def test_a_carrier_goes_on_in_the_midst_of_a_large_transaction_that_is_cut_off(between: Lane) -> None:
    between.hosted.execute("insert into shop.moves select n, n, 'x' from generate_series(1, 20000) n")
    carrier = between.carrier(limits=Limits(unsent_bytes=10_000, seconds=0.01))
    wait_until(lambda: carrier.step(0.01) == 0 and carrier.state.changes > 100, pause=0)
    assert between.rows("selfhosted", "select from shop.moves") == []
    carrier.close()
    between.carry(between.carrier())
    between.same("moves")


def test_a_slot_that_is_dropped_is_lost(between: Lane) -> None:
    carrier = between.carrier()
    between.carry(carrier)
    name = bookkeeping.slot_name("hosted")
    with pytest.raises(Unavailable, match="is read by process"):
        slots.drop_slot(between.hosted, name)
    with pytest.raises(Unavailable, match="is read by process"):
        open_carrier(between.ends["hosted"], between.ends["selfhosted"], Gate())
    between.hosted.execute(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", (name,)
    )
    with pytest.raises(Unavailable):
        between.carry(carrier)
    wait_until(lambda: _dropped(between, name))
    with pytest.raises(SlotLost, match="there is no slot"):
        open_carrier(between.ends["hosted"], between.ends["selfhosted"], Gate())
    assert slots.slot_state(between.hosted, name) is None and not slots.drop_slot(between.hosted, name)


def _dropped(between: Lane, name: str) -> bool:
    with suppress(Unavailable):
        return slots.drop_slot(between.hosted, name)
    return False


def test_a_slot_whose_wal_was_dropped_is_lost(between: Lane, servers: tuple[Postgres, Postgres]) -> None:
    name = bookkeeping.slot_name("selfhosted")
    between.own.execute("alter system set max_slot_wal_keep_size = '1MB'")
    between.own.execute("select pg_reload_conf()")
    between.own.execute("create table shop.apart (v text)")
    try:

        def lost() -> bool:
            between.own.execute("insert into shop.apart select repeat('x', 1000) from generate_series(1, 5000)")
            between.own.execute("select pg_switch_wal()")
            between.own.execute("checkpoint")
            state = slots.slot_state(between.own, name)
            return state is not None and state.lost

        wait_until(lost)
        with pytest.raises(SlotLost, match="dropped WAL"):
            open_carrier(between.ends["selfhosted"], between.ends["hosted"], Gate())
    finally:
        between.own.execute("alter system reset max_slot_wal_keep_size")
        between.own.execute("select pg_reload_conf()")


def test_a_mark_beyond_the_source_is_a_conflict(between: Lane) -> None:
    between.carry(between.carrier())
    between.opened[-1].close()
    between.own.execute("update crossover.mark set applied = 'FFFF/0' where stream = 'crossover_from_hosted'")
    with pytest.raises(Conflict, match="set back"):
        between.carrier()


def test_a_slot_that_waits_for_a_transaction_says_so(between: Lane) -> None:
    with between.hosted.transaction():
        between.hosted.execute("insert into shop.accounts values (5, 5)")
        with connect(between.pair.hosted, "test") as other:
            with pytest.raises(Unavailable, match="pg_stat_activity"):
                slots.ensure_slot(other, "crossover_late", timeout=0.3)
            assert slots.slot_state(other, "crossover_late") is None
            assert other.execute("show statement_timeout").fetchone() == ("0",)


def test_a_slot_of_another_database_is_not_taken_for_ours(between: Lane, servers: tuple[Postgres, Postgres]) -> None:
    other = new_pair(*servers)
    with connect(other.hosted, "test") as connection, pytest.raises(StatementFailed, match="is there already"):
        slots.ensure_slot(connection, bookkeeping.slot_name("hosted"))
    assert slots.ensure_slot(between.hosted, bookkeeping.slot_name("hosted")) > 0

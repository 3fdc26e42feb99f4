"""Copies that are ended on the way, lose a server, or meet writers, on two real servers."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.postgres.carrying import Carrier
from adapters.postgres.copying import Copy
from adapters.postgres.driver import connect, lsn
from adapters.postgres.errors import Stopped, Unavailable
from tests.contract.moved_databases import (
    FINE,
    ROWS,
    Running,
    Stopping,
    big,
    digest,
    digests,
    done_parts,
    eventually,
    plan_first,
    prepared,
    scalar,
)
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import Pair, address, new_pair, two_servers

pytestmark = pytest.mark.contract
BLOCKED = (
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and application_name = 'crossover-copy' and wait_event = 'relation'"
)
"""Connections of a copy that wait for a lock on a table."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with two_servers() as both:
        with connect(address(both[0], "postgres", "postgres"), "test") as admin:
            admin.execute("create role authenticated")
        yield both


@pytest.fixture
def pair(servers: tuple[Postgres, Postgres]) -> Pair:
    return new_pair(*servers)


# -- ended on the way


def test_told_to_stop_it_goes_on_without_copying_anything_twice(pair: Pair) -> None:
    moved = big(pair, None)
    stopping = Stopping(30)
    with pytest.raises(Stopped):
        Copy(pair.hosted, pair.own, moved, FINE, progress=stopping, stop=stopping.event).run()
    before = done_parts(pair)
    log = '"big"."log"'
    assert 30 <= len(before) < stopping.seen[-1].parts
    result = Copy(pair.hosted, pair.own, moved, FINE).run()
    after = done_parts(pair)
    whole = sum(relation == log for relation, _ in before) == sum(relation == log for relation, _ in after)
    kept = {key: at for key, at in before.items() if key[0] != log or whole}
    assert {key: after[key] for key in kept if key[1]} == {key: at for key, at in kept.items() if key[1]}
    assert digests(pair.own, moved) == digests(pair.hosted, moved)
    assert result.rows == 2 * ROWS + 10
    assert Copy(pair.hosted, pair.own, moved, FINE).run() == result


def test_no_row_is_lost_that_a_part_could_see_whatever_is_written_meanwhile(pair: Pair) -> None:
    (table,) = big(pair)
    known: list[tuple[int, int, int]] = []  # account, id, and the run before which it was committed
    run, over = 0, threading.Event()

    def write() -> None:
        with connect(pair.hosted, "writer") as writer:
            number = 0
            while not over.is_set():
                number += 1
                begun = run
                key = (number * 7919) % 97, -number
                writer.execute("insert into big.rows values (%s, %s, 'new')", key)
                writer.execute("update big.rows set note = note || '.' where account = %s", (number % 97,))
                known.append((*key, begun))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        runs: list[set[int]] = []
        for run in range(1, 4):
            stopping = Stopping(8 * run)
            eventually(lambda: sum(begun == run for *_, begun in known) > 3, "the writer does not write")  # noqa: B023
            with pytest.raises(Stopped):
                Copy(pair.hosted, pair.own, [table], FINE, progress=stopping, stop=stopping.event).run()
            runs.append({part for _, part in done_parts(pair)})
        run = 4
        eventually(lambda: sum(begun == 4 for *_, begun in known) > 3, "the writer does not write")
        Copy(pair.hosted, pair.own, [table], FINE).run()
    finally:
        over.set()
        writer.join()
    runs.append({part for _, part in done_parts(pair)})
    with connect(pair.own, "test") as own:
        bounds = {row[0]: row[1:] for row in own.execute("select part, lower, upper from crossover.chunk")}
        rows = own.execute("select account, id from big.rows").fetchall()
    assert len(rows) == len(set(rows))
    there = set(rows)
    assert {(key[0], key[1]) for key in there if key[1] > 0} == original_keys(pair)
    first_run = {part: next(n for n, done in enumerate(runs, 1) if part in done) for part in bounds}
    seen = 0
    for account, number, begun in known:
        (part,) = (part for part, edges in bounds.items() if within((account, number), *edges))
        if begun < first_run[part]:
            seen += 1
            assert (account, number) in there
    assert seen > 3


def within(key: tuple[int, int], lower: str | None, upper: str | None) -> bool:
    edges = [None if edge is None else tuple(map(int, json.loads(edge))) for edge in (lower, upper)]
    return (edges[0] is None or key >= edges[0]) and (edges[1] is None or key < edges[1])


def original_keys(pair: Pair) -> set[tuple[int, int]]:
    with connect(pair.hosted, "test") as hosted:
        return {(row[0], row[1]) for row in hosted.execute("select account, id from big.rows where id > 0")}


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_connection_that_is_lost_in_the_middle_of_a_part_costs_that_part_only(pair: Pair, side: str) -> None:
    (table,) = big(pair)
    at, admin = (pair.hosted, pair.hosted_admin) if side == "source" else (pair.own, pair.own)
    with connect(admin, "blocker") as blocker:
        plan_first(pair, [table])
        blocker.execute("begin; lock table big.rows in access exclusive mode")
        copy = Running(Copy(pair.hosted, pair.own, [table], FINE))
        eventually(lambda: scalar(at, BLOCKED) == 2, "no part waits for the lock")
        with connect(admin, "killer") as killer:
            killer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'crossover-copy' and datname = current_database()"
            )
        eventually(lambda: scalar(at, BLOCKED) == 2, "it is not tried again")
        blocker.execute("rollback")
        copy.join()
    assert digest(pair.own, table) == digest(pair.hosted, table)


def test_stopping_need_not_wait_for_a_server_that_does_not_answer(pair: Pair) -> None:
    (table,) = big(pair)
    plan_first(pair, [table])
    stop = threading.Event()
    with connect(pair.own, "blocker") as blocker:
        blocker.execute("begin; lock table big.rows in access exclusive mode")
        copy = Running(Copy(pair.hosted, pair.own, [table], FINE, stop=stop))
        eventually(lambda: scalar(pair.own, BLOCKED) == 2, "no part waits for the lock")
        stop.set()
        begun = time.monotonic()
        with pytest.raises(Stopped):
            copy.join()
        assert time.monotonic() - begun < 5


def test_an_error_in_the_middle_of_a_part_leaves_nothing_of_it(pair: Pair) -> None:
    (table,) = big(pair)
    (planned,) = plan_first(pair, [table], part_bytes=1 << 30)

    class Odd(Exception):
        pass

    sent: list[int] = []

    def moved(count: int) -> None:
        sent.append(count)
        if sum(sent) > 300_000:
            raise Odd

    carrier = Carrier(pair.hosted, pair.own, frozenset())
    with pytest.raises(Odd):
        carrier.carry(planned, None, moved)
    assert done_parts(pair) == {}
    assert digest(pair.own, table)[0] == 0
    assert carrier.carry(planned, None, sent.append).rows == ROWS
    assert carrier.carry(planned, None, sent.append).rows == 0
    carrier.close()
    assert digest(pair.own, table) == digest(pair.hosted, table)


def test_nothing_piles_up_here_while_the_target_takes_nothing(pair: Pair) -> None:
    wide = (
        "create schema big",
        "create table big.rows (id int primary key, t text)",
        "insert into big.rows select g, repeat(md5(g::text), 32) from generate_series(1, 40000) g",
    )
    (planned,) = plan_first(pair, prepared(pair, wide, ["big"]), part_bytes=1 << 30)
    sent: list[int] = []
    at_thaw: list[int] = []

    def freeze(count: int) -> None:
        sent.append(count)
        if len(sent) == 1:
            pid = int(str(scalar(pair.own, "select pid from pg_stat_progress_copy where datname = current_database()")))
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(1.0, thaw, [pid]).start()

    def thaw(pid: int) -> None:
        at_thaw.append(sum(sent))
        os.kill(pid, signal.SIGCONT)

    carrier = Carrier(pair.hosted, pair.own, frozenset())
    piped = carrier.carry(planned, None, freeze)
    carrier.close()
    assert piped.rows == 40_000
    assert at_thaw[0] < piped.bytes / 2 < piped.bytes == sum(sent)


def test_two_that_copy_at_once_copy_each_part_once(pair: Pair) -> None:
    (table,) = big(pair)
    plan_first(pair, [table])
    running = [Running(Copy(pair.hosted, pair.own, [table], FINE)) for _ in range(2)]
    assert {each.join().rows for each in running} == {ROWS}
    assert digest(pair.own, table) == digest(pair.hosted, table)


def test_a_server_that_stays_away_is_given_up_after_some_attempts(pair: Pair) -> None:
    (table,) = big(pair)
    plan_first(pair, [table])
    with connect(pair.hosted_admin, "blocker") as blocker:
        blocker.execute("begin; lock table big.rows in access exclusive mode")
        copy = Running(Copy(pair.hosted, pair.own, [table], replace(FINE, attempts=2)))
        kill = (
            "select pid, pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and application_name = 'crossover-copy' and wait_event = 'relation'"
        )
        killed: set[int] = set()  # one that takes its time to end is killed again
        with connect(pair.hosted_admin, "killer") as killer:

            def kill_some() -> bool:
                killed.update(pid for pid, _ in killer.execute(kill).fetchall())
                return copy.over

            eventually(kill_some, "it goes on for ever")
        with pytest.raises(Unavailable, match=r"big\.rows, part \d+"):
            copy.join()
    assert 2 <= len(killed) <= 4


# -- tables without a key


def test_a_table_without_a_key_is_copied_exactly_as_it_was_at_one_position(pair: Pair) -> None:
    (table,) = big(pair, "log")
    over = threading.Event()
    committed: list[tuple[int, int, int]] = []  # number, insert positions before and after its commit

    def write() -> None:
        with connect(pair.hosted, "writer", autocommit=False) as writer:
            number = 0
            while not over.is_set():
                number += 1
                # Moves rows to other pages, which must be seen neither twice nor never.
                writer.execute("update big.log set note = note || '.' where account %% 50 = %s", (number % 50,))
                writer.execute("insert into big.log values (%s, 'new')", (-number,))
                before = position(writer)
                writer.commit()
                committed.append((number, before, position(writer)))
                writer.commit()

    def position(connection: object) -> int:
        row = connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()  # type: ignore[attr-defined]
        return lsn(row[0])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: len(committed) > 3, "the writer does not write")
        stopping = Stopping(5)
        with pytest.raises(Stopped):
            Copy(pair.hosted, pair.own, [table], FINE, progress=stopping, stop=stopping.event).run()
        seen = len(committed)
        eventually(lambda: len(committed) > seen + 3, "the writer does not write")
        result = Copy(pair.hosted, pair.own, [table], FINE).run()
        seen = len(committed)
        eventually(lambda: len(committed) > seen + 3, "the writer does not write")
    finally:
        over.set()
        writer.join()
    exact = result.exact[table.qualified]
    assert exact == result.seen
    with connect(pair.own, "test") as own:
        numbers = [row[0] for row in own.execute("select account from big.log")]
    assert len(numbers) == len(set(numbers))
    assert {number for number in numbers if number > 0} == set(range(1, ROWS + 1))
    there = {-number for number in numbers if number < 0}
    assert {number for number, _, after in committed if after <= exact} <= there
    assert not {number for number, before, _ in committed if before >= exact} & there
    assert len(done_parts(pair)) > 10


def test_its_lock_waits_briefly_so_that_writers_do_not(pair: Pair) -> None:
    (table,) = big(pair, "log")
    with connect(pair.hosted, "long", autocommit=False) as long, connect(pair.hosted, "other") as other:
        long.execute("insert into big.log values (0, 'long')")
        copy = Running(Copy(pair.hosted, pair.own, [table], FINE))
        waits = "select count(*) from pg_locks where mode = 'ShareLock' and not granted"
        eventually(lambda: scalar(pair.hosted_admin, waits), "it does not wait for the lock")
        begun = time.monotonic()
        other.execute("insert into big.log values (0, 'other')")
        assert time.monotonic() - begun < 2.5
        long.commit()
        assert copy.join().rows == ROWS + 2

"""Rows are compared while others write, while connections break, and on after a kill."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.postgres.catalog import Table, quoted
from adapters.postgres.checksums import Span
from adapters.postgres.driver import Address, Connection, connect
from adapters.postgres.errors import Unavailable
from tests.contract.copied_tables import at_hosted, at_own, catalog, copy_over, create
from tests.contract.postgres_server import PASSWORD
from tests.contract.two_postgres import Pair, new_pair, two_servers
from validation.database.differences import Kind
from validation.database.looking import Looks
from validation.database.progress import COUNTS, Progress, resume, utc_now
from validation.database.rows import APPLICATION, Pace, Rows, compare
from validation.result import Verdict

pytestmark = pytest.mark.contract
# ruff: noqa: S608  the statements of these tests are put together from constants
ROWS = 20_000
_DEADLINE = 60.0


@pytest.fixture(scope="module")
def pairs() -> Iterator[Iterator[Pair]]:
    """New pairs of databases, as many as are wanted."""
    with two_servers() as (hosted, own):
        yield (new_pair(hosted, own) for _ in range(100))


@pytest.fixture
def pair(pairs: Iterator[Pair]) -> Pair:
    """With a table of which both sides hold the same rows."""
    made = next(pairs)
    create(made, "create schema live", "create table live.t (id bigint primary key, v text, n int)")
    at_hosted(
        made, f"insert into live.t select n, 'v', 0 from pg_catalog.generate_series(1, {ROWS}) n", "analyze live.t",
        "create table live.log (n bigint primary key, id bigint)",
    )  # fmt: skip
    at_own(made, "create table live.log (n bigint primary key, id bigint)")
    copy_over(made, "live")
    return made


class Applier:
    """Writes rows at the source, and carries each to the copy a moment later: a replication as small as can be."""

    def __init__(self, pair: Pair) -> None:
        self.failure: BaseException | None = None
        self._pair, self._stop, self._all_written = pair, threading.Event(), threading.Event()
        self._written, self._applied = 0, 0
        self._moved = threading.Condition()
        self._threads = [threading.Thread(target=self._guarded, args=(part,)) for part in (self._write, self._apply)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        writer, applier = self._threads
        self._stop.set()
        writer.join()  # first: it may be in the midst of a transaction that is still to be applied
        self._all_written.set()
        applier.join()
        assert self.failure is None, self.failure

    def settle(self) -> None:
        """Until all is applied that is written by now."""
        with self._moved:
            wanted = self._written
            if not self._moved.wait_for(lambda: self._applied >= wanted, _DEADLINE):
                raise TimeoutError("the copy does not catch up")

    def _guarded(self, part: object) -> None:
        try:
            assert callable(part)
            part()
        except BaseException as error:
            self.failure = error

    def _write(self) -> None:
        chance = random.Random(1)
        with connect(self._pair.hosted, "writer", autocommit=False) as source:
            while not self._stop.is_set():
                key = chance.randint(1, ROWS + 500)
                with source.transaction():
                    if chance.random() < 0.1:
                        source.execute("delete from live.t where id = %s", (key,))
                    else:
                        source.execute(
                            "insert into live.t values (%s, %s, 0) on conflict (id) do update set v = excluded.v",
                            (key, str(chance.random())),
                        )
                    source.execute("insert into live.log values (%s, %s)", (self._written + 1, key))
                with self._moved:
                    self._written += 1
                self._stop.wait(0.002)

    def _apply(self) -> None:
        with connect(self._pair.hosted, "applier") as source, connect(self._pair.own, "applier") as target:
            while not (self._all_written.is_set() and self._applied >= self._written):
                with self._moved:
                    upto = self._written
                for (key,) in source.execute(
                    "select distinct id from live.log where n > %s and n <= %s", (self._applied, upto)
                ).fetchall():
                    carry(source, target, key)
                with self._moved:
                    self._applied = upto
                    self._moved.notify_all()
                time.sleep(0.02)  # it is to be behind


def carry(source: Connection, target: Connection, key: int) -> None:
    """The row of that key, as it is now."""
    rows = source.execute("select id, v, n from live.t where id = %s", (key,)).fetchall()
    with target.transaction():
        target.execute("delete from live.t where id = %s", (key,))
        for row in rows:
            target.execute("insert into live.t values (%s, %s, %s)", row)


@contextmanager
def writing(pair: Pair) -> Iterator[Applier]:
    """While somebody writes, and the copy follows."""
    applier = Applier(pair)
    applier.start()
    try:
        yield applier
    finally:
        applier.stop()


def sides_of(pair: Pair) -> tuple[list[Table], list[Table]]:
    """The one table, as both catalogs have it."""
    a, b = ([table for table in catalog(side, "live") if table.name == "t"] for side in (pair.hosted, pair.own))
    return a, b


def compared(pair: Pair, looks: Looks, pace: Pace | None = None, own: Address | None = None) -> Rows:
    """The comparison of the one table."""
    return compare(pair.hosted, own or pair.own, *sides_of(pair), looks=looks, pace=pace or Pace(range_rows=5_000))


def test_a_copy_that_follows_its_source_is_the_same(pair: Pair) -> None:
    with writing(pair) as applier:
        for _ in range(3):
            found = compared(pair, Looks(settle=applier.settle))
            assert found.verdict is Verdict.HOLDS, found.report().to_json()
        exact = compared(pair, Looks(), Pace())
    assert exact.verdict is not Verdict.HOLDS  # or else nothing was behind, and the above proves little
    assert compared(pair, Looks()).verdict is Verdict.HOLDS


def test_one_row_that_differs_is_found_among_those_that_are_behind(pair: Pair) -> None:
    at_own(pair, f"insert into live.t values ({ROWS + 1000}, 'stray', 0)")
    at_hosted(pair, f"insert into live.t values ({ROWS + 1001}, 'lost', 0)")
    at_own(pair, "update live.t set n = 1 where id = (select min(id) from live.t)")
    with writing(pair) as applier:
        found = compared(pair, Looks(settle=applier.settle))
    kinds = sorted((difference.kind, difference.key["id"]) for difference in found.differences)
    assert (Kind.MISSING_AT_A, str(ROWS + 1000)) in kinds
    assert (Kind.MISSING_AT_B, str(ROWS + 1001)) in kinds
    assert {kind for kind, key in kinds if key not in (str(ROWS + 1000), str(ROWS + 1001))} <= {Kind.DIFFERENT}


def test_a_row_that_never_keeps_still_could_not_be_compared(pair: Pair) -> None:
    def settle() -> None:
        with connect(pair.hosted, "test") as source, connect(pair.own, "test") as target:
            carry(source, target, 7)
            source.execute("update live.t set n = n + 1 where id = 7")

    settle()
    found = compared(pair, Looks(settle=settle, most=5))
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert found.differences == ()
    assert "id = '7'" in found.tables[0].unknown[0]
    assert "5 looks" in found.tables[0].unknown[0]


def test_a_value_that_comes_back_is_another_version(pair: Pair) -> None:
    def settle() -> None:  # the copy always shows the value in between
        at_hosted(pair, "update live.t set n = 1 where id = 7")
        with connect(pair.hosted, "test") as source, connect(pair.own, "test") as target:
            carry(source, target, 7)
        at_hosted(pair, "update live.t set n = 0 where id = 7")

    settle()
    found = compared(pair, Looks(settle=settle))
    assert (found.verdict, found.differences) == (Verdict.COULD_NOT_CHECK, ())


def test_a_row_that_changes_only_while_it_is_looked_at_is_the_same(pair: Pair) -> None:
    looks = 0

    def settle() -> None:
        nonlocal looks
        looks += 1
        with connect(pair.hosted, "test") as source, connect(pair.own, "test") as target:
            carry(source, target, 7)
            if looks < 3:
                source.execute("update live.t set n = n + 1 where id = 7")

    at_hosted(pair, "update live.t set n = 5 where id = 7")
    assert compared(pair, Looks(settle=settle)).verdict is Verdict.HOLDS
    assert looks == 3


def test_a_copy_that_cannot_catch_up_is_no_difference(pair: Pair) -> None:
    def settle() -> None:
        raise Unavailable("the stream is down")

    at_own(pair, "update live.t set n = 1 where id = 7")
    found = compared(pair, Looks(settle=settle))
    assert (found.verdict, found.differences) == (Verdict.COULD_NOT_CHECK, ())
    assert "the stream is down" in found.tables[0].unknown[0]
    assert found.compared == ROWS - 5_000  # the other ranges were


def test_what_settling_cannot_explain_ends_the_comparison_at_once(
    pair: Pair, looked_at: list[tuple[str, Span]]
) -> None:
    def settle() -> None:
        raise ValueError("of another kind")

    at_own(pair, "update live.t set n = 1 where id = 7")
    with pytest.raises(ValueError, match="another kind"):
        compared(pair, Looks(settle=settle), Pace(connections=1, range_rows=1_000))
    assert len(looked_at) < 20
    with connect(pair.own, "test") as own:
        left = "select from pg_catalog.pg_stat_activity where application_name = %s"
        deadline = time.monotonic() + _DEADLINE
        while own.execute(left, (APPLICATION,)).fetchall():  # a server ends the session of a closed connection soon
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_connection_that_breaks_is_no_difference(pair: Pair) -> None:
    ended, sides = list[Rows](), sides_of(pair)
    with connect(pair.own, "test") as own, connect(pair.own, "lock", autocommit=False) as lock:
        lock.execute("lock table live.t in access exclusive mode")
        running = threading.Thread(target=lambda: ended.append(compare(pair.hosted, pair.own, *sides)))
        running.start()
        waiting = "from pg_catalog.pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"
        deadline = time.monotonic() + _DEADLINE
        while not own.execute(f"select pid {waiting}", (APPLICATION,)).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        own.execute(f"select pg_catalog.pg_terminate_backend(pid) {waiting}", (APPLICATION,))
        running.join()
    assert ended[0].verdict is Verdict.COULD_NOT_CHECK
    assert "terminating connection" in ended[0].tables[0].unknown[0]


def test_a_server_that_is_away_and_a_limit_that_is_over_are_no_difference(pair: Pair) -> None:
    away = compared(pair, Looks(), own=replace(pair.own, port=1))
    late = compared(pair, Looks(), Pace(seconds=0.0))
    for found in (away, late):
        assert (found.verdict, found.differences) == (Verdict.COULD_NOT_CHECK, ())
    assert "within 0 s" in late.tables[0].unknown[0]


def test_a_statement_does_not_outlast_the_limit(pair: Pair) -> None:
    sides = sides_of(pair)
    with connect(pair.own, "lock", autocommit=False) as lock:
        lock.execute("lock table live.t in access exclusive mode")
        found = compare(pair.hosted, pair.own, *sides, pace=Pace(seconds=0.5))
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert found.seconds < 10


PROGRAM = """
import sys
from pathlib import Path
from adapters.postgres.driver import Address
from tests.contract.copied_tables import catalog
from validation.database.rows import Pace, compare
from validation.database.progress import Progress

file, hosted, own = Path(sys.argv[1]), *(Address.parse(url) for url in sys.stdin.read().split())
sides = [[t for t in catalog(side, "live") if t.name == "t"] for side in (hosted, own)]

def save(progress):
    whole = file.with_suffix(".new")
    whole.write_text(progress.to_json())
    whole.replace(file)

pace, it = Pace(connections=1, range_rows=2_000, pause=0.3), Progress({"of": "it"})
compare(hosted, own, *sides, pace=pace, progress=it, save=save)
"""


def _url(address: Address) -> str:
    return f"postgresql://{address.user}:{PASSWORD}@{address.host}:{address.port}/{address.database}?sslmode=disable"


def test_a_killed_comparison_goes_on(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    urls = f"{_url(pair.hosted)} {_url(pair.own)}"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(file)], stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(urls)
        process.stdin.close()
        deadline = time.monotonic() + _DEADLINE
        while not file.exists() or len(_done(Progress.from_json(file.read_text()))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    before, _ = resume(file.read_text(), {"of": "it"}, utc_now(), COUNTS)
    done = _done(before)
    assert 3 <= len(done) < 10
    # What was the same is not read again: a change there is not seen, one elsewhere is.
    at_own(pair, f"update live.t set n = 1 where id in (5, {ROWS})")
    sides = sides_of(pair)
    saved: list[int] = []
    found = compare(pair.hosted, pair.own, *sides, progress=before, save=lambda p: saved.append(len(_done(p))))
    assert [difference.key for difference in found.differences] == [{"id": str(ROWS)}]
    assert found.compared == ROWS
    assert found.started == before.started < before.began
    assert saved == sorted(saved)
    assert len(done) < saved[-1] == 10  # of eleven: the last, without an end, differs
    again, _ = resume(file.read_text(), {"of": "another"}, utc_now(), COUNTS)
    assert again.tables == {}
    fresh = compare(pair.hosted, pair.own, *sides, progress=again)
    assert sorted(str(d.key["id"]) for d in fresh.differences) == sorted(["5", str(ROWS)])


def _done(progress: Progress) -> list[int]:
    return [part.rows for table in progress.tables.values() for part in table.parts if part.rows is not None]


def test_columns_that_changed_since_are_compared_anew(pair: Pair) -> None:
    progress = Progress({})
    sides = sides_of(pair)
    assert compare(pair.hosted, pair.own, *sides, progress=progress).verdict is Verdict.HOLDS
    create(pair, f"alter table live.t add column {quoted('new')} int default 1")
    at_own(pair, "update live.t set new = 2 where id = 7")
    sides = sides_of(pair)
    found = compare(pair.hosted, pair.own, *sides, progress=Progress.from_json(progress.to_json()))
    assert [change.column for difference in found.differences for change in difference.changes] == ["new"]


def test_it_stops_when_it_is_told_to_and_writes_nothing(pair: Pair) -> None:
    sides = sides_of(pair)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    pace = Pace(connections=1, range_rows=2_000)
    found = compare(pair.hosted, pair.own, *sides, pace=pace, stop=stop)
    assert (found.verdict, found.compared) == (Verdict.COULD_NOT_CHECK, 4_000)
    assert "stopped" in found.tables[0].unknown[0]

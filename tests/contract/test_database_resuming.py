"""A comparison of the database that is killed goes on: on real servers, with the carrier running, in runs that have
nothing but what the one before kept at the side that does not serve."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest

from adapters.postgres import asking, checksums, compared
from adapters.postgres.catalog import Column, Table
from adapters.postgres.checksums import Query, Span
from adapters.postgres.driver import Connection, connect
from adapters.postgres.side import Side
from contracts.stages import Stage
from cutover.context import StepFailed
from cutover.database import DatabaseSteps, resuming, work
from cutover.database.work import DatabaseWork
from cutover.plan import Step
from cutover.run import validate
from tests.contract.cut_off_comparisons import (
    NAME,
    RANGE_ROWS,
    ROWS,
    Run,
    carried,
    kept,
    killed_after,
    ranges_of,
    spoilt,
)
from tests.contract.database_world import TIMING, DatabaseWorld, as_client, asked, before, database_world
from tests.contract.pooler.bench import Killed, die
from tests.contract.postgres_server import PASSWORD, Postgres
from validation.database.progress import COUNTS
from validation.database.rows import Pace
from validation.verdicts import KeptVerdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]
# ruff: noqa: S608  the statements of these tests are put together from constants
RANGES = 9
"""Seven of a table, the last of which is empty and without an end; and two tables of one."""
_DEADLINE = 60.0


@pytest.fixture(scope="module")
def shadowed(servers: tuple[Postgres, Postgres]) -> Iterator[DatabaseWorld]:
    """Both sides with the same rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "WAL_SECONDS", 0.05)
        with database_world(*servers) as world:
            as_client(
                world,
                "create schema shop",
                "create table shop.item (id bigint primary key, v text not null)",
                f"insert into shop.item select n, 'value ' || n from generate_series(1, {ROWS}) n",
                "analyze shop.item",
                "create table shop.few (id bigint primary key)",
                "insert into shop.few values (1), (2)",
                "create table shop.none (id bigint primary key)",
            )
            world.reach(Stage.SHADOW)
            yield world


@pytest.fixture
def world(shadowed: DatabaseWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseWorld]:
    """Nothing is kept of another test; and in this one each range is kept at once."""
    monkeypatch.setattr(resuming, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(resuming, "_SHARE", 0)
    monkeypatch.setattr(asking, "WAL_SECONDS", 0.05)
    monkeypatch.setattr(work, "PACE", Pace(connections=1, range_rows=RANGE_ROWS))
    shadowed.lines.clear()
    yield shadowed
    carried(shadowed, "update shop.item set v = 'value ' || id where v <> 'value ' || id")
    with connect(shadowed.pair.own, "test") as own:
        own.execute("truncate crossover.compared")


@pytest.mark.parametrize("ranges", range(1, RANGES + 1))  # after the last: before it is forgotten that all was the same
def test_killed_after_any_range_it_goes_on_with_the_others(
    world: DatabaseWorld, looked_at: list[tuple[str, Span]], ranges: int
) -> None:
    killed_after(ranges, Run(world).compare)
    done, left = ranges_of(kept(world), done=True), ranges_of(kept(world), done=False)
    assert (len(done), len(left)) == (ranges, RANGES - ranges)
    before, after = spoilt(world, done), spoilt(world, left)
    looked_at.clear()
    run = Run(world)
    if after:
        assert run.differing() == after  # what was done is not looked at again
    else:
        assert f"{ROWS + 2} rows of 3 tables equal, the first as of " in run.compare()
        assert kept(world) is None
    assert sorted(looked_at, key=str) == sorted(left, key=str)
    assert f"going on with a comparison of {datetime.now(UTC):%Y}" in run.said
    assert f": {ranges} of {RANGES} ranges are done" in run.said
    assert Run(world, later=COUNTS + timedelta(minutes=1)).differing() == before | after


PROGRAM = """
import json, sys
from adapters.postgres.driver import Address
from adapters.routes.memory import MemoryAccess, MemoryLock, MemoryRegistry, MemoryRouteStore
from contracts.routes import Route
from contracts.stages import Component
from cutover.context import Context
from cutover.database import resuming, work
from cutover.timing import Timing
from validation.database.rows import Pace

told = json.loads(sys.stdin.read())
resuming.EVERY_SECONDS = resuming._SHARE = 0
work.PACE = Pace(connections=1, range_rows=told["range_rows"], pause=0.3)
route = Route.model_validate_json(told["route"])
store = MemoryRouteStore(route)
context = Context(Component.DATABASE, store, MemoryRegistry(), MemoryLock(), MemoryAccess(()), Timing(), "it", print)
context.read()
servers = {side: Address(**at) for side, at in told["servers"].items()}
work.DatabaseWork(context, servers, work.Moving(role=told["role"])).compare(told["name"])
"""


@pytest.mark.parametrize("ranges", [1, 4])
def test_a_process_that_is_killed_is_gone_on_with(
    world: DatabaseWorld, looked_at: list[tuple[str, Span]], ranges: int
) -> None:
    servers = {
        side: {
            "host": at.host, "port": at.port, "database": at.database, "user": at.user, "password": PASSWORD,
            "sslmode": "disable",
        }
        for side, at in world.servers.items()
    }  # fmt: skip
    told = {
        "servers": servers, "route": world.route.model_dump_json(), "role": world.moving.role, "name": NAME,
        "range_rows": RANGE_ROWS,
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(told))
        process.stdin.close()
        deadline = time.monotonic() + _DEADLINE
        while (found := kept(world)) is None or found.done[0] < ranges:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    done, left = ranges_of(kept(world), done=True), ranges_of(kept(world), done=False)
    assert ranges <= len(done) < RANGES
    after = spoilt(world, left)
    looked_at.clear()
    run = Run(world)
    assert run.differing() == after != set()
    assert sorted(looked_at, key=str) == sorted(left, key=str)
    assert f"{len(done)} of {RANGES} ranges are done" in run.said


def another_epoch(world: DatabaseWorld) -> Run:
    return Run(world, route=world.route.model_copy(update={"epoch": world.route.epoch + 1}))


def masked(world: DatabaseWorld) -> Run:
    return Run(world, mask="shop.item.v")


def copied_anew(world: DatabaseWorld) -> Run:
    carried(
        world, "update crossover.chunk set done = now() where relation = (select min(relation) from crossover.chunk)"
    )
    return Run(world)


def migrated(world: DatabaseWorld) -> Run:
    for side in world.servers:
        with connect(world.servers[side], "test") as connection:
            connection.execute("alter table shop.few add constraint positive check (id > 0)")
    return Run(world)


def old(world: DatabaseWorld) -> Run:
    return Run(world, later=COUNTS + timedelta(minutes=1))


def of_another_version(world: DatabaseWorld) -> Run:
    with connect(world.pair.own, "test") as own:
        own.execute("""update crossover.compared set state = '{"version": 1}'""")
    return Run(world)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (another_epoch, "since then another: epoch"), (masked, "since then another: masks"),
        (copied_anew, "since then another: copy at selfhosted"), (migrated, "since then another: definitions"),
        (old, "nothing of it is younger than 2 h"), (of_another_version, "a comparison's state of version 1, not 2"),
    ],
)  # fmt: skip
def test_what_was_seen_in_another_state_of_things_does_not_count(
    world: DatabaseWorld, looked_at: list[tuple[str, Span]], change: Callable[[DatabaseWorld], Run], told: str
) -> None:
    killed_after(3, Run(world).compare)
    before = spoilt(world, ranges_of(kept(world), done=True))
    run = change(world)
    looked_at.clear()
    assert run.differing() == before
    assert told in run.said and "going on" not in run.said
    assert len(looked_at) == RANGES


def test_where_the_stream_stands_still_what_was_the_same_does_not_count(world: DatabaseWorld) -> None:
    killed_after(RANGES, Run(world).compare)
    run = Run(world)
    run.context.timing = replace(TIMING, drain=0.5)
    with connect(world.pair.own, "lock", autocommit=False) as lock:
        lock.execute("lock table crossover.mark in access exclusive mode")
        with pytest.raises(StepFailed, match="the stream stands still"):
            run.compare()
    assert "equal" in Run(world).compare()


def test_a_comparison_of_another_name_is_not_gone_on_with(
    world: DatabaseWorld, looked_at: list[tuple[str, Span]]
) -> None:
    killed_after(3, Run(world).compare)
    looked_at.clear()
    run = Run(world)
    run.compare("shadow -> scale")
    assert (len(looked_at), run.said) == (RANGES, "")
    assert kept(world) is not None and kept(world, "shadow -> scale") is None


def test_a_server_is_told_by_its_system_its_timeline_and_its_database(world: DatabaseWorld) -> None:
    with connect(world.pair.hosted, "test") as hosted, connect(world.pair.own, "test") as own:
        told = [compared.server(Side(*pair)) for pair in ((hosted, world.pair.hosted), (own, world.pair.own))]
        again = compared.server(Side(hosted, world.pair.hosted))
    assert told[0] != told[1] and told[0] == again
    system, timeline, oid, name = told[0].split()
    assert system.isdigit() and timeline == "00000001" and oid.isdigit() and name == world.pair.hosted.database


def in_spite_of_that(world: DatabaseWorld, own: Connection, mend: LiteralString) -> Run:
    """A run that ends well, whatever was done to our own side, which is mended behind it."""
    run = Run(world)
    try:
        assert "rows of 3 tables equal" in run.compare()
    finally:
        own.execute(mend)
    return run


def test_where_it_cannot_be_kept_that_is_said_and_the_comparison_goes_on(world: DatabaseWorld) -> None:
    with connect(world.pair.own, "test") as own:
        own.execute(
            "create function public.refuse() returns trigger language plpgsql as $$ begin raise 'disk full'; end $$"
        )
        own.execute("create trigger refuse before insert on crossover.compared execute function public.refuse()")
        run = in_spite_of_that(world, own, "drop function public.refuse() cascade")
        assert run.said.count("could not be kept") == 1 and "disk full" in run.said  # and not at every range
        own.execute("drop table crossover.compared")
        own.execute("create view crossover.compared as select 1")
        run = in_spite_of_that(world, own, "drop view crossover.compared")
        assert "begins anew" in run.said
        assert "rows of 3 tables equal" in Run(world).compare()  # it makes the table where it is missing
        assert own.execute("select pg_catalog.count(*) from crossover.compared").fetchall() == [(0,)]


def test_what_is_kept_is_neither_published_nor_compared_nor_carried(world: DatabaseWorld) -> None:
    killed_after(2, Run(world).compare)
    assert {name for name, _ in ranges_of(kept(world), done=True) + ranges_of(kept(world), done=False)} == {
        "shop.item", "shop.few", "shop.none",
    }  # fmt: skip
    assert asked(world, "hosted", "select count(*) from crossover.compared") == [(0,)]
    for side in world.servers:
        published = asked(world, side, "select tablename from pg_publication_tables where schemaname = 'crossover'")
        assert {name for (name,) in published} == {"mark", "heartbeat"}
    run = Run(world)
    made = DatabaseWork(run.context, world.servers, world.moving)
    try:
        made.await_beat("selfhosted", 10.0)  # it is no stray
    finally:
        made.close()


def test_a_stopped_run_keeps_what_it_found_and_a_check_is_as_old_as_what_it_went_on_with(world: DatabaseWorld) -> None:
    first = Run(world)
    real, asked_for = checksums.digest, 0

    def digest(table: Table, span: Span, ranged: tuple[Column, ...]) -> Query:
        nonlocal asked_for
        asked_for += 1
        if asked_for == 4:
            first.context.stopped.set()
        return real(table, span, ranged)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "digest", digest)
        patch.setattr(resuming, "EVERY_SECONDS", 3600.0)
        with pytest.raises(Exception, match="asked to stop"):
            first.compare()
    found = kept(world)
    assert found is not None and found.done == (4, RANGES)
    run = Run(world, later=timedelta(hours=1))
    steps = DatabaseSteps(run.context, world.servers, world.moving)
    try:
        outcome = validate(run.context, steps)
    finally:
        steps.close()
    assert outcome.reached, outcome.message
    assert f"4 of {RANGES} ranges are done" in run.said
    verdict = KeptVerdict.read(run.context.route.verdict)
    assert verdict is not None and verdict.at == found.started
    assert kept(world) is None


def test_the_gate_of_a_switch_goes_on_where_the_run_before_was_killed(
    world: DatabaseWorld, looked_at: list[tuple[str, Span]]
) -> None:
    killed_after(5, lambda: world.migrate(Stage.SCALE))
    found = kept(world, "shadow -> scale")
    assert found is not None and found.done == (5, RANGES)
    looked_at.clear()
    with pytest.raises(Killed):
        world.migrate(Stage.SCALE, before(Step.FENCE, die))
    assert sorted(looked_at, key=str) == sorted(ranges_of(found, done=False), key=str)
    assert f"5 of {RANGES} ranges are done" in "\n".join(world.lines)
    verdict = KeptVerdict.read(world.route.verdict)
    assert verdict is not None and (verdict.at, verdict.ahead_of) == (found.started, "shadow -> scale")
    assert kept(world, "shadow -> scale") is None and world.serves() == "hosted"

"""What goes wrong under way, each thing in a whole run on real servers: traffic stays, the reason is named, and the way
that the documents give leads on."""

# ruff: noqa: S608 - the tests' own names

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.postgres import bookkeeping, slots
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import connect
from adapters.postgres.stream import Stream
from contracts.stages import Component, Stage
from cutover.database import work
from cutover.plan import Step
from cutover.tables import TABLES
from tests.contract.database_world import (
    Bank,
    DatabaseWorld,
    as_client,
    asked,
    before,
    database_servers,
    database_world,
    dropped,
)
from tests.contract.mortal_database import Mortal, fill_up, small_disk
from tests.contract.moved_databases import TYPES
from tests.contract.pooler.bench import Killed, die, until
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.usefixtures("quick")]


def drop_slot(world: DatabaseWorld, side: str) -> None:
    """As an administrator who needs the disk."""
    with connect(world.servers[side], "test") as connection:

        def gone() -> bool:
            found = slots.slot_state(connection, slot_name(side))
            if found is not None and found.reader is not None:
                connection.execute("select pg_terminate_backend(%s, 1000)", (found.reader,))
            return dropped(connection, slot_name(side))

        until(gone, "it is dropped")


def test_a_slot_that_is_dropped_is_named_and_there_is_a_way_on(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    drop_slot(world, "hosted")
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "hosted: slot does not hold" in outcome.message, outcome.message
    assert (world.route.stage, world.serves()) == (Stage.SHADOW, "hosted")
    world.reach(Stage.MVP)
    world.reach(Stage.SCALE)  # all is copied anew
    drop_slot(world, "selfhosted")  # the way back
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.verdict == "does not hold" and "selfhosted: slot does not hold" in outcome.message, outcome.message
    assert (world.route.stage, world.serves()) == (Stage.SCALE, "selfhosted")
    bank.go_on()
    # Nothing but the way on is left; killed at each of its steps.
    for step in TABLES[Component.DATABASE].rows[Stage.SCALE, Stage.COMPLETE]:
        with pytest.raises(Killed):
            world.migrate(Stage.COMPLETE, before(step, die))
    world.reach(Stage.COMPLETE)
    with connect(world.servers["hosted"], "test") as hosted:
        hosted.execute("truncate bank.transfer, bank.account")
    for step in TABLES[Component.DATABASE].rows[Stage.COMPLETE, Stage.SCALE]:
        with pytest.raises(Killed):
            world.migrate(Stage.SCALE, before(step, die))
    world.reach(Stage.SCALE)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_a_disk_of_our_side_that_is_full_stops_the_copy_and_the_stream_and_no_client(tmp_path: Path) -> None:
    with database_servers() as (hosted, own), small_disk(own) as disk, database_world(hosted, own, Mortal) as world:
        bank = Bank(world, tmp_path)
        as_client(world, "create table bank.long (id int primary key, t text)")
        as_client(world, "alter table bank.long alter t set storage external")
        rows = "insert into bank.long select g, repeat('x', 10000) from generate_series({}, {}) g"
        as_client(world, rows.format(1, 3000))
        fillers: list[Path] = []
        outcome = world.migrate(Stage.SHADOW, before(Step.COPY, lambda: fillers.append(fill_up(disk))))
        assert (outcome.verdict, world.serves()) == ("could not be checked", "hosted"), outcome.message
        bank.go_on()
        fillers.pop().unlink()
        own.stop()  # it may have ended by itself
        own.start()
        world.reach(Stage.SHADOW)
        filler = fill_up(disk)
        as_client(world, rows.format(3001, 6000))
        outcome = world.migrate(Stage.SCALE)
        assert not outcome.reached and (world.route.stage, world.serves()) == (Stage.SHADOW, "hosted")
        bank.go_on()
        filler.unlink()
        own.stop()
        own.start()
        until(lambda: asked(world, "selfhosted", "select count(*) from bank.long") == [(6000,)], "it is followed", 60)
        world.reach(Stage.SCALE)
        report = bank.judged()
        assert report.overall() is Verdict.HOLDS, report.failures()


def test_what_is_in_the_way_of_a_pause_is_named_and_left_as_it_is(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    with connect(world.client, "slow-report", autocommit=False, session={}) as client:
        client.execute("select count(*) as report from bank.account where number::text <> 'secret'")
        outcome = world.migrate(Stage.SCALE)
        for part in ("did not acknowledge epoch", "pid ", "slow-report", "as report"):
            assert part in outcome.message, outcome.message
        assert "secret" not in outcome.message
        assert (world.route.fence, world.serves()) == (None, "hosted")
    bank.go_on()
    operator = world.bouncer.console()
    operator.run("PAUSE")
    outcome = world.migrate(Stage.SCALE)
    assert "paused by somebody else" in outcome.message, outcome.message
    until(lambda: world.board.record.status["state"] == "paused by somebody else", "it is not resumed for him")
    assert world.route.fence is None
    operator.run("RESUME")
    operator.close()
    bank.go_on()
    world.reach(Stage.SCALE)
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_definitions_that_change_in_the_midst_of_a_copy_stop_it(world: DatabaseWorld) -> None:
    as_client(world, "create schema bank", "create table bank.t (id int primary key)", "insert into bank.t values (1)")
    outcome = world.migrate(
        Stage.SHADOW, before(Step.COPY, lambda: as_client(world, "alter table bank.t add column note text default 'x'"))
    )
    assert not outcome.reached and "bank.t" in outcome.message and "note" in outcome.message, outcome.message
    assert (world.route.stage, world.serves()) == (Stage.MVP, "hosted")
    world.reach(Stage.MVP)
    world.reach(Stage.SHADOW)
    assert asked(world, "selfhosted", "select * from bank.t") == [(1, "x")]


NAMES = (
    'create schema "Größe ""x"" select"',
    'create table "Größe ""x"" select"."order" ("from" int primary key, "ÄÖ"" -- x 💱" text, "100%s {x} $1" text)',
    """insert into "Größe ""x"" select"."order" values (1, 'it''s', 'b'), (2, null, '$$')""",
)
ODD = '"Größe ""x"" select"."order"'


def test_rows_and_names_of_every_kind_are_copied_followed_and_go_back(world: DatabaseWorld) -> None:
    as_client(world, *TYPES, *NAMES)
    columns = asked(
        world,
        "hosted",
        "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute where not attisdropped"
        " and attrelid = 'kinds.every'::regclass and attnum > 0 and attidentity = '' and attgenerated = ''",
    )[0][0]

    def change(number: int) -> None:
        as_client(
            world,
            f"insert into kinds.every ({columns}) select {columns} from kinds.every where id <= 3",
            "update kinds.every set mid = mid + 1, raw = raw || '\\x00', jb = '{\"ü\": [null]}' where id <= 3",
            "delete from kinds.every where id = (select max(id) from kinds.every)",
            f"insert into {ODD} values ({number}, '%s', null)",
            f"""update {ODD} set "from" = "from" + 100, "ÄÖ"" -- x 💱" = '💱' where "from" = 2 or "from" = 102""",
        )

    world.reach(Stage.SHADOW)
    change(11)
    world.reach(Stage.SCALE)
    change(12)
    world.reach(Stage.SHADOW)
    for table in ("kinds.every", "kinds.plain", ODD):
        query = f"select count(*), md5(string_agg(t::text, '|' order by t::text)) from {table} t"
        assert asked(world, "hosted", query) == asked(world, "selfhosted", query), table
    assert asked(world, "hosted", f'select "from" from {ODD} order by 1') == [(1,), (11,), (12,), (202,)]


def test_a_copy_waits_for_a_source_whose_standby_or_clients_suffer(
    world: DatabaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_client(world, "create schema bank", "create table bank.t (id int primary key)")
    world.reach(Stage.MVP)
    context = world.context()
    context.read()
    steps = world.steps(context)
    pressure = steps._work.pressure
    assert pressure() == ""
    monkeypatch.setattr(work, "_FREE_SHARE", 1.0)
    assert "connections of hosted are free" in pressure()
    monkeypatch.setattr(work, "_FREE_SHARE", 0.1)
    monkeypatch.setattr(work, "_BEHIND_BYTES", 1 << 20)
    with connect(world.servers["hosted"], "test") as hosted:
        bookkeeping.ensure(hosted)
        slots.publish(hosted, [])
        slots.ensure_slot(hosted, "somebodys_standby")
        stream = Stream(world.servers["hosted"], "somebodys_standby", bookkeeping.PUBLICATION, application="standby")
        try:
            stream.read(0.1)
            stream.confirm(stream.confirmed + 1)
            hosted.execute("select pg_logical_emit_message(false, '', repeat('x', 2000000))")
            until(lambda: "a standby of hosted is" in pressure(), "it is seen to be behind")
        finally:
            stream.close()
            until(lambda: dropped(hosted, "somebodys_standby"), "its slot is free")
    assert pressure() == ""
    steps.close()

"""Definitions under way: tables that are new at the serving side are added, those of a hosted side that has none are
made there, and what cannot be is named; on real servers, while clients write."""

# ruff: noqa: S608 - the tests' own names and numbers

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import adding, slots
from adapters.postgres.driver import connect, psycopg
from contracts.stages import Stage
from cutover.database.defining import Defining
from tests.contract.database_world import Bank, DatabaseWorld, as_client, asked
from tests.contract.pooler.bench import Killed
from tests.contract.two_postgres import OWN_ROLE
from validation.result import Verdict

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.usefixtures("quick")]


def later(name: str) -> tuple[str, ...]:
    """A table with rows that are there before anybody follows it."""
    return (
        f"create table bank.{name} (id bigint generated always as identity primary key, account int, n int default 0, "
        "twice int generated always as (n * 2) stored)",
        f"create index {name}_n on bank.{name} (n)",
        f"insert into bank.{name} (account) select g from generate_series(1, 300) g",
    )


@contextmanager
def writing(world: DatabaseWorld, table: str) -> Iterator[None]:
    """A client that writes to all kinds of its rows meanwhile."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            with connect(world.client, "test", session={}) as client:
                while not stop.wait(0.01):
                    number += 1
                    client.execute(f"update bank.{table} set n = n + 1 where id = {number % 300}".encode())
                    client.execute(f"insert into bank.{table} (account) values ({number})".encode())
                    client.execute(f"delete from bank.{table} where id = {number * 3}".encode())
        except BaseException as error:  # told by whom waits
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not failed, failed


EFFECTS: tuple[tuple[Any, str], ...] = (
    (Defining, "keys"), (slots, "publish"), (adding, "copy"), (Defining, "rest"),
)  # fmt: skip
"""Of adding a table, in their order."""


@contextmanager
def killed_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Iterator[None]:
    """A run in the block dies once `name` was done."""
    real = getattr(owner, name)

    def dies(*given: Any, **named: Any) -> None:
        real(*given, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dies)
        with pytest.raises(Killed):
            yield


def test_a_table_that_is_new_at_the_serving_side_is_added_while_clients_write_to_it(
    world: DatabaseWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(world, tmp_path)
    world.reach(Stage.SHADOW)
    as_client(world, *later("shadowed"))
    with writing(world, "shadowed"):
        for owner, name in EFFECTS:
            with killed_after(monkeypatch, owner, name):
                world.migrate(Stage.SHADOW)
        outcome = world.migrate(Stage.SHADOW)
        assert outcome.reached and [record.step for record in outcome.records] == ["add_tables"], outcome.message
    world.reach(Stage.SCALE)  # its comparison reads each row at both sides
    assert world.serves() == "selfhosted"
    as_client(world, *later("scaled"))
    with writing(world, "scaled"):
        outcome = world.migrate(Stage.SCALE)
        assert outcome.reached and outcome.records[0].step == "add_tables", outcome.message
    world.reach(Stage.SHADOW)
    whose = "select relowner::regrole::text from pg_class where oid = 'bank.scaled'::regclass"
    assert asked(world, "hosted", whose) == [(OWN_ROLE,)]
    assert asked(world, "hosted", "select count(*) from pg_indexes where indexname = 'scaled_n'") == [(1,)]
    assert world.migrate(Stage.SHADOW).records == []
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def test_what_cannot_be_added_is_named_and_a_table_that_is_gone_at_one_side_too(world: DatabaseWorld) -> None:
    as_client(world, "create schema bank", "create table bank.kept (id int primary key)")
    as_client(world, "create table bank.gone (id int primary key)")
    world.reach(Stage.SHADOW)
    as_client(world, "create table bank.bare (id int)")
    outcome = world.migrate(Stage.SHADOW)
    assert outcome.verdict == "does not hold" and "bank.bare" in outcome.message
    assert 'ALTER TABLE "bank"."bare" ADD PRIMARY KEY' in outcome.message
    as_client(world, "alter table bank.bare add primary key (id)")
    world.reach(Stage.SHADOW)
    as_client(world, "drop table bank.gone")
    outcome = world.migrate(Stage.SCALE)
    assert outcome.verdict == "does not hold" and "bank.gone" in outcome.message, outcome.message
    with connect(world.servers["selfhosted"], "test") as own:
        own.execute("drop table bank.gone")
    world.reach(Stage.SCALE)


def test_a_hosted_side_that_has_nothing_is_filled_from_ours(world: DatabaseWorld, tmp_path: Path) -> None:
    bank = Bank(world, tmp_path)
    extension = _extension(world)
    as_client(world, *later("kinds"), f"create table bank.mails (mail {extension} primary key)")
    as_client(world, "create view bank.totals as select account, sum(n) as n from bank.kinds group by 1")
    as_client(world, "grant select on bank.kinds to public", "insert into bank.mails values ('a@b')")
    world.reach(Stage.COMPLETE)
    with connect(world.servers["hosted"], "test") as hosted:
        hosted.execute("drop schema bank, crossover cascade")  # another server, as good as new
        if extension != "text":
            hosted.execute("drop extension citext")
    world.reach(Stage.SCALE)
    world.reach(Stage.SHADOW)
    assert world.serves() == "hosted"
    query = "select distinct relowner::regrole::text from pg_class where relnamespace = 'bank'::regnamespace"
    assert asked(world, "hosted", query) == [(OWN_ROLE,)]
    assert asked(world, "hosted", "select count(*) from pg_indexes where indexname = 'kinds_n'") == [(1,)]
    report = bank.judged()
    assert report.overall() is Verdict.HOLDS, report.failures()


def _extension(world: DatabaseWorld) -> str:
    """A type of an extension, where these servers have one."""
    try:
        with connect(world.servers["hosted"], "test") as hosted:
            hosted.execute("create extension citext schema public")
    except psycopg.errors.FeatureNotSupported:
        return "text"
    return "public.citext"

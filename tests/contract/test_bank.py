"""The bank under load on a real Postgres: what it acknowledges is there, and one changed row is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres.driver import connect
from adapters.postgres.transfers import balances, transfers
from tests.contract.two_postgres import Pair, new_pair, two_servers
from validation.bank.account import Book, Fate, read
from validation.bank.judging import Found, judge
from validation.bank.load import Load, Schedule
from validation.result import Report, Verdict

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with two_servers() as (hosted, own):
        yield new_pair(hosted, own)


def judged(pair: Pair, path: Path) -> Report:
    with connect(pair.hosted, "test") as connection:
        found = Found.read(transfers(connection, "run"), balances(connection))
    return judge(list(read(path)), found, min_rate=50)


def test_what_was_acknowledged_is_there_and_what_is_taken_away_is_missed(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl"
    book, lines = Book(path), list[str]()
    load = Load(pair.hosted, "run", Schedule(rate=100, seconds=2, clients=4), book, lines.append)
    load.prepare()
    load.prepare()
    fates = load.run(lambda: False)
    book.close()
    assert set(fates) == {Fate.ACKNOWLEDGED} and fates[Fate.ACKNOWLEDGED] > 150
    report = judged(pair, path)
    assert report.overall() is Verdict.HOLDS, report.failures()
    assert "acknowledged" in lines[-1]
    with connect(pair.hosted, "test") as connection:
        connection.execute("update bank.account set balance = balance + 1 where number = 7")
    assert {check.name for check in judged(pair, path).failures()} == {"balances", "total"}
    with connect(pair.hosted, "test") as connection:
        connection.execute("update bank.account set balance = balance - 1 where number = 7")
        connection.execute("delete from bank.transfer where id = (select min(id::text)::uuid from bank.transfer)")
    assert {check.name for check in judged(pair, path).failures()} == {"nothing lost", "balances"}
    with connect(pair.hosted, "test") as connection:
        connection.execute("alter table bank.transfer drop constraint transfer_pkey")
        connection.execute("insert into bank.transfer select * from bank.transfer order by id limit 1")
    report = judged(pair, path)
    assert {check.name for check in report.failures()} == {"nothing lost", "nothing doubled", "balances"}
    assert report.figures["doubled"] == 1


def test_a_refused_transfer_is_told_and_the_next_goes_on(pair: Pair, tmp_path: Path) -> None:
    book = Book(tmp_path / "bank.jsonl")
    with connect(pair.hosted, "test") as connection:
        connection.execute("alter table bank.transfer add constraint small check (amount < 5000) not valid")
    fates = Load(pair.hosted, "refused", Schedule(rate=100, seconds=1), book, lambda _: None).run(lambda: False)
    book.close()
    assert fates[Fate.FAILED] > 10 and fates[Fate.ACKNOWLEDGED] > 10 and Fate.UNKNOWN not in fates
    assert any("small" in one.error for one in read(tmp_path / "bank.jsonl"))

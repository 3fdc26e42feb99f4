"""What is said of a run of transfers: everything that a move could do to them is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapters.postgres.transfers import INITIAL, Money
from validation.bank.account import Book, Fate, Transfer, read
from validation.bank.judging import Found, judge, judge_window
from validation.ledger import Window
from validation.result import Verdict

MS = 1_000_000


def transfers(count: int = 100) -> list[Transfer]:
    return [
        Transfer(f"id-{n}", n, n + 1, 5, n * 10 * MS, n * 10 * MS + 2 * MS, Fate.ACKNOWLEDGED) for n in range(count)
    ]


def there(noted: list[Transfer]) -> Found:
    return Found({one.id: Money(one.id, one.source, one.target, one.amount) for one in noted}, 10, 10 * INITIAL, 0)


def failing(noted: list[Transfer], found: Found) -> set[str]:
    return {check.name for check in judge(noted, found, min_rate=50).failures()}


def test_a_run_that_is_there_as_it_was_sent_holds() -> None:
    report = judge(transfers(), there(transfers()), min_rate=50, max_stall_ms=5)
    assert report.overall() is Verdict.HOLDS
    assert report.figures["acknowledged"] == 100
    assert report.figures["stall_ms_max"] == pytest.approx(2)


def test_each_thing_that_a_move_could_do_is_seen() -> None:
    noted, found = transfers(), there(transfers())
    first = noted[0]
    without = {name: money for name, money in found.transfers.items() if name != first.id}
    other = {**found.transfers, first.id: Money(first.id, first.source, first.target, first.amount + 1)}
    more = {**found.transfers, "nobody": Money("nobody", 1, 2, 3)}
    assert failing(noted, replace(found, transfers=without)) == {"nothing lost"}
    assert failing(noted, replace(found, transfers=other)) == {"nothing changed"}
    assert failing(noted, replace(found, transfers=more)) == {"nothing made up"}
    assert failing(noted, replace(found, doubled=frozenset({first.id}))) == {"nothing doubled"}
    assert failing(noted, replace(found, wrong_balances=1)) == {"balances"}
    assert failing(noted, replace(found, total=found.total - 1)) == {"total"}


def test_an_error_is_an_error_whether_or_not_it_took_effect() -> None:
    noted = transfers()
    for fate in (Fate.FAILED, Fate.UNKNOWN):
        with_error = [replace(noted[0], fate=fate, error="server closed the connection"), *noted[1:]]
        report = judge(with_error, there(noted), min_rate=50)
        told = {check.name: check for check in report.failures()}
        assert told["no statement failed"].detail == "server closed the connection"
        assert ("nothing made up" in told) == (fate is Fate.FAILED)  # it was said not to have happened, and is there


def test_a_run_without_transfers_or_with_too_few_proves_nothing() -> None:
    assert judge([], Found({}, 0, 0, 0), min_rate=50).overall() is not Verdict.HOLDS
    assert failing(transfers(3), there(transfers(3))) == set()
    assert {check.name for check in judge(transfers(), there(transfers()), min_rate=500).failures()} == {"load"}


def test_a_window_is_judged_by_what_was_due_in_it() -> None:
    noted = transfers()
    noted[50] = replace(noted[50], ended=noted[50].due + 700 * MS)
    found = there(noted)
    calm = judge_window("calm", noted, found, Window(0, 499 * MS), min_rate=50, max_stall_ms=500)
    stalled = judge_window("stalled", noted, found, Window(500 * MS, 1000 * MS), min_rate=50, max_stall_ms=500)
    assert calm.overall() is Verdict.HOLDS
    assert [check.name for check in stalled.failures()] == ["stall"]
    assert stalled.figures["stall_ms_max"] == pytest.approx(700)


def test_what_is_written_down_is_read_again_without_a_line_that_was_cut_off(tmp_path: Path) -> None:
    book = Book(tmp_path / "bank.jsonl")
    for one in transfers(3):
        book.note(one)
    book.close()
    with (tmp_path / "bank.jsonl").open("a") as file:
        file.write('["id-9", 1')
    assert list(read(tmp_path / "bank.jsonl")) == transfers(3)

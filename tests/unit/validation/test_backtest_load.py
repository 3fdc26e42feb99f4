"""What is said of a load of backtests: everything that a switch could do to a run is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import override

import pytest
from typer.testing import CliRunner

from adapters.backtesting.jobs import Job, JobRefused, JobsUnavailable
from adapters.backtesting.memory_jobs import MemoryJobs
from contracts.backtests import BacktestAsked, Divergence, Result
from contracts.names import ENV_BACKTESTING_URL
from tests.unit.cutover.backtest_world import result
from validation.backtest_load.__main__ import app
from validation.backtest_load.account import Account, Asked, Book, Fate, read
from validation.backtest_load.judging import judge, judge_window
from validation.backtest_load.load import Load, Schedule, wanted
from validation.ledger import Window
from validation.result import Report, Verdict

SECOND = 10**9
LEGS = {"sma_cross": 1, "buy_and_hold": 1, "pair_reversion": 2}
SYMBOLS = ("SP500", "NASDAQ")
RUN = "abc123"


def run(number: int, engine: str = "vectorbt") -> Asked:
    began = number * SECOND
    return Asked(
        number=number, due=began, began=began, answered=began + 10**6, id=f"{number:032x}", engine=engine,
        fate=Fate.DONE, ended_by=engine, seconds=0.5, compared=True,
    )  # fmt: skip


RUNS = [run(number, "vectorbt" if number < 6 else "nautilus") for number in range(10)]


def judged(runs: list[Asked], *, closed: bool = True, min_rate: float = 0.9) -> Report:
    return judge(Account(tuple(runs), closed), min_rate)


def failed(report: Report) -> list[str]:
    return [check.name for check in report.checks if check.outcome is not Verdict.HOLDS]


def test_runs_that_ended_where_they_began_hold() -> None:
    report = judged(RUNS)
    assert report.overall() is Verdict.HOLDS
    wanted_figures = {
        "acknowledged": 10.0, "acknowledged_vectorbt": 6.0, "acknowledged_nautilus": 4.0, "lost": 0.0, "compared": 10.0,
        "caller_errors": 0.0, "run_ms_p95": 500.0, "answer_ms_max": 1.0,
    }  # fmt: skip
    assert wanted_figures.items() <= report.figures.items()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"fate": Fate.ACCEPTED}, ["nothing lost"]),
        ({"fate": Fate.FAILED, "error": "cancelled"}, ["nothing lost"]),
        ({"fate": Fate.REFUSED, "error": "503", "id": "", "compared": False}, ["nothing refused"]),
        ({"doubled": "f" * 32}, ["nothing doubled"]),
        ({"untrue": "final equity: 3"}, ["nothing changed"]),
        ({"differs": "order 1: price 10 and 10.01"}, ["nothing changed", "both engines agree"]),
        ({"ended_by": "vectorbt"}, ["nothing moved"]),
    ],
)
def test_what_a_switch_could_do_to_a_run_is_seen(change: Mapping[str, object], names: list[str]) -> None:
    runs = [*RUNS[:-1], replace(RUNS[-1], **change)]  # type: ignore[arg-type]
    assert failed(judged(runs)) == names


def test_a_load_that_was_cut_off_or_too_small_or_never_compared_proves_nothing() -> None:
    assert failed(judged(RUNS, closed=False)) == ["the load ended"]
    assert failed(judged(RUNS, min_rate=2.0)) == ["load"]
    assert failed(judged([replace(one, compared=False) for one in RUNS])) == ["both engines agree"]
    assert judged([]).overall() is not Verdict.HOLDS


def test_a_window_holds_what_was_asked_for_in_it() -> None:
    runs = [*RUNS[:-1], replace(RUNS[-1], fate=Fate.FAILED)]
    account = Account(tuple(runs), closed=True)
    assert judge_window("a", account, Window(0, 9 * SECOND), 0.9).overall() is Verdict.HOLDS
    assert failed(judge_window("b", account, Window(5 * SECOND, 10 * SECOND), 0.9)) == ["nothing lost"]


def test_what_was_written_down_is_read_and_a_torn_line_passed_over(tmp_path: Path) -> None:
    book = Book(tmp_path / "a" / "b")
    for one in RUNS:
        book.note(replace(one, fate=Fate.ACCEPTED))
        book.note(one)
    assert read(tmp_path / "a" / "b") == Account(tuple(RUNS), closed=False)
    book.close()
    with (tmp_path / "a" / "b").open("a") as file:
        file.write('[0, 1, "torn')
    assert read(tmp_path / "a" / "b") == Account(tuple(RUNS), closed=True)


def test_each_run_is_one_of_its_own_and_all_strategies_and_symbols_are_asked_for() -> None:
    made = [wanted(RUN, number, LEGS, SYMBOLS) for number in range(12)]
    assert len({one.identity("vectorbt", ["a"]) for one in made}) == 12
    assert {(one.strategy, one.symbol) for one in made} == {(s, symbol) for s in LEGS for symbol in SYMBOLS}
    assert {one.against for one in made if one.strategy == "pair_reversion"} == set(SYMBOLS)
    assert {wanted(RUN, number, LEGS, SYMBOLS[:1]).strategy for number in range(9)} == {"sma_cross", "buy_and_hold"}


class Service(MemoryJobs):
    """Does every run at once; `faults` by number of a submission, `wrong` results by the same."""

    def __init__(self, faults: Mapping[int, Exception]) -> None:
        super().__init__(self._made, LEGS, SYMBOLS, {"memory"}, "memory")
        self._faults = faults
        self._count = 0
        self.untrue: set[int] = set()

    def _made(self, asked: BacktestAsked, engine: str) -> Result:
        made = result(asked, engine)
        if self._count in self.untrue:
            return made.model_copy(update={"figures": made.figures.model_copy(update={"final_equity": 1.0})})
        return made

    @override
    def submit(self, asked: BacktestAsked) -> Job:
        self._count += asked.engine is None
        if asked.engine is None and self._count in self._faults:
            raise self._faults[self._count]
        job = super().submit(asked)
        self.divergences[job.id] = Divergence(
            engines=("memory", "other"), same=True, fills=(2, 2), bars=3, equity_apart=0.0, differences=0, named=[]
        )
        return job


def ran(service: Service, path: Path) -> Account:
    said: list[str] = []
    book = Book(path)
    Load(service, RUN, Schedule(rate=200, seconds=0.05, hear_out=5.0), book, said.append).run(lambda: False)
    book.close()
    assert said
    return read(path)


def test_a_load_follows_what_it_asked_for(tmp_path: Path) -> None:
    account = ran(Service({}), tmp_path / "book")
    assert len(account.runs) == 11 and account.closed
    assert {(one.fate, one.compared, one.ended_by, one.doubled) for one in account.runs} == {
        (Fate.DONE, True, "memory", "")
    }
    assert judge(account, 100).overall() is Verdict.HOLDS


def test_a_load_writes_down_what_went_wrong(tmp_path: Path) -> None:
    service = Service({2: JobsUnavailable("it answers 503"), 4: JobRefused("422: no")})
    service.untrue = {3}
    account = ran(service, tmp_path / "book")
    assert [one.number for one in account.runs if one.fate is Fate.REFUSED] == [1, 3]
    assert failed(judge(account, 1)) == ["nothing changed", "nothing refused"]


def test_the_command_judges_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path / "backtests.jsonl")
    for one in RUNS:
        book.note(one)
    book.close()
    told = CliRunner().invoke(app, ["verify", "--folder", str(tmp_path), "--json", "--window", "a=0:100000000000"])
    assert told.exit_code == 0
    assert set(json.loads(told.output)["reports"]) == {"backtests", "a"}
    assert CliRunner().invoke(app, ["verify", "--folder", str(tmp_path / "none")]).exit_code == 2
    monkeypatch.delenv(ENV_BACKTESTING_URL, raising=False)
    asked = CliRunner().invoke(app, ["run", "--folder", str(tmp_path), "--run", RUN])
    assert asked.exit_code == 2 and ENV_BACKTESTING_URL in asked.output

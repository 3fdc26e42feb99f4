"""What is drawn of results, and the page: readable without a network, and true to what differs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.backtesting.curves import drawn
from adapters.backtesting.drawing import page
from adapters.backtesting.jobs import JobsUnavailable
from adapters.backtesting.memory_jobs import MemoryJobs
from cli.backtest_report import named, write
from cli.errors import CliError
from contracts.backtest_moving import BacktestMoving
from contracts.backtests import BacktestAsked, EquityPoint, Result
from contracts.names import ENV_BACKTESTING_URL
from tests.unit.cutover.backtest_world import LEGS, SYMBOLS, result
from validation.backtest_checks import Named, compared, told, validated
from validation.backtest_checks import main as checks_main
from validation.backtesting import suite
from validation.result import Verdict

ASKED = BacktestAsked(strategy="sma_cross", symbol="SP500")
ENGINES = ("vectorbt", "nautilus")


def long_result(engine: str, bars: int = 5000, dip: int = 1234) -> Result:
    made = result(ASKED, engine)
    day = made.equity[0].date
    worth = [1e6 + bar if bar != dip else 1.0 for bar in range(bars)]
    return made.model_copy(update={"equity": [EquityPoint(date=day, equity=one) for one in worth]})


def test_two_results_that_agree_are_drawn_as_the_same() -> None:
    found = drawn([result(ASKED, engine) for engine in ENGINES])
    assert found.divergence is not None and found.divergence.same and found.marks == []
    assert [curve.engine for curve in found.curves] == list(ENGINES) and found.apart == [0.0] * 3
    assert found.curves[0].equity == [1e6, 1e6, 1e6] and found.curves[0].drawdown == [0.0] * 3


def test_an_order_that_differs_and_one_that_only_one_has_are_marked() -> None:
    one, other = result(ASKED, "vectorbt"), result(ASKED, "nautilus", price=10.01)
    found = drawn([one, other])
    assert found.divergence is not None and not found.divergence.same
    assert [mark.text for mark in found.marks] == ["order 1, buy on 2020-01-02: price 10.0 and 10.01"]
    assert max(found.apart) == pytest.approx(1e-8)
    fewer = other.model_copy(update={"fills": other.fills[:1]})
    assert [mark.text for mark in drawn([one, fewer]).marks][1:] == ["sell 1 at 10: vectorbt alone"]


def test_of_many_bars_the_extremes_are_drawn() -> None:
    found = drawn([long_result("vectorbt"), long_result("nautilus", dip=4321)])
    assert found.bars == 5000 and len(found.at) <= 1002
    assert min(found.curves[0].equity) == 1.0 and found.curves[0].equity[-1] == 1e6 + 4999
    assert max(found.apart) == pytest.approx(1.0)
    assert max(found.curves[1].drawdown) == pytest.approx(1.0)


def test_a_result_without_bars_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="no bars"):
        drawn([result(ASKED, "vectorbt").model_copy(update={"equity": []})])


def test_a_page_needs_no_network_and_says_what_differs_first() -> None:
    same = drawn([result(ASKED, engine) for engine in ENGINES])
    other = drawn([result(ASKED, "vectorbt"), result(ASKED, "nautilus", price=10.01)])
    made = page("Backtests <of> today", ["all & more"], [same, other])
    # Plotly's script names addresses of maps, which it asks for where a map is drawn: none is.
    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="', made)
    assert "<h1>Backtests &lt;of&gt; today</h1><p>all &amp; more</p>" in made
    assert made.index(" differences</td>") < made.index("the same</td>")
    assert made.count("Plotly.newPlot(") >= 2 and "price 10.0 and 10.01" in made


def jobs(*engines: str) -> MemoryJobs:
    return MemoryJobs(result, LEGS, SYMBOLS, set(engines), engines[0])


def test_the_checks_by_name_see_the_suite_and_the_newest_runs() -> None:
    both = jobs(*ENGINES)
    report, seen = compared(both, BacktestMoving(), lambda _: None, 5.0)
    assert report.overall() is Verdict.HOLDS and len(seen) == len(suite(both.offer()))
    results, drawn_results = validated(both, 4)
    assert results.overall() is Verdict.HOLDS and len(drawn_results) == len(results.checks) == 4


def test_what_could_not_be_checked_is_no_pass() -> None:
    report, seen = compared(jobs("vectorbt"), BacktestMoving(), lambda _: None, 5.0)
    assert report.overall() is Verdict.COULD_NOT_CHECK and seen == []
    assert "nautilus is not deployed" in report.checks[0].detail
    nothing, _ = validated(jobs("vectorbt"), 4)
    assert nothing.overall() is Verdict.COULD_NOT_CHECK


def test_a_result_that_does_not_go_together_is_named() -> None:
    wrong = MemoryJobs(
        lambda asked, engine: result(asked, engine).model_copy(update={"trades": []}),
        LEGS,
        SYMBOLS,
        ENGINES,
        "nautilus",
    )
    run = wrong.submit(ASKED)
    report, _ = validated(wrong, 4)
    assert report.failures()[0].name == f"{run.id} by nautilus" and "trades" in report.failures()[0].found


def test_what_a_pod_tells_becomes_a_page(tmp_path: Path) -> None:
    report, seen = compared(jobs(*ENGINES), BacktestMoving(), lambda _: None, 5.0)
    body = json.loads(json.dumps(told({Named.COMPARE.value: report}, seen)))
    write(tmp_path / "page.html", body)
    made = (tmp_path / "page.html").read_text()
    assert "compare_backtesting_engines: holds" in made and list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_names_that_are_none_are_refused() -> None:
    assert named([]) == list(Named) and named(["validate_backtest_results"]) == [Named.VALIDATE]
    with pytest.raises(CliError, match="compare_engines"):
        named(["compare_engines"])


def test_the_pods_command_says_where_it_could_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    app = typer.Typer()
    app.command()(checks_main)
    monkeypatch.delenv(ENV_BACKTESTING_URL, raising=False)
    assert CliRunner().invoke(app, []).exit_code == 2
    monkeypatch.setenv(ENV_BACKTESTING_URL, "http://127.0.0.1:9")
    asked = CliRunner().invoke(app, [Named.VALIDATE.value])
    assert asked.exit_code == 2 and "could not be asked" in asked.output


def test_a_service_that_is_away_is_no_verdict() -> None:
    away = jobs(*ENGINES)
    away.away = True
    with pytest.raises(JobsUnavailable):
        validated(away, 1)

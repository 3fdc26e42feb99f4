"""The contract of adapters/backtesting/jobs.py: on the shipped fake, and on the service over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from adapters.backtesting.http_jobs import HttpJobs
from adapters.backtesting.jobs import Job, JobRefused, Jobs, JobsUnavailable
from adapters.backtesting.memory_jobs import MemoryJobs
from contracts.backtests import BacktestAsked
from tests.contract.backtest_service import backtest_service
from tests.contract.postgres_server import free_port
from tests.unit.cutover.backtest_world import result
from validation.backtesting import suite, validate_backtest_results

pytestmark = pytest.mark.contract

LEGS = {"sma_cross": 1, "buy_and_hold": 1, "pair_reversion": 2}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with backtest_service(tmp_path_factory.mktemp("jobs")) as running:
        yield running.address


@pytest.fixture(params=["memory", "http"])
def jobs(request: pytest.FixtureRequest) -> Jobs:
    if request.param == "http":
        return HttpJobs(request.getfixturevalue("service"))
    return MemoryJobs(result, LEGS, ("SP500", "NASDAQ"), {"memory"}, "memory")


def done(jobs: Jobs, job: Job) -> Job:
    deadline = time.monotonic() + 60
    while not job.ended and time.monotonic() < deadline:
        job = jobs.job(job.id)
    return job


def test_an_offer_says_what_can_be_asked_for(jobs: Jobs) -> None:
    offer = jobs.offer()
    assert LEGS.items() <= offer.legs.items() and {"SP500", "NASDAQ"} <= set(offer.symbols)
    assert offer.engines == {"memory"} and offer.serving == "memory"
    assert {asked.strategy for asked in suite(offer)} == set(offer.legs)


def test_a_run_is_asked_for_followed_and_read_and_asked_again_is_the_same(jobs: Jobs) -> None:
    asked = BacktestAsked(strategy="sma_cross", symbol="SP500", initial_cash=123_456.0)
    first = jobs.submit(asked)
    assert (first.engine, done(jobs, first).state) == ("memory", "done")
    again = jobs.submit(asked.model_copy(update={"engine": "memory"}))
    assert (again.id, again.state) == (first.id, "done")
    found = jobs.result(first.id)
    assert found.request is not None and found.request.initial_cash == 123_456.0
    assert validate_backtest_results(found).failures() == ()
    assert first.id in {job.id for job in jobs.finished(1000)} and len(jobs.finished(1)) == 1
    assert jobs.divergence(first.id) is None and jobs.unended() == 0
    assert 0 <= jobs.job(first.id).seconds < 60


def test_what_was_asked_for_is_recorded_newest_first_and_once(jobs: Jobs) -> None:
    asked = [BacktestAsked(strategy="buy_and_hold", symbol="SP500", initial_cash=1e5 + n) for n in range(3)]
    for one in asked:
        done(jobs, jobs.submit(one))
    jobs.submit(asked[0].model_copy(update={"engine": "memory"}))
    assert list(jobs.recorded(2)) == asked[:0:-1]


@pytest.mark.parametrize(
    "wrong",
    [
        BacktestAsked(strategy="magic", symbol="SP500"),
        BacktestAsked(strategy="sma_cross", symbol="GOLD"),
        BacktestAsked(strategy="sma_cross", symbol="SP500", engine="nautilus"),
    ],
)
def test_what_cannot_be_run_is_refused(jobs: Jobs, wrong: BacktestAsked) -> None:
    with pytest.raises(JobRefused, match="422"):
        jobs.submit(wrong)


@pytest.mark.parametrize("ask", [lambda jobs: jobs.job("0" * 32), lambda jobs: jobs.result("0" * 32)])
def test_a_run_that_is_not_there_is_refused(jobs: Jobs, ask: Callable[[Jobs], object]) -> None:
    with pytest.raises(JobRefused):
        ask(jobs)


def test_a_service_that_is_away_is_told_from_one_that_refuses() -> None:
    away = MemoryJobs(result, LEGS, ("SP500",), {"memory"}, "memory")
    away.away = True
    for jobs in (away, HttpJobs(f"http://127.0.0.1:{free_port()}")):
        with pytest.raises(JobsUnavailable):
            jobs.offer()

"""A quant: a backtest gives its result, and the same one again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from adapters.routes.service_calls import ServiceCalls
from contracts.names import BACKTESTING_NAME
from tests.integration.user_acceptance.conftest import Services

DONE_SECONDS = 180.0
ASKED: dict[str, Any] = {"strategy": "sma_cross", "parameters": {"fast": 10, "slow": 30}, "start": "2010-01-01"}


@pytest.fixture
def backtests(service: Services) -> ServiceCalls:
    return service(BACKTESTING_NAME)


@pytest.fixture(scope="module")
def run(service: Services) -> dict[str, Any]:
    """One run, done."""
    backtests = service(BACKTESTING_NAME)
    offer = backtests.ask("GET", "/offer").content
    submitted = backtests.ask("POST", "/backtests", ASKED | {"symbol": offer["symbols"][0]})
    assert submitted.status in (200, 202), submitted
    deadline = time.monotonic() + DONE_SECONDS
    while time.monotonic() < deadline:
        found: dict[str, Any] = backtests.ask("GET", f"/backtests/{submitted.content['id']}").content
        if found["state"] not in ("queued", "running"):
            return found
        time.sleep(0.5)  # between two looks
    raise AssertionError(f"the backtest was not done within {DONE_SECONDS:.0f} s")


def result_of(backtests: ServiceCalls, run_id: str) -> dict[str, Any]:
    answer = backtests.ask("GET", f"/backtests/{run_id}/result")
    assert answer.status == 200, f"the result of {run_id}: {answer}"
    found: dict[str, Any] = answer.content
    return found


def test_strategies_are_offered(backtests: ServiceCalls) -> None:
    """The strategies and symbols that I use are offered."""
    offer = backtests.ask("GET", "/offer").content
    assert "sma_cross" in {one["name"] for one in offer["strategies"]}
    assert offer["symbols"] and offer["serving"] in offer["engines"]


def test_a_backtest_gives_its_result(backtests: ServiceCalls, run: dict[str, Any], seen: dict[str, Any]) -> None:
    """A backtest is accepted, done, and says what it came to."""
    assert run["state"] == "done", run
    result = result_of(backtests, run["id"])
    assert result["trades"] and result["equity"], "a result without trades or equity"
    seen["backtest"] = {"id": run["id"], "trades": len(result["trades"]), "equity": result["equity"][-1]}


def test_the_same_request_is_the_same_run(backtests: ServiceCalls, run: dict[str, Any]) -> None:
    """The same request again is the same run, and does the work once."""
    again = backtests.ask("POST", "/backtests", ASKED | {"symbol": run["request"]["symbol"]})
    assert again.content["id"] == run["id"], "another run was made of the same request"


def test_results_from_before_are_still_readable(backtests: ServiceCalls, before: dict[str, Any]) -> None:
    """The result that the earlier run got is still there, whoever made it, and the same."""
    kept = before.get("backtest")
    if kept is None:
        pytest.skip("the earlier run got none")
    result = result_of(backtests, kept["id"])
    assert (len(result["trades"]), result["equity"][-1]) == (kept["trades"], kept["equity"])


def test_the_same_backtest_came_to_the_same(
    backtests: ServiceCalls, run: dict[str, Any], before: dict[str, Any]
) -> None:
    """The engine that serves now makes the same trades as the one that served then."""
    kept = before.get("backtest")
    if kept is None:
        pytest.skip("the earlier run got none")
    assert len(result_of(backtests, run["id"])["trades"]) == kept["trades"]

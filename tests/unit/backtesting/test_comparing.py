"""Two results: the same, or what differs by name."""

from __future__ import annotations

from datetime import date

import pytest

from adapters.backtesting.comparing import compared
from contracts.backtests import BacktestAsked, Result
from contracts.market import Side
from tests.unit.cutover.backtest_world import result
from validation.backtesting import validate_backtest_results
from validation.result import Verdict

ASKED = BacktestAsked(strategy="sma_cross", symbol="SP500")


def changed(**changes: object) -> Result:
    return result(ASKED, "nautilus").model_copy(update=changes)


def test_results_of_two_engines_may_be_the_same_to_the_last_bits() -> None:
    other = result(ASKED, "nautilus")
    bits = [point.model_copy(update={"equity": point.equity * (1 + 2e-16)}) for point in other.equity]
    found = compared(result(ASKED, "vectorbt"), other.model_copy(update={"equity": bits}))
    assert (found.same, found.differences, found.engines) == (True, 0, ("vectorbt", "nautilus"))
    assert 0 < found.equity_apart < 1e-15


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("price", 10.01, "order 1, buy on 2020-01-02: price 10.0 and 10.01"),
        ("quantity", 2.0, "quantity 1.0 and 2.0"),
        ("fee", 1e-6, "fee 0.0 and 1e-06"),
        ("date", date(2020, 1, 5), "date 2020-01-02 and 2020-01-05"),
        ("side", Side.SELL, "side buy and sell"),
    ],
)
def test_an_order_that_differs_is_named(field: str, value: object, says: str) -> None:
    other = result(ASKED, "nautilus")
    fills = [other.fills[0].model_copy(update={field: value}), *other.fills[1:]]
    found = compared(result(ASKED, "vectorbt"), other.model_copy(update={"fills": fills}))
    assert not found.same and says in found.named[0], found


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fills": []}, "2 and 0 orders"),
        ({"equity": []}, "3 and 0 bars"),
        ({"halted": date(2020, 1, 2)}, "trading ended: never and 2020-01-02"),
        ({"bars_sha256": ["other"]}, "they are of other bars"),
    ],
)
def test_other_shapes_are_named(changes: dict[str, object], says: str) -> None:
    found = compared(result(ASKED, "vectorbt"), changed(**changes))
    assert not found.same and says in found.named[0], found


@pytest.mark.parametrize("equity", [1_000_000.01, float("nan"), float("inf")])
def test_one_bar_whose_equity_differs_is_found(equity: float) -> None:
    other = result(ASKED, "nautilus")
    points = [*other.equity[:2], other.equity[2].model_copy(update={"equity": equity})]
    found = compared(result(ASKED, "vectorbt"), other.model_copy(update={"equity": points}))
    assert not found.same and "1 of 3 bars differ, the first on 2020-01-03" in found.named[0]


def test_a_result_that_is_true_to_itself_passes_and_each_lie_is_found() -> None:
    honest = result(ASKED, "vectorbt", 9.0)
    assert validate_backtest_results(honest).overall() is Verdict.HOLDS
    for field, lie in (("final_equity", 1.0), ("fees_paid", 5.0), ("max_drawdown", 0.5), ("trades", 7)):
        figures = honest.figures.model_copy(update={field: lie})
        assert validate_backtest_results(honest.model_copy(update={"figures": figures})).failures(), field
    fills = honest.fills[:1]
    assert validate_backtest_results(honest.model_copy(update={"equity": []})).overall() is not Verdict.HOLDS
    backwards = honest.model_copy(update={"equity": list(reversed(honest.equity)), "fills": fills})
    assert "bars: in order of time" in [check.name for check in validate_backtest_results(backwards).failures()]

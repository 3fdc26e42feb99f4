"""What a sweep runs, in which pieces, and what is the best of it: at random, and by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.backtesting.strategies import STRATEGIES, parameter_names
from adapters.backtesting.sweeps.cells import accepted, combination, layout, sweep_of
from adapters.backtesting.sweeps.columns import Columns
from adapters.backtesting.sweeps.mapping import MOST_PLACES, Heat
from adapters.backtesting.sweeps.progress import Progress, numbers_in, told
from adapters.backtesting.sweeps.ranking import ranked
from adapters.backtesting.sweeps.tables import COLUMNS
from adapters.backtesting.sweeps.windows import windows
from contracts.backtests import FiguresModel
from contracts.sweeps import Direction, Phase, Row, SweepAsked, WalkForwardAsked

GRID = {"fast": [5, 10, 20], "slow": [10, 30]}
WALK = {"grid": GRID, "train_bars": 100, "test_bars": 50}
DAY = date(2020, 1, 1)


def asked(**change: Any) -> SweepAsked:
    kind = {} if {"random", "walk_forward"} & change.keys() else {"grid": GRID}
    return SweepAsked.model_validate({"strategy": "sma_cross", "symbol": "SP500", **kind, **change})


def row(number: int, sharpe: float | None, phase: Phase = Phase.WHOLE, **parameters: float) -> Row:
    figures = FiguresModel(
        final_equity=1.0, total_return=0.0, max_drawdown=0.0, sharpe=sharpe, trades=0, win_rate=None, fees_paid=0.0
    )
    return Row(number=number, phase=phase, parameters=parameters, first=DAY, last=DAY, figures=figures)


# -- what is asked for


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"grid": None}, "no kind of sweep is given"),
        ({"walk_forward": WALK, "grid": GRID}, "grid and walk_forward is given"),
        ({"grid": {}}, "grid names no parameter"),
        ({"grid": {"fast": []}}, "fast has no values"),
        ({"grid": {"fast": [5, 10, 5]}}, "fast lists 5 twice"),
        ({"grid": {"fast": list(range(1, 1002)), "slow": list(range(1, 1001))}}, "has 1,001,000 cells, of at most"),
        (
            {"grid": {"fast": list(range(1, 20_002))}, "cells_per_index": 1},
            "into 20,001 pieces.*3 or more",
        ),
        ({"parameters": {"slow": 30}}, "slow is swept, and fixed"),
        ({"metric": "luck"}, "metric is 'luck'.*Use one of final_equity"),
        ({"random": {"ranges": {"fast": {"low": 9, "high": 3}}, "count": 5}}, "low 9 lies above high 3"),
        ({"random": {"ranges": {"fast": {"low": 0, "high": 3, "log": True}}, "count": 5}}, "it has no logarithm"),
        ({"random": {"ranges": {"fast": {"low": 1, "high": 3}}, "count": 2_000_000}}, "has 2,000,000 cells"),
        ({"walk_forward": {**WALK, "step_bars": 0}}, "step_bars"),
        ({"grid": {"fast": [math.nan]}}, "finite"),
    ],
)
def test_a_request_that_cannot_be_is_told(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        asked(**change)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"strategy": "magic"}, "strategy is 'magic'"),
        ({"grid": {"speed": [1]}}, "sma_cross has no parameter speed: it has fast, slow"),
        ({"parameters": {"speed": 1}}, "no parameter speed"),
        ({"against": "NASDAQ"}, "sma_cross trades 1 symbols, 2 are named"),
        ({"grid": {"fast": [50, 60], "slow": [10]}}, "none of the combinations. Of the first: fast=50, slow=10"),
        ({"walk_forward": WALK}, "there are 120 bars, and a window has 100 to train and 50 to test"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_told(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sweep_of(asked(**change), "memory", ("x",), 120)


def test_a_walk_forward_with_too_many_windows_is_told_once_its_bars_are_known() -> None:
    short = {"grid": GRID, "train_bars": 2, "test_bars": 2, "step_bars": 1}
    with pytest.raises(ValueError, match="into 19,997 pieces, of at most 10,000"):
        layout(asked(walk_forward=short, cells_per_index=1), 20_000)


def test_the_same_on_the_same_bars_is_the_same_sweep() -> None:
    first = asked().identity("memory", ["a"])
    assert first == asked(top=3, engine="memory", fees=0.001).identity("memory", ["a"])
    others = [asked(fees=0.1), asked(grid={"fast": [5]}), asked(metric="calmar"), asked(cells_per_index=2)]
    assert len({first, *(one.identity("memory", ["a"]) for one in others)}) == 5
    assert first not in (asked().identity("memory", ["b"]), asked().identity("vectorbt", ["a"]))


def test_no_parameter_is_called_as_a_column_of_the_results() -> None:
    assert not {name for strategy in STRATEGIES for name in parameter_names(strategy)} & set(COLUMNS)


def test_combinations_that_the_strategy_will_not_have_are_left_out_and_counted() -> None:
    sweep = sweep_of(asked(), "memory", ("x",), 120)
    assert (sweep.cells, sweep.skipped) == (4, 2)  # 10 and 20 are not below 10
    found = [cell.parameters for cell in layout(sweep.asked, 120).cells(0)]
    assert {"fast": 10, "slow": 10} not in found and len(found) == 4


# -- cells and pieces

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=3)


@given(sizes=SIZES, piece=st.integers(1, 50))
def test_each_combination_of_a_grid_is_in_one_piece_once_in_a_stable_order(sizes: Sequence[int], piece: int) -> None:
    grid = dict(zip(("period", "entry", "leave"), (list(range(size)) for size in sizes), strict=False))
    request = asked(strategy="pair_reversion", against="NASDAQ", grid=grid, cells_per_index=piece)
    found = layout(request, 1000)
    numbers = [number for index in range(found.indexes) for number in found.chunk(index)]
    assert numbers == list(range(math.prod(sizes)))
    assert all(0 < len(found.chunk(index)) <= piece for index in range(found.indexes))
    combinations = [tuple(combination(request, number).values()) for number in numbers]
    assert combinations == list(itertools.product(*grid.values()))
    cells = [cell for index in range(found.indexes) for cell in found.cells(index)]
    assert [cell.number for cell in cells] == [n for n in numbers if accepted(request, combination(request, n))]


@given(seed=st.integers(), low=st.integers(1, 50), room=st.integers(0, 50), log=st.booleans())
def test_draws_are_within_their_ranges_and_the_same_again(seed: int, low: int, room: int, log: bool) -> None:
    ranges = {
        "period": {"low": low, "high": low + room, "log": log},
        "width": {"low": 0.5, "high": 3.0, "log": log},
    }
    request = asked(strategy="bollinger", random={"ranges": ranges, "count": 20, "seed": seed})
    drawn = [combination(request, number) for number in range(20)]
    assert drawn == [combination(request, number) for number in range(20)]
    for one in drawn:
        assert isinstance(one["period"], int) and low <= one["period"] <= low + room
        assert 0.5 <= one["width"] <= 3.0


def test_draws_differ_and_a_logarithmic_range_has_as_many_small_as_large() -> None:
    ranges = {"period": {"low": 1, "high": 10_000, "log": True}}
    request = asked(strategy="bollinger", random={"ranges": ranges, "count": 400})
    drawn = [combination(request, number)["period"] for number in range(400)]
    assert 150 < sum(value < 100 for value in drawn) < 280


@given(
    bars=st.integers(4, 400), train=st.integers(2, 100), test=st.integers(2, 50), step=st.integers(1, 80) | st.none()
)
def test_no_window_trains_on_what_it_tests_and_none_leaves_the_bars(
    bars: int, train: int, test: int, step: int | None
) -> None:
    request = WalkForwardAsked(grid={"fast": [1]}, train_bars=train, test_bars=test, step_bars=step)
    if bars < train + test:
        with pytest.raises(ValueError, match=f"there are {bars} bars"):
            windows(bars, request)
        return
    found = windows(bars, request)
    for window in found:
        assert 0 <= window.train.first < window.train.last == window.test.first < window.test.last <= bars
        assert (window.train.last - window.train.first, window.test.last - window.test.first) == (train, test)
    assert found[-1].test.last + request.step > bars  # no window that would fit is missing
    if step is None:
        tested = [bar for window in found for bar in range(window.test.first, window.test.last)]
        assert tested == list(range(train, train + test * len(found)))


@settings(max_examples=25)
@given(bars=st.integers(150, 400), piece=st.integers(1, 40))
def test_a_window_is_never_cut_and_ends_with_its_test(bars: int, piece: int) -> None:
    request = asked(walk_forward=WALK, cells_per_index=piece)
    found = layout(request, bars)
    for index in range(found.indexes):
        cells = list(found.cells(index))
        for window, within in itertools.groupby(cells, key=lambda cell: cell.window):
            phases = [cell.phase for cell in within]
            assert phases == [Phase.TRAIN] * 4 + [Phase.TEST], window
    cells = [cell for index in range(found.indexes) for cell in found.cells(index)]
    assert len(cells) == sweep_of(request, "memory", ("x",), bars).cells == 5 * len(found.windows)


# -- the best

FIGURES = st.none() | st.floats(-5, 5) | st.just(math.nan)


@given(values=st.lists(FIGURES, max_size=30), count=st.integers(1, 40), best=st.sampled_from(Direction))
def test_the_best_come_first_equal_ones_by_number_and_those_without_a_figure_last(
    values: list[float | None], count: int, best: Direction
) -> None:
    rows = [row(number, value) for number, value in enumerate(values)]
    found = ranked(iter(reversed(rows)), "sharpe", best, count)
    way = -1 if best is Direction.HIGHEST else 1
    able = [one for one in rows if (v := values[one.number]) is not None and not math.isnan(v)]
    expected = sorted(able, key=lambda one: way * (values[one.number] or 0.0))  # stable: equal ones keep their order
    expected += [one for one in rows if one not in able]
    assert [one.number for one in found] == [one.number for one in expected[:count]]


def test_a_lower_drawdown_is_better_unless_the_request_says_otherwise() -> None:
    assert asked(metric="max_drawdown").best is Direction.LOWEST
    assert asked(metric="max_drawdown", direction="highest").best is Direction.HIGHEST
    assert asked().best is Direction.HIGHEST


# -- the heat map


def columns(*values: float, **parameters: list[float]) -> Columns:
    """Of cells that are neither trained on nor tested."""
    count, none = len(values), np.zeros(len(values), np.bool_)
    numbers = np.arange(count)
    arrays = {name: np.array(column, np.float64) for name, column in parameters.items()}
    return Columns(np.zeros(count, np.int64), numbers, numbers, np.array(values), none, none, none, arrays)


def test_a_heat_map_has_the_best_or_the_mean_of_all_other_parameters() -> None:
    request = asked(
        strategy="donchian", grid={"entry": [20, 10], "leave": [5, 9]}, parameters={}, metric="sharpe"
    )  # fmt: skip
    heat = Heat(request)
    assert heat.parameters == ("entry", "leave")
    heat.add(columns(1.0, 3.0, math.nan, entry=[10, 10, 20], leave=[5, 9, 5]))
    drawn = heat.drawn()
    assert (drawn.x, drawn.x_labels, drawn.y, drawn.y_labels) == ("entry", ["10", "20"], "leave", ["5", "9"])
    assert drawn.values == [[1.0, None], [3.0, None]]
    for how, value in (("best", 3.0), ("mean", 2.0)):
        flat = Heat(asked(strategy="donchian", grid={"entry": [10]}), "mean" if how == "mean" else "best")
        for part in (1.0, 3.0):
            flat.add(columns(part, entry=[10]))
        assert flat.drawn().values == [[value]]
    with pytest.raises(ValueError, match="'width' is not swept"):
        Heat(request, x="width")
    with pytest.raises(ValueError, match="both entry"):
        Heat(request, x="entry", y="entry")


@given(value=st.floats(0.5, 3.0))
def test_a_parameter_with_too_many_values_is_cut_into_equal_parts(value: float) -> None:
    request = asked(strategy="bollinger", random={"ranges": {"width": {"low": 0.5, "high": 3.0}}, "count": 500})
    heat = Heat(request)
    heat.add(columns(1.0, width=[value]))
    drawn = heat.drawn()
    (line,) = drawn.values
    assert len(line) == 20 <= MOST_PLACES and sum(one is not None for one in line) == 1
    low, _, high = drawn.x_labels[line.index(1.0)].partition(" to ")
    assert float(low) - 1e-3 <= value <= float(high) + 1e-3


# -- how far it is


def test_what_is_left_is_told_by_what_this_run_did() -> None:
    assert Progress(5, 20, before=3, seconds=10.0).left_seconds == 75.0
    assert Progress(3, 20, before=3, seconds=10.0).left_seconds is None
    assert Progress(18, 20, before=3, failed=2, seconds=10.0).left_seconds == 0.0
    assert told(Progress(5, 20, seconds=60.0, failed=1)) == "5 of 20 pieces (25%), 1 given up, 3 min left"
    assert told(Progress(20, 20)) == "20 of 20 pieces (100%)"
    assert "not known yet" in told(Progress(0, 20))


def test_numbers_as_kubernetes_lists_them() -> None:
    assert numbers_in("0-2,5,7-8") == {0, 1, 2, 5, 7, 8}
    assert numbers_in("") == frozenset()

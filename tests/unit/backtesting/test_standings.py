"""How a sweep stands, by some columns of its parts, against the same by whole rows, one after the other."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.cells import combination
from adapters.backtesting.sweeps.mapping import axes
from adapters.backtesting.sweeps.parts import MemoryParts
from adapters.backtesting.sweeps.ranking import value_of
from adapters.backtesting.sweeps.standing import map_of, standing_of
from contracts.backtests import FiguresModel
from contracts.sweeps import Direction, Phase, Row, Sweep, SweepAsked

DAY = date(2020, 1, 1)
KINDS: tuple[dict[str, Any], ...] = (
    {"grid": {"period": [20, 5, 9], "width": [1, 2.5]}},
    {"grid": {"period": [5, 9]}},
    {"random": {"ranges": {"period": {"low": 2, "high": 300}, "width": {"low": 0.5, "high": 3.0}}, "count": 9}},
    {"walk_forward": {"grid": {"width": [1, 2], "period": [5, 9]}, "train_bars": 9, "test_bars": 9}},
)
FIGURE = st.none() | st.sampled_from([math.nan, 0.0, -0.0, 1.0, -1.0]) | st.floats(-9, 9)


@st.composite
def sweeps(draw: st.DrawFn) -> tuple[Sweep, list[list[Row]]]:
    """A small one, and the rows of its parts: equal figures, none, cells that failed, phases as a walk-forward has."""
    metric = draw(st.sampled_from(["sharpe", "trades", "max_drawdown", "profit_factor", "final_equity"]))
    asked = SweepAsked.model_validate(
        {"strategy": "bollinger", "symbol": "SP500", "metric": metric, "direction": draw(st.sampled_from(Direction)),
         "top": draw(st.integers(1, 8)), **draw(st.sampled_from(KINDS))}
    )  # fmt: skip
    made = Sweep(
        id="a" * 32, asked=asked, engine="memory", bars_sha256=["x"], bars=100, cells=1, skipped=0, indexes=9
    )  # fmt: skip
    numbers = iter(range(1000))
    sizes = draw(st.lists(st.integers(0, 12), max_size=5))
    return made, [[_row(draw, asked, next(numbers)) for _ in range(size)] for size in sizes]


def _row(draw: st.DrawFn, asked: SweepAsked, number: int) -> Row:
    phases = [Phase.TRAIN, Phase.TEST] if asked.walk_forward else [Phase.WHOLE]
    phase = draw(st.sampled_from(phases))
    parameters = combination(asked, number % asked.combinations)
    error = draw(st.sampled_from(["", "", "", "ValueError: it broke"]))
    figures = None
    if not error:
        figures = FiguresModel(
            final_equity=draw(st.floats(0, 9)), total_return=0.0, max_drawdown=draw(st.floats(0, 1)),
            sharpe=draw(FIGURE), profit_factor=draw(FIGURE), trades=draw(st.integers(0, 5)), win_rate=None,
            fees_paid=0.0,
        )  # fmt: skip
    elif phase is Phase.TEST:
        parameters = {}  # nothing was chosen
    return Row(
        number=number, phase=phase, window=0 if asked.walk_forward else None, parameters=parameters, first=DAY,
        last=DAY, figures=figures, error=error,
    )  # fmt: skip


def by_rows(sweep: Sweep, rows: list[Row]) -> tuple[list[Row], dict[tuple[int, int], tuple[float, float, int]]]:
    """The best, and the best, the sum and the count of each place of the map."""
    asked, way = sweep.asked, -1.0 if sweep.asked.best is Direction.HIGHEST else 1.0

    def order(row: Row) -> tuple[bool, float, int]:
        value = value_of(row, asked.metric)
        return value is None, 0.0 if value is None else way * value, row.number

    best = heapq.nsmallest(asked.top, (row for row in rows if row.phase is not Phase.TRAIN), order)
    found: dict[tuple[int, int], tuple[float, float, int]] = {}
    better = max if asked.best is Direction.HIGHEST else min
    x, y = axes(asked)
    for row in rows:
        value = value_of(row, asked.metric)
        if value is not None and row.phase is not Phase.TEST:
            up, across = (
                0 if axis is None else max(0, bisect_right(axis.starts, row.parameters[axis.parameter]) - 1)
                for axis in (y, x)
            )
            known = found.get((up, across))
            found[up, across] = (value, value, 1) if known is None else (
                better(known[0], value), known[1] + value, known[2] + 1
            )  # fmt: skip
    return best, found


@pytest.fixture(params=[1, 7, 50_000])
def at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_AT_ONCE", request.param)
        yield


@pytest.mark.usefixtures("at_once")
@settings(max_examples=60)
@given(made=sweeps())
def test_columns_say_what_rows_do(made: tuple[Sweep, list[list[Row]]]) -> None:
    sweep, pieces = made
    parts = MemoryParts()
    for index, rows in enumerate(pieces):
        parts.put(2 * index, tables.written(rows, sweep))
    every = [row for index in sorted(parts.done()) for row in tables.read(parts.read(index), sweep)]
    best, places = by_rows(sweep, every)
    found = standing_of(sweep, parts)
    # As text, for NaN is not itself.
    assert [row.model_dump_json() for row in found.top] == [row.model_dump_json() for row in best]
    assert (found.run, found.failed) == (len(every), sum(bool(row.error) for row in every))
    assert found.state.done == [2 * index for index in range(len(pieces))]
    assert len(standing_of(sweep, parts, 1).top) == min(1, len([r for r in every if r.phase is not Phase.TRAIN]))
    for how, values in (("best", found.heat_map.values), ("mean", map_of(sweep, parts, "mean").values)):
        for up, line in enumerate(values):
            for across, value in enumerate(line):
                known = places.get((up, across))
                expected = known and (known[0] if how == "best" else known[1] / known[2])
                assert value == expected, (how, up, across)


def test_parts_of_another_sweep_are_refused_and_of_other_numbers_read() -> None:
    sweep = Sweep(
        id="a" * 32, asked=SweepAsked(strategy="bollinger", symbol="SP500", grid={"period": [5, 9]}), engine="memory",
        bars_sha256=["x"], bars=100, cells=2, skipped=0, indexes=2,
    )  # fmt: skip
    parts = MemoryParts()
    rows = [Row(number=0, parameters={"period": 5}, first=DAY, last=DAY, error="it broke")]
    parts.put(0, tables.written(rows, sweep.model_copy(update={"id": "b" * 32})))
    with pytest.raises(tables.NotAPart, match=r"it is of sweep b+, not of a+"):
        standing_of(sweep, parts)
    with pytest.raises(tables.NotAPart, match=r"it is of sweep b+, not of a+"):
        tables.rows_at(parts.read(0), sweep, [0])

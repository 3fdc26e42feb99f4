"""What a sweep has come to so far, from its pieces."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.mapping import Heat, How
from adapters.backtesting.sweeps.parts import Parts
from adapters.backtesting.sweeps.ranking import ranked, shown
from contracts.sweeps import HeatMap, Row, Standing, Sweep, SweepState


def state_of(sweep: Sweep, parts: Parts) -> SweepState:
    """Which pieces are done."""
    return SweepState(sweep=sweep, done=sorted(parts.done()))


def standing_of(sweep: Sweep, parts: Parts, count: int | None = None) -> Standing:
    """The best `count` rows, else as many as the sweep asks for, and the rest; each piece is read once."""
    asked, state, heat = sweep.asked, state_of(sweep, parts), Heat(sweep.asked)
    run = failed = 0

    def seen(rows: Iterator[Row]) -> Iterator[Row]:
        nonlocal run, failed
        for row in rows:
            heat.add(row)
            run, failed = run + 1, failed + bool(row.error)
            yield row

    best = ranked(shown(seen(tables.rows_of(parts.all(), sweep))), asked.metric, asked.best, count or asked.top)
    return Standing(state=state, top=best, run=run, failed=failed, heat_map=heat.drawn())


def map_of(sweep: Sweep, parts: Parts, how: How = "best", x: str | None = None, y: str | None = None) -> HeatMap:
    """The heat map. Raises ValueError where none can be drawn by `x` and `y`."""
    heat = Heat(sweep.asked, how, x, y)
    for row in tables.rows_of(parts.all(), sweep):
        heat.add(row)
    return heat.drawn()

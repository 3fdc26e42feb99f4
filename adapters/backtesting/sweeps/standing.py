"""What a sweep has come to so far, from its pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.mapping import Heat, How
from adapters.backtesting.sweeps.parts import Parts
from adapters.backtesting.sweeps.ranking import Best
from contracts.sweeps import HeatMap, Row, Standing, Sweep, SweepState


def state_of(sweep: Sweep, parts: Parts) -> SweepState:
    """Which pieces are done."""
    return SweepState(sweep=sweep, done=sorted(parts.done()))


def standing_of(sweep: Sweep, parts: Parts, count: int | None = None) -> Standing:
    """The best `count` rows, else as many as the sweep asks for, and the rest. Of each piece some columns are read, and
    whole rows of those that have one of the best."""
    asked, state = sweep.asked, state_of(sweep, parts)
    heat, best = Heat(asked), Best(asked.best, count or asked.top)
    run = failed = 0
    for columns in tables.columns_of(_read(parts, state.done), sweep, heat.parameters):
        heat.add(columns)
        best.add(columns)
        run, failed = run + len(columns), failed + int(columns.failed.sum())
    top = _rows(sweep, parts, best.places)
    return Standing(state=state, top=top, run=run, failed=failed, heat_map=heat.drawn())


def _rows(sweep: Sweep, parts: Parts, places: list[tuple[int, int]]) -> list[Row]:
    by_part: dict[int, list[int]] = {}
    for part, place in places:
        by_part.setdefault(part, []).append(place)
    found = {
        (part, place): row
        for part, within in by_part.items()
        for place, row in zip(within, tables.rows_at(parts.read(part), sweep, within), strict=True)
    }
    return [found[place] for place in places]


def map_of(sweep: Sweep, parts: Parts, how: How = "best", x: str | None = None, y: str | None = None) -> HeatMap:
    """The heat map. Raises ValueError where none can be drawn by `x` and `y`."""
    heat = Heat(sweep.asked, how, x, y)
    for columns in tables.columns_of(_read(parts, sorted(parts.done())), sweep, heat.parameters):
        heat.add(columns)
    return heat.drawn()


def _read(parts: Parts, indexes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    return ((index, parts.read(index)) for index in indexes)

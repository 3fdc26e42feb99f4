"""The best rows of a sweep. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from contracts.sweeps import Direction, Phase, Row


def value_of(row: Row, metric: str) -> float | None:
    """The figure of a row; None where there is none."""
    found = None if row.figures is None else getattr(row.figures, metric)
    return None if found is None or math.isnan(found) else float(found)


def ranked(rows: Iterable[Row], metric: str, best: Direction, count: int) -> list[Row]:
    """The `count` best of `rows`, the best first. Equal ones stand by their number; rows without the figure come last.
    Never are more than `count` rows held."""
    way = -1.0 if best is Direction.HIGHEST else 1.0

    def place(row: Row) -> tuple[bool, float, int]:
        value = value_of(row, metric)
        return value is None, 0.0 if value is None else way * value, row.number

    return heapq.nsmallest(count, rows, key=place)


def shown(rows: Iterable[Row]) -> Iterable[Row]:
    """The rows that say what a sweep is worth: of a walk-forward its tests, for what was trained on was chosen by."""
    return (row for row in rows if row.phase is not Phase.TRAIN)

"""The best rows of a sweep: of rows, and of so many that only some of their columns are looked at. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

import numpy as np

from adapters.backtesting.sweeps.columns import Columns
from contracts.sweeps import Direction, Row

_PLACE = np.dtype([("none", "?"), ("value", "f8"), ("number", "i8"), ("part", "i8"), ("place", "i8")])


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


class Best:
    """The places of the `count` best rows of many parts, in the order of `ranked`. Those that a walk-forward trained on
    are left out: what they are worth is what was chosen by."""

    def __init__(self, best: Direction, count: int) -> None:
        self._way, self._count = -1.0 if best is Direction.HIGHEST else 1.0, count
        self._kept = np.empty(0, _PLACE)

    def add(self, columns: Columns) -> None:
        """Count rows in."""
        shown = ~columns.trained
        values, found = columns.values[shown], np.empty(np.count_nonzero(shown), _PLACE)
        found["none"] = np.isnan(values)
        found["value"] = np.where(found["none"], 0.0, self._way * values)
        found["number"] = columns.numbers[shown]
        found["part"], found["place"] = columns.parts[shown], columns.places[shown]
        every = np.concatenate([self._kept, found])
        order = np.lexsort((every["number"], every["value"], every["none"]))
        self._kept = every[order[: self._count]]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Part, and place in it, the best first."""
        return [(int(part), int(place)) for part, place in zip(self._kept["part"], self._kept["place"], strict=True)]

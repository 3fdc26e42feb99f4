"""The heat map of a sweep: a figure over two of its parameters. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.backtesting.sweeps.columns import Columns, Floats
from contracts.sweeps import Direction, HeatMap, Number, SweepAsked

How = Literal["best", "mean"]
MOST_PLACES = 60
"""Places of an axis; where a parameter has more values, neighbours share one."""
_BINS = 20


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter's places: `starts` are their lowest values, in order."""

    parameter: str
    starts: tuple[float, ...]
    labels: tuple[str, ...]

    def places(self, values: Floats) -> NDArray[np.intp]:
        """Where each of `values` stands."""
        return np.maximum(np.searchsorted(self.starts, values, side="right") - 1, 0)


def axis(asked: SweepAsked, parameter: str) -> Axis:
    """The axis of a swept parameter: its values, or, where it has too many, equal parts of the way between the lowest
    and the highest."""
    if asked.random is None:
        values: Sequence[Number] = sorted(asked.values[parameter])
        low, high = values[0], values[-1]
    else:
        among = asked.random.ranges[parameter]
        low, high = among.low, among.high
        few = among.whole and high - low < MOST_PLACES
        values = [low] if low == high else list(range(int(low), int(high) + 1)) if few else []
    if 0 < len(values) <= MOST_PLACES:
        return Axis(parameter, tuple(map(float, values)), tuple(f"{value:g}" for value in values))
    width = (high - low) / _BINS
    starts = tuple(low + width * number for number in range(_BINS))
    return Axis(parameter, starts, tuple(f"{start:.4g} to {start + width:.4g}" for start in starts))


def axes(asked: SweepAsked, x: str | None = None, y: str | None = None) -> tuple[Axis, Axis | None]:
    """The axes named, or the first two swept parameters that are not. Raises ValueError."""
    for name in (x, y):
        if name is not None and name not in asked.swept:
            raise ValueError(f"{name!r} is not swept: there is nothing to see. Use two of {', '.join(asked.swept)}")
    if x is not None and x == y:
        raise ValueError(f"x and y are both {x}: name two of {', '.join(asked.swept)}")
    left = [name for name in asked.swept if name not in (x, y)]
    x = x or left.pop(0)
    y = y or (left[0] if left else None)
    return axis(asked, x), None if y is None else axis(asked, y)


class Heat:
    """The map of the metric over two parameters, as rows come in. A walk-forward's tests are left out: their parameters
    were chosen. Raises ValueError where no map can be drawn by these parameters."""

    def __init__(self, asked: SweepAsked, how: How = "best", x: str | None = None, y: str | None = None) -> None:
        self._asked, self._how = asked, how
        self._x, self._y = axes(asked, x, y)
        highest = asked.best is Direction.HIGHEST
        self._take = np.add if how == "mean" else np.maximum if highest else np.minimum
        shape = (1 if self._y is None else len(self._y.starts), len(self._x.starts))
        self._found = np.full(shape, 0.0 if how == "mean" else -np.inf if highest else np.inf)
        """By y, then x: the best so far, or the sum."""
        self._counts = np.zeros(shape, np.int64)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Over which it is."""
        return tuple(axis.parameter for axis in (self._x, self._y) if axis is not None)

    def add(self, columns: Columns) -> None:
        """Count rows in."""
        drawn = ~(np.isnan(columns.values) | columns.tested)
        across = self._x.places(columns.parameters[self._x.parameter][drawn])
        up = np.zeros_like(across)
        if self._y is not None:
            up = self._y.places(columns.parameters[self._y.parameter][drawn])
        # Row by row, so that a sum is the same in whatever parts they come.
        self._take.at(self._found, (up, across), columns.values[drawn])
        np.add.at(self._counts, (up, across), 1)

    def drawn(self) -> HeatMap:
        """The map of what came in."""
        x, y = self._x, self._y
        values = [[self._at(*place) for place in row] for row in _places(self._found.shape)]
        return HeatMap(
            metric=self._asked.metric, how=self._how, x=x.parameter, y="" if y is None else y.parameter,
            x_labels=list(x.labels), y_labels=[] if y is None else list(y.labels), values=values,
        )  # fmt: skip

    def _at(self, up: int, across: int) -> float | None:
        count = int(self._counts[up, across])
        if not count:
            return None
        found = float(self._found[up, across])
        return found / count if self._how == "mean" else found


def _places(shape: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    return [[(up, across) for across in range(shape[1])] for up in range(shape[0])]

"""The heat map of a sweep: a figure over two of its parameters. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.backtesting.sweeps.ranking import value_of
from contracts.sweeps import Direction, HeatMap, Number, Phase, Row, SweepAsked

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

    def place(self, value: Number) -> int:
        """Where `value` stands."""
        return max(0, bisect_right(self.starts, value) - 1)


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
        self._better = max if asked.best is Direction.HIGHEST else min
        self._found: dict[tuple[int, int], tuple[float, int]] = {}
        """By y, then x: the best so far and 1, or the sum and of how many."""

    def add(self, row: Row) -> None:
        """Count a row in."""
        value = value_of(row, self._asked.metric)
        if value is None or row.phase is Phase.TEST:
            return
        up = 0 if self._y is None else self._y.place(row.parameters[self._y.parameter])
        place = (up, self._x.place(row.parameters[self._x.parameter]))
        known = self._found.get(place)
        if known is None:
            self._found[place] = value, 1
        elif self._how == "mean":
            self._found[place] = known[0] + value, known[1] + 1
        else:
            self._found[place] = self._better(known[0], value), 1

    def drawn(self) -> HeatMap:
        """The map of what came in."""
        x, y = self._x, self._y
        ups = 1 if y is None else len(y.starts)
        values = [[self._at(up, across) for across in range(len(x.starts))] for up in range(ups)]
        return HeatMap(
            metric=self._asked.metric, how=self._how, x=x.parameter, y="" if y is None else y.parameter,
            x_labels=list(x.labels), y_labels=[] if y is None else list(y.labels), values=values,
        )  # fmt: skip

    def _at(self, up: int, across: int) -> float | None:
        total, count = self._found.get((up, across), (0.0, 0))
        return total / count if count else None

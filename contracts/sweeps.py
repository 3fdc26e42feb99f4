"""Requests and results of sweeps: one backtest with many combinations of its strategy's parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Self, override

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.backtests import BacktestAsked, FiguresModel

SCHEMA = 1
"""The version of requests and parts; a part of each sweep's identity."""
MOST_CELLS = 1_000_000
MOST_INDEXES = 10_000
"""Pieces that a sweep may be cut into. Kubernetes wants more said of a Job with more than 100,000."""
EXIT_REFUSED = 78
"""How a process ends that must not be tried again: what it was asked cannot be done (EX_CONFIG of sysexits.h)."""

Number = int | float
LOWER_IS_BETTER = frozenset({"max_drawdown", "volatility", "turnover", "exposure", "fees_paid"})
"""Of all other figures a higher one is better, where a request does not say otherwise."""


class Direction(StrEnum):
    """Which value of a figure is the best."""

    HIGHEST = "highest"
    LOWEST = "lowest"


class Phase(StrEnum):
    """What a cell ran on: all bars that were asked for, or a window of them to choose by, or one to see what the choice
    is worth."""

    WHOLE = "whole"
    TRAIN = "train"
    TEST = "test"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Model):
    """From `low` to `high`, both included. Whole numbers are drawn where both are whole. `log`: each order of magnitude
    is as likely as another."""

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _can_be_drawn_from(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}: nothing could be drawn. Swap them")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}: it has no logarithm. Give one above 0, or leave `log` out")
        return self

    @property
    def whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Grid = dict[str, list[Number]]


class RandomAsked(_Model):
    """`count` draws from `ranges`, by parameter. The same `seed` draws the same."""

    ranges: dict[str, Range]
    count: Annotated[int, Field(ge=1)]
    seed: int = 0


class WalkForwardAsked(_Model):
    """In each window the combination of `grid` that is best on `train_bars` bars is run on the `test_bars` bars behind
    them. A window begins `step_bars` bars after the one before; null is `test_bars`, so that each bar is tested once.
    What is too short for a window at the end is left out."""

    grid: Grid
    train_bars: Annotated[int, Field(ge=2)]
    test_bars: Annotated[int, Field(ge=2)]
    step_bars: Annotated[int, Field(ge=1)] | None = None

    @property
    def step(self) -> int:
        """From a window to the next, in bars."""
        return self.test_bars if self.step_bars is None else self.step_bars


class SweepAsked(BacktestAsked):
    """A backtest, and what to try with it: exactly one of `grid` (each combination of the values), `random` and
    `walk_forward`, of parameters that `parameters` does not fix. `metric`: the figure to rank by; `direction`: null is
    the usual one of that figure. `top`: so many of the best are shown. `cells_per_index`: how many runs are done as one
    piece of work, which is kept whole or not at all; a window of a walk-forward is never cut."""

    grid: Grid | None = Field(default=None, examples=[{"fast": [5, 10, 20], "slow": [30, 60, 120]}])
    random: RandomAsked | None = None
    walk_forward: WalkForwardAsked | None = None
    metric: str = Field(default="sharpe", examples=["calmar"])
    direction: Direction | None = None
    top: Annotated[int, Field(ge=1, le=1000)] = 10
    cells_per_index: Annotated[int, Field(ge=1, le=MOST_CELLS)] = 64

    @model_validator(mode="after")
    def _is_one_sweep(self) -> Self:
        kinds = [name for name in ("grid", "random", "walk_forward") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"{' and '.join(kinds) or 'no kind of sweep'} is given: what to try is not clear. Give exactly one of "
                "grid, random and walk_forward"
            )
        if not self.swept:
            raise ValueError(f"{kinds[0]} names no parameter: there would be one run. Name one with its values")
        if fixed := [name for name in self.swept if name in self.parameters]:
            raise ValueError(f"{fixed[0]} is swept, and fixed in `parameters`, too. Leave it out of one of them")
        for name, values in self.values.items():
            _listed(name, values)
        return self

    @model_validator(mode="after")
    def _can_be_ranked(self) -> Self:
        if self.metric not in FiguresModel.model_fields:
            raise ValueError(
                f"metric is {self.metric!r}: there is no such figure, so nothing could be ranked. Use one of "
                f"{', '.join(FiguresModel.model_fields)}"
            )
        return self

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        # Of a walk-forward it is known once there are bars: no window is cut.
        bounded(self.combinations, 1 if self.walk_forward else -(-self.combinations // self.cells_per_index))
        return self

    @property
    def values(self) -> Mapping[str, Sequence[Number]]:
        """The values by parameter; none where they are drawn."""
        return self.grid or (self.walk_forward.grid if self.walk_forward is not None else {})

    @property
    def swept(self) -> tuple[str, ...]:
        """The parameters that are tried, in the order in which they are given."""
        return tuple(self.values if self.random is None else self.random.ranges)

    @property
    def combinations(self) -> int:
        """How many combinations there are, those that the strategy will not have among them; a walk-forward tries
        each in each window."""
        return math.prod(map(len, self.values.values())) if self.random is None else self.random.count

    @property
    def best(self) -> Direction:
        """Which value of the metric is the best."""
        if self.direction is not None:
            return self.direction
        return Direction.LOWEST if self.metric in LOWER_IS_BETTER else Direction.HIGHEST

    def backtest(self, parameters: Mapping[str, Number]) -> BacktestAsked:
        """The single run with these parameters beside the fixed ones."""
        base = self.model_dump(include=set(BacktestAsked.model_fields))
        return BacktestAsked.model_validate({**base, "parameters": {**self.parameters, **parameters}})

    @override
    def identity(self, engine: str, bars_sha256: Sequence[str], source_sha256: str | None = None) -> str:
        """As of a backtest. How many of the best are shown makes no other sweep."""
        parts: dict[str, object] = {
            "schema": SCHEMA,
            "engine": engine,
            "bars": list(bars_sha256),
            "sweep": self.model_dump(mode="json", exclude_defaults=True, exclude={"engine", "top"}),
        }
        if source_sha256 is not None:
            parts["source"] = source_sha256
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def bounded(cells: int, indexes: int) -> None:
    """Raise ValueError where a sweep has too many cells, or is cut into too many pieces."""
    if cells > MOST_CELLS:
        raise ValueError(
            f"the sweep has {cells:,} cells, of at most {MOST_CELLS:,}: it would not end. Give fewer values, or draw "
            "some of them (random)"
        )
    if indexes > MOST_INDEXES:
        raise ValueError(
            f"the sweep would be cut into {indexes:,} pieces, of at most {MOST_INDEXES:,}: Kubernetes could not follow "
            f"them. Give a larger cells_per_index, {-(-cells // MOST_INDEXES)} or more"
        )


def _listed(name: str, values: Sequence[Number]) -> None:
    if not values:
        raise ValueError(f"{name} has no values: no combination would be left. Give one, or leave {name} out")
    seen: set[Number] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{name} lists {value} twice: its cells would be run twice. Leave one out")
        seen.add(value)


class Sweep(_Model):
    """A sweep that was asked for, as it is kept: with the engine that does it, the checksums of its bars, one a leg,
    and how many bars there are; `source_sha256`: of the file of a strategy of the user's own. `cells` are run;
    `skipped` combinations are such as the strategy will not have. `indexes`: into how many pieces it is cut."""

    schema_version: int = SCHEMA
    id: str
    asked: SweepAsked
    engine: str
    bars_sha256: list[str]
    bars: int
    source_sha256: str | None = None
    cells: int
    skipped: int
    indexes: int


class SweepState(_Model):
    """A sweep, and which of its pieces are done."""

    sweep: Sweep
    done: list[int]


class Row(_Model):
    """What one cell came to. `number` is its place among all combinations; `window` the place of a walk-forward's
    window, else null. It ran on the bars from `first` to `last`, both included. `figures` are null where it failed, as
    `error` says. `halted`: the day after whose close a limit ended trading."""

    number: int
    phase: Phase = Phase.WHOLE
    window: int | None = None
    parameters: dict[str, Number]
    first: date
    last: date
    halted: date | None = None
    figures: FiguresModel | None = None
    error: str = ""


class HeatMap(_Model):
    """A figure over the values of two swept parameters, over all others the `best` or the `mean` of it; `y` and
    `y_labels` are empty where one parameter alone is swept. `values` by y, then by x; null where nothing was run."""

    metric: str
    how: str
    x: str
    y: str
    x_labels: list[str]
    y_labels: list[str]
    values: list[list[float | None]]


class Standing(_Model):
    """How a sweep stands: the best of it so far, how many cells are run, how many of those failed, and its map."""

    state: SweepState
    top: list[Row]
    run: int
    failed: int
    heat_map: HeatMap

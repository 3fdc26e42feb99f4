"""What a sweep runs, by number, and which piece of work has which of it. Pure.

Every combination has a number, those that the strategy will not have among them, so that the cells of a piece are known
without those before it. A grid is counted through like a clock, its last parameter the fastest. A walk-forward has, for
each window, all combinations, and then one number for the test of the best.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.backtesting.asking import check_legs
from adapters.backtesting.strategies import STRATEGIES, Strategy, check_named, kind_of, parameter_names, source_of
from adapters.backtesting.sweeps.windows import Window, windows
from contracts.backtests import FiguresModel
from contracts.sweeps import Number, Phase, Range, Row, Sweep, SweepAsked, bounded

TAKEN = frozenset({*Row.model_fields, *FiguresModel.model_fields})
"""What no swept parameter may be called: the results have columns of these names."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run. `parameters` are those that are swept; None where they are the best of the window's others."""

    number: int
    phase: Phase
    window: int | None
    parameters: dict[str, Number] | None


@dataclass(frozen=True, slots=True)
class Layout:
    """The cells of `asked`, and how they are cut. `windows`: of a walk-forward, else none."""

    asked: SweepAsked
    windows: tuple[Window, ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return len(self.windows) * self._a_window if self.windows else self.asked.combinations

    @property
    def indexes(self) -> int:
        """Into how many pieces they are cut."""
        return -(-self.numbers // self._a_piece)

    def chunk(self, index: int) -> range:
        """The numbers of piece `index`."""
        first = index * self._a_piece
        return range(first, min(first + self._a_piece, self.numbers))

    def cells(self, index: int) -> Iterator[Cell]:
        """The cells of piece `index`, in order; combinations that the strategy will not have are passed over."""
        for number in self.chunk(index):
            if not self.windows:
                window, phase, place = None, Phase.WHOLE, number
            else:
                window, place = divmod(number, self._a_window)
                phase = Phase.TEST if place == self.asked.combinations else Phase.TRAIN
            parameters = None if phase is Phase.TEST else combination(self.asked, place)
            if parameters is None or accepted(self.asked, parameters):
                yield Cell(number, phase, window, parameters)

    @property
    def _a_window(self) -> int:
        return self.asked.combinations + 1

    @property
    def _a_piece(self) -> int:
        if not self.windows:
            return self.asked.cells_per_index
        return max(1, self.asked.cells_per_index // self._a_window) * self._a_window


def layout(asked: SweepAsked, bars: int) -> Layout:
    """The layout over `bars` bars. Raises ValueError where no window fits, or there are too many cells."""
    if asked.walk_forward is None:
        return Layout(asked)
    found = Layout(asked, windows(bars, asked.walk_forward))
    bounded(found.numbers, found.indexes)
    return found


def layout_of(sweep: Sweep) -> Layout:
    """Of a sweep that is kept."""
    return layout(sweep.asked, sweep.bars)


def combination(asked: SweepAsked, number: int) -> dict[str, Number]:
    """The swept parameters of combination `number`, from 0."""
    if asked.random is not None:
        # Seeded for each draw, so that a piece needs none of the draws before it.
        drawing = random.Random(f"{asked.random.seed}:{number}")  # noqa: S311 - nothing secret is drawn
        return {name: _drawn(drawing, among) for name, among in asked.random.ranges.items()}
    found: dict[str, Number] = {}
    for name, values in reversed(list(asked.values.items())):
        number, place = divmod(number, len(values))
        found[name] = values[place]
    return {name: found[name] for name in asked.values}


def _drawn(drawing: random.Random, among: Range) -> Number:
    if among.log:
        # A whole number has the room from half below to half above it, or 1 would be drawn half as often as it should.
        room = 0.5 if among.whole else 0.0
        value = math.exp(drawing.uniform(math.log(among.low - room), math.log(among.high + room)))
        value = min(max(value, among.low), among.high)
        return round(value) if among.whole else value
    if isinstance(among.low, int) and isinstance(among.high, int):
        return drawing.randint(among.low, among.high)
    return drawing.uniform(among.low, among.high)


def strategy_with(asked: SweepAsked, parameters: dict[str, Number]) -> Strategy:
    """The strategy of a cell. Raises ValueError where it will not have these parameters."""
    return kind_of(asked.strategy)(**{**asked.parameters, **parameters})


def accepted(asked: SweepAsked, parameters: dict[str, Number]) -> bool:
    """Whether the strategy will have these parameters. One of the user's own is not asked, for who counts cells must
    not run its code: what it will not have is a cell that fails."""
    if asked.strategy not in STRATEGIES:
        return True
    try:
        strategy_with(asked, parameters)
    except ValueError:
        return False
    return True


def check(asked: SweepAsked) -> int:
    """How many combinations the strategy is known not to have. Raises ValueError where it will have none, there is no
    such strategy or parameter, or it trades another number of symbols."""
    check_named(asked.strategy, {})
    check_legs(asked)
    known = parameter_names(asked.strategy)
    if unknown := [name for name in (*asked.parameters, *asked.swept) if name not in known]:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"{asked.strategy} has no parameter {', '.join(unknown)}: {has}")
    if taken := [name for name in asked.swept if name in TAKEN]:
        raise ValueError(
            f"{taken[0]} of {asked.strategy} is called as a column of the results: they could not be told apart. Give "
            "the parameter another name"
        )
    if asked.strategy not in STRATEGIES:
        return 0
    refused = sum(not accepted(asked, combination(asked, number)) for number in range(asked.combinations))
    if refused == asked.combinations:
        try:
            strategy_with(asked, combination(asked, 0))
        except ValueError as error:
            raise ValueError(f"{asked.strategy} will have none of the combinations. Of the first: {error}") from None
    return refused


def sweep_of(asked: SweepAsked, engine: str, bars_sha256: tuple[str, ...], bars: int) -> Sweep:
    """The sweep as it is kept. Raises ValueError where it cannot be run."""
    refused, found, source = check(asked), layout(asked, bars), source_of(asked.strategy)
    skipped = refused * max(1, len(found.windows))
    return Sweep(
        id=asked.identity(engine, bars_sha256, source),
        asked=asked,
        engine=engine,
        bars_sha256=list(bars_sha256),
        bars=bars,
        source_sha256=source,
        cells=found.numbers - skipped,
        skipped=skipped,
        indexes=found.indexes,
    )

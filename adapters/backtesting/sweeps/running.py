"""The cells of one piece, run in this process by one engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.backtesting.asking import rules_of
from adapters.backtesting.bars import Bars
from adapters.backtesting.base import BacktestEngine
from adapters.backtesting.measures import figures
from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.cells import Cell, Layout, layout_of, strategy_with
from adapters.backtesting.sweeps.histories import HistoryOf, Legs, legs_of
from adapters.backtesting.sweeps.parts import Parts
from adapters.backtesting.sweeps.ranking import ranked
from adapters.backtesting.sweeps.windows import Span
from contracts.backtests import FiguresModel
from contracts.sweeps import Phase, Row, Sweep

_log = logging.getLogger(__name__)


class OtherBars(ValueError):
    """The bars here are not those that the sweep was asked for on."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What running any piece of a sweep takes; it is made once a process. `engine` is loaded when it is first used."""

    sweep: Sweep
    layout: Layout
    legs: Legs
    engine: Callable[[], BacktestEngine]


def workshop(sweep: Sweep, history_of: HistoryOf, engine: Callable[[], BacktestEngine]) -> Workshop:
    """Raises OtherBars, and ValueError where there are no bars."""
    legs = legs_of(sweep.asked, history_of)
    if list(legs.sha256) != sweep.bars_sha256:
        raise OtherBars(
            f"the bars of {' and '.join(sweep.asked.symbols)} have other checksums here ({', '.join(legs.sha256)}) "
            f"than in sweep {sweep.id}: its results would be mixed. Ask for the sweep again, on these bars"
        )
    return Workshop(sweep, layout_of(sweep), legs, engine)


def do_piece(made: Workshop, index: int, parts: Parts) -> bool:
    """Run piece `index` and keep it; False where it was there. Raises EngineUnavailable, JobsError."""
    if parts.has(index):
        return False
    began = time.monotonic()
    engine = made.engine()
    rows = run_piece(made, index, engine)
    parts.put(index, tables.written(rows, made.sweep, engine.version))
    failed = sum(bool(row.error) for row in rows)
    _log.info("piece %d: %d cells in %.1f s, %d of them failed", index, len(rows), time.monotonic() - began, failed)
    return True


def run_piece(made: Workshop, index: int, engine: BacktestEngine) -> list[Row]:
    """The rows of piece `index`, by number. A cell that fails is a row that says so."""
    rows: list[Row] = []
    trained: list[Row] = []
    for cell in made.layout.cells(index):
        if cell.phase is Phase.TEST:
            rows.append(_test(made, cell, trained, engine))
            trained = []
            continue
        rows.append(_run(made, cell, engine))
        if cell.phase is Phase.TRAIN:
            trained.append(rows[-1])
    return rows


def _test(made: Workshop, cell: Cell, trained: Sequence[Row], engine: BacktestEngine) -> Row:
    """The best of a window's combinations, on the bars behind it."""
    asked = made.sweep.asked
    able = ranked((row for row in trained if row.figures is not None), asked.metric, asked.best, 1)
    if not able:
        why = f"none of the {len(trained)} combinations could be run on the bars to train on"
        return _row(cell, {}, _bars(made, cell), error=why)
    return _run(made, Cell(cell.number, cell.phase, cell.window, able[0].parameters), engine)


def _run(made: Workshop, cell: Cell, engine: BacktestEngine) -> Row:
    asked, bars, parameters = made.sweep.asked, _bars(made, cell), cell.parameters or {}
    rules = rules_of(asked)
    try:
        outcome = engine.run(strategy_with(asked, parameters), bars, rules)
        found = FiguresModel.model_validate(figures(outcome.fills, outcome.equity, rules, bars[0].a_year()))
    except MemoryError:
        # The next cell would fail too. The piece is tried again, in a process that has its memory to itself.
        raise
    except (Exception, SystemExit) as error:  # a strategy that ends its process ends its cell alone
        return _row(cell, parameters, bars, error=f"{type(error).__name__}: {error}")
    row = _row(cell, parameters, bars)
    halted = None if outcome.halted is None else bars[0].day(outcome.halted)
    return row.model_copy(update={"figures": found, "halted": halted})


def _bars(made: Workshop, cell: Cell) -> Sequence[Bars]:
    span = _span(made, cell)
    return made.legs.bars if span is None else [bars.part(span.first, span.last) for bars in made.legs.bars]


def _span(made: Workshop, cell: Cell) -> Span | None:
    if cell.window is None:
        return None
    window = made.layout.windows[cell.window]
    return window.test if cell.phase is Phase.TEST else window.train


def _row(cell: Cell, parameters: dict[str, int | float], bars: Sequence[Bars], *, error: str = "") -> Row:
    first = bars[0]
    return Row(
        number=cell.number, phase=cell.phase, window=cell.window, parameters=parameters, first=first.day(0),
        last=first.day(len(first) - 1), error=error,
    )  # fmt: skip

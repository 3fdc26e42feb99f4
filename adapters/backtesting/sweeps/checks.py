"""Whether bytes are the piece that they are said to be: whoever made them may have been anybody's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.cells import Cell, Layout
from contracts.sweeps import Number, Phase, Row, Sweep


def checked(content: bytes, index: int, sweep: Sweep, layout: Layout) -> list[Row]:
    """The rows of piece `index`: of its cells, each once and in order. Raises tables.NotAPart."""
    if index >= layout.indexes:
        raise tables.NotAPart(f"the sweep has pieces 0 to {layout.indexes - 1}, and none of number {index}")
    cells = list(layout.cells(index))
    rows = tables.read(content, sweep, len(cells))
    if not _are_of(rows, cells):
        raise tables.NotAPart(f"it has not the cells of piece {index}, each once and in order")
    return rows


def _are_of(rows: Sequence[Row], cells: Sequence[Cell]) -> bool:
    if len(rows) != len(cells):
        return False
    return all(
        (row.number, row.phase, row.window) == (cell.number, cell.phase, cell.window)
        # What a test ran with was chosen on the way.
        and (cell.phase is Phase.TEST or _floats(row.parameters) == _floats(cell.parameters or {}))
        for row, cell in zip(rows, cells, strict=True)
    )


def _floats(parameters: Mapping[str, Number]) -> Mapping[str, float]:
    """As they are in a column that has whole numbers among others."""
    return {name: float(value) for name, value in parameters.items()}

"""The rows of a sweep as Parquet: the one module of the adapters that imports pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from adapters.backtesting.sweeps.parts import MOST_BYTES
from contracts.backtests import FiguresModel
from contracts.sweeps import MOST_CELLS, Row, Sweep

MEDIA_TYPE = "application/vnd.apache.parquet"
_OWN = {
    "number": pa.int64(), "phase": pa.string(), "window": pa.int32(), "first": pa.date32(), "last": pa.date32(),
    "halted": pa.date32(), "error": pa.string(),
}  # fmt: skip
_TEXTS = ["phase", "error"]
_MOST_UNPACKED = 4 * MOST_BYTES
FIGURES = tuple(FiguresModel.model_fields)
COLUMNS = (*_OWN, *FIGURES)
"""Beside these each swept parameter has a column of its name."""


class NotAPart(ValueError):
    """Bytes that are no rows of the sweep."""


def written(rows: Sequence[Row], sweep: Sweep, engine_version: str = "") -> bytes:
    """The rows as one file, which says by itself what it is of."""
    out = io.BytesIO()
    pq.write_table(_table(rows, sweep, engine_version), out, compression="zstd")
    return out.getvalue()


def read(content: bytes, sweep: Sweep, most: int = MOST_CELLS) -> list[Row]:
    """The rows of a part, of which there may be `most`. Raises NotAPart."""
    try:
        file = pq.ParquetFile(io.BytesIO(content), read_dictionary=_TEXTS)
        told = (file.schema_arrow.metadata or {}).get(b"crossover.sweep", b"").decode(errors="replace")
        if told != sweep.id:
            raise NotAPart(f"it is of sweep {told or 'that it does not name'}, not of {sweep.id}")
        _check_size(file, most)
        return [_row(values, sweep.asked.swept) for values in _plain(file, sweep).to_pylist()]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValidationError) as error:
        raise NotAPart(f"it is no Parquet file with rows of a sweep: {type(error).__name__}: {error}") from None


def _check_size(file: Any, most: int) -> None:
    """What is packed may be small, and its content fill the memory."""
    told = file.metadata
    if told.num_rows > most:
        raise NotAPart(f"it has {told.num_rows:,} rows, of at most {most:,}")
    size = sum(told.row_group(group).total_byte_size for group in range(told.num_row_groups))
    if size > _MOST_UNPACKED:
        raise NotAPart(f"it has {size:,} bytes unpacked, of at most {_MOST_UNPACKED:,}")


def _plain(file: Any, sweep: Sweep) -> Any:
    """The columns that are ours, of our types; texts are unpacked once they are known to be short enough."""
    schema = _schema(sweep)
    table = file.read(columns=schema.names)
    for name in _TEXTS:
        column = table.column(name).combine_chunks()
        if not pa.types.is_dictionary(column.type):
            raise NotAPart(f"{name} is {column.type}, no text")
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        if (pc.sum(lengths).as_py() or 0) > MOST_BYTES:
            raise NotAPart(f"{name} has more than {MOST_BYTES:,} bytes unpacked")
    return table.select(schema.names).cast(schema)


def gather(parts: Iterable[bytes], sweep: Sweep, out: BinaryIO | Path) -> int:
    """Write all rows of `parts`, in their order, to `out` as one file; how many. One part is held at a time."""
    writer, count = None, 0
    for content in parts:
        table = pq.read_table(io.BytesIO(content))
        if writer is None:
            writer = pq.ParquetWriter(out, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))
        count += len(table)
    if writer is None:
        writer = pq.ParquetWriter(out, _table([], sweep, "").schema, compression="zstd")
    writer.close()
    return count


def rows_of(parts: Iterable[bytes], sweep: Sweep) -> Iterator[Row]:
    """The rows of `parts`, in their order. Raises NotAPart."""
    for content in parts:
        yield from read(content, sweep)


def _schema(sweep: Sweep) -> Any:
    figures = [(name, pa.int64() if name == "trades" else pa.float64()) for name in FIGURES]
    return pa.schema([*_OWN.items(), *((name, _type(sweep, name)) for name in sweep.asked.swept), *figures])


def _table(rows: Sequence[Row], sweep: Sweep, engine_version: str) -> Any:
    swept = sweep.asked.swept
    schema = _schema(sweep).with_metadata(
        {
            "crossover.sweep": sweep.id,
            "crossover.engine": sweep.engine,
            "crossover.engine_version": engine_version,
            "crossover.asked": sweep.asked.model_dump_json(exclude_defaults=True),
        }
    )
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _OWN}
    # A test of which nothing was chosen has no parameters.
    columns |= {name: [row.parameters.get(name) for row in rows] for name in swept}
    columns |= {name: [getattr(row.figures, name, None) for row in rows] for name in FIGURES}
    return pa.table(columns, schema=schema)


def _type(sweep: Sweep, parameter: str) -> Any:
    asked = sweep.asked
    values: Sequence[object] = (
        asked.values[parameter]
        if asked.random is None
        else (asked.random.ranges[parameter].low, asked.random.ranges[parameter].high)
    )
    return pa.int64() if all(isinstance(value, int) for value in values) else pa.float64()


def _row(values: dict[str, Any], swept: Sequence[str]) -> Row:
    own = {name: values[name] for name in _OWN}
    figures = {name: values[name] for name in FIGURES}
    return Row(
        **own,
        parameters={name: values[name] for name in swept if values[name] is not None},
        figures=None if values["final_equity"] is None else FiguresModel(**figures),
    )

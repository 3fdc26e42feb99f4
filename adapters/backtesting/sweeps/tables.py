"""The rows of a sweep as Parquet: the one module of the adapters that imports pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from adapters.backtesting.sweeps.columns import Columns, Floats
from adapters.backtesting.sweeps.parts import MOST_BYTES
from contracts.backtests import FiguresModel
from contracts.sweeps import MOST_CELLS, Phase, Row, Sweep

MEDIA_TYPE = "application/vnd.apache.parquet"
_OWN = {
    "number": pa.int64(), "phase": pa.string(), "window": pa.int32(), "first": pa.date32(), "last": pa.date32(),
    "halted": pa.date32(), "error": pa.string(),
}  # fmt: skip
_TEXTS = ["phase", "error"]
_MOST_UNPACKED = 4 * MOST_BYTES
_AT_ONCE = 50_000
"""Rows of so many parts are looked at at once: each look costs as much as a hundred rows."""
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
    with _translated():
        file = _of(sweep, pq.ParquetFile(pa.BufferReader(content), read_dictionary=_TEXTS))
        _check_size(file, most)
        return [_row(values, sweep.asked.swept) for values in _plain(file, sweep).to_pylist()]


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
    table = file.read(columns=schema.names, use_threads=False)
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
        # Not by Arrow's threads, which would call back into Python for a file of its own: once one was still about it
        # when the process ended, and the process was aborted.
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        if writer is None:
            writer = pq.ParquetWriter(out, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))
        count += len(table)
    if writer is None:
        writer = pq.ParquetWriter(out, _table([], sweep, "").schema, compression="zstd")
    writer.close()
    return count


def columns_of(parts: Iterable[tuple[int, bytes]], sweep: Sweep, parameters: Sequence[str]) -> Iterator[Columns]:
    """What ranking needs of the rows of parts that were checked, and no other column, of many small parts at once.
    Raises NotAPart."""
    names = dict.fromkeys(["number", "phase", "error", "final_equity", sweep.asked.metric, *parameters])
    schema = pa.schema([_schema(sweep).field(name) for name in names])
    read: dict[int, Any] = {}
    rows = 0
    for index, content in parts:
        with _translated():
            file = _of(sweep, pq.ParquetFile(pa.BufferReader(content)))
            table = file.read(columns=schema.names, use_threads=False).select(schema.names)
            read[index] = table if table.schema == schema else table.cast(schema)
        rows += len(table)
        if rows >= _AT_ONCE:
            yield _columns(read, sweep, parameters)
            read, rows = {}, 0
    if read:
        yield _columns(read, sweep, parameters)


def _columns(read: Mapping[int, Any], sweep: Sweep, parameters: Sequence[str]) -> Columns:
    sizes = [len(table) for table in read.values()]
    table = pa.concat_tables(list(read.values()))
    phase, values = table.column("phase"), _floats(table.column(sweep.asked.metric))
    # A row without figures has none, whatever stands in this column.
    values[table.column("final_equity").is_null().to_numpy()] = np.nan
    return Columns(
        parts=np.repeat(np.array(list(read), np.int64), sizes),
        places=np.concatenate([np.arange(size, dtype=np.int64) for size in sizes]),
        numbers=table.column("number").to_numpy(),
        values=values,
        trained=pc.equal(phase, Phase.TRAIN.value).to_numpy(),
        tested=pc.equal(phase, Phase.TEST.value).to_numpy(),
        failed=pc.greater(pc.binary_length(table.column("error")), 0).to_numpy(),
        parameters={name: _floats(table.column(name)) for name in parameters},
    )


def rows_at(content: bytes, sweep: Sweep, places: Sequence[int]) -> list[Row]:
    """Some rows of a part that was checked, in the order of `places`. Raises NotAPart."""
    with _translated():
        table = _of(sweep, pq.ParquetFile(pa.BufferReader(content))).read(use_threads=False)
        return [_row(values, sweep.asked.swept) for values in table.take(pa.array(places, pa.int64())).to_pylist()]


def _floats(column: Any) -> Floats:
    """NaN where there is none."""
    return np.array(column.cast(pa.float64()).to_numpy(), np.float64)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError, ValidationError) as error:
        raise NotAPart(f"it is no Parquet file with rows of a sweep: {type(error).__name__}: {error}") from None


def _of(sweep: Sweep, file: Any) -> Any:
    """The file, which must say that it is of this sweep."""
    told = (file.metadata.metadata or {}).get(b"crossover.sweep", b"").decode(errors="replace")
    if told != sweep.id:
        raise NotAPart(f"it is of sweep {told or 'that it does not name'}, not of {sweep.id}")
    return file


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

"""CSV and Parquet as arrays, and back: the one module of the adapters that imports pyarrow.

All is read with one thread: a worker of backtests may have little memory, and threads bring stacks of their own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from adapters.backtesting.bars import DAY_NS, Bars, Floats, Stamps
from adapters.backtesting.histories.decimals import PLACES, doubles_of
from adapters.backtesting.histories.problems import HistoryError, found, refusal
from adapters.backtesting.histories.rows import NUMBERS, Rows
from adapters.backtesting.histories.written import parsed

TIMES = ("timestamp", "datetime", "date")
"""Columns that may hold the time of a bar; the first that is there does."""
_BLOCK = 8 << 20
_INSTANT = pa.timestamp("ns", "UTC")
_RAW = pa.binary(PLACES)
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_ROWS_PER_GROUP = 100_000
_LONGEST = 1 << 16
"""Of a header that is looked at, in bytes."""


def csv_rows(content: bytes, name: str) -> Rows:
    """The rows of a CSV file with a header; empty lines are passed over. Raises HistoryError."""
    columns = _columns(_header(_text(content, name)), name)
    short: list[Any] = []
    try:
        table = _csv(content, columns, pa.float64(), short)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:  # it names one field that is no number: find them all
        _refuse_words(content, columns, name)
        raise HistoryError(f"{name} cannot be read as CSV: {_short(error)}. Give it with commas") from None
    if short:
        said = [f"{row.actual_columns} fields in place of {row.expected_columns}: {row.text[:80]!r}" for row in short]
        bad = found(np.ones(len(short), dtype=np.bool_), lambda row: said[row], "give each line all fields")
        raise refusal(name, bad, lambda row: f"line {short[row].number}")
    filled = ~_empty(table)
    return _rows(table.filter(pa.array(filled)), np.flatnonzero(filled) + 2, "line", name)


def parquet_rows(content: bytes, name: str) -> Rows:
    """The rows of a Parquet file with plain columns. Raises HistoryError."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        columns = _columns(file.schema_arrow.names, name)
        table = file.read(columns=list(columns.values()), use_threads=False)
        table.validate(full=True)  # reading alone lets text pass that is none
        made = {one: table[column] for one, column in columns.items()}
    except MemoryError:
        raise  # pyarrow's own is an ArrowException, too, and says nothing of the file
    except (pa.ArrowException, OSError, ValueError) as error:
        raise HistoryError(f"{name} cannot be read as Parquet: {_short(error)}. Write or fetch it again") from None
    for one in NUMBERS:
        try:
            made[one] = made[one].cast(pa.float64(), safe=False)
        except (pa.ArrowException, KeyError):
            raise HistoryError(f"{name}: column {one} is of type {made[one].type}: give numbers") from None
    return _rows(pa.table(made), np.arange(1, len(table) + 1), "row", name)


def plain_parquet(bars: Bars, told: Mapping[str, str]) -> bytes:
    """`bars` as a Parquet file with plain columns, that parquet_rows reads; `told` stands in its metadata."""
    opened = pa.array(bars.opened).cast(_INSTANT)
    time = {"timestamp": opened}
    if not np.any(bars.opened % DAY_NS):
        time = {"date": opened.cast(pa.timestamp("ns")).cast(pa.date32())}
    table = pa.table({**time, **{name: getattr(bars, name) for name in NUMBERS}})
    table = table.replace_schema_metadata({f"crossover.{key}": value for key, value in told.items()})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    return out.getvalue()


def nautilus_bars(files: Sequence[Path], bar_type: str) -> Mapping[str, Any]:
    """`ts_event`, in nanoseconds, prices and volumes of the bars in `files`, which Nautilus wrote for `bar_type`.

    Raises HistoryError naming the file that is corrupt, cut short, or no such file."""
    parts: dict[str, list[Any]] = {name: [] for name in ("ts_event", *NUMBERS)}
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                decimals = _decimals(file.schema_arrow, bar_type)
                for number in range(file.num_row_groups):
                    group = file.read_row_group(number, columns=list(parts), use_threads=False)
                    parts["ts_event"].append(group["ts_event"].to_numpy())
                    for name in NUMBERS:
                        parts[name].append(_doubles(group[name], decimals[name]))
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise HistoryError(
                f"{path} cannot be read: {_short(error)}. The history that it is part of is not whole: import it again"
            ) from None
    return {name: np.concatenate(part) for name, part in parts.items()}


def _decimals(schema: Any, bar_type: str) -> Mapping[str, int]:
    """Of each column. Raises ValueError where the file is not one of bars as Nautilus writes them."""
    wrong = [name for name in NUMBERS if name not in schema.names or schema.field(name).type != _RAW]
    if wrong or "ts_event" not in schema.names or schema.field("ts_event").type != pa.uint64():
        raise ValueError(
            f"it has not the columns of Nautilus' bars with high precision ({', '.join(wrong) or 'ts_event'})"
        )
    told = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    if told.get("bar_type") != bar_type:
        raise ValueError(f"it says bar_type {told.get('bar_type')!r}, not {bar_type!r}")
    try:
        price, size = int(told["price_precision"]), int(told["size_precision"])
    except (KeyError, ValueError):
        raise ValueError("it does not say how many decimals its prices have") from None
    if not (0 <= price <= PLACES and 0 <= size <= PLACES):
        raise ValueError(f"it says {price} and {size} decimals, of at most {PLACES}")
    return {name: size if name == "volume" else price for name in NUMBERS}


def _doubles(column: Any, decimals: int) -> Floats:
    made = [np.empty(0)]
    for chunk in column.chunks:
        if chunk.null_count:
            raise ValueError("a value is missing")
        start = chunk.offset * PLACES
        made.append(doubles_of(memoryview(chunk.buffers()[1])[start : start + len(chunk) * PLACES], decimals))
    return np.concatenate(made)


def _text(content: bytes, name: str) -> bytes:
    """`content`, which is text. Raises HistoryError naming the line that is not."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise HistoryError(
            f"{name} is neither CSV in UTF-8, nor .gz of it, nor Parquet: nothing can be read. Line {line} has the "
            f"byte 0x{content[error.start]:02x}, which is no text. Write or fetch it again"
        ) from None
    return content


def _header(content: bytes) -> list[str]:
    first = content.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return next(csv.reader([first[:_LONGEST].decode(errors="replace").rstrip("\r")]), [])


def _columns(names: Sequence[str], name: str) -> dict[str, str]:
    """`time` and the numbers -> the column's name as it stands in the file."""
    known: dict[str, str] = {}
    for column in names:
        plain = column.strip().lower()
        if plain in known and plain in (*TIMES, *NUMBERS):
            raise HistoryError(f"{name} has two columns {plain}: which one is meant is not known. Leave one out")
        known.setdefault(plain, column)
    time = next((one for one in TIMES if one in known), None)
    missing = [one for one in NUMBERS if one not in known]
    if time is None:
        missing.insert(0, " or ".join(TIMES))
    if missing or time is None:
        shown = ", ".join(names)[:200]
        raise HistoryError(f"{name} lacks the columns {', '.join(missing)}; it has: {shown}. Name them in its header")
    return {"time": known[time], **{one: known[one] for one in NUMBERS}}


def _csv(content: bytes, columns: Mapping[str, str], numbers: Any, short: list[Any]) -> Any:
    """The columns as a table; lines with too few or too many fields go to `short`."""

    def passed_over(row: Any) -> str:
        short.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        io.BytesIO(content),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
        parse_options=pyarrow.csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=passed_over),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(columns.values()),
            column_types={column: pa.string() if one == "time" else numbers for one, column in columns.items()},
        ),
    )
    return table.rename_columns(list(columns))


def _refuse_words(content: bytes, columns: Mapping[str, str], name: str) -> None:
    """Raise HistoryError naming the fields that are to be numbers and are not, where there are any."""
    short: list[Any] = []
    try:
        table = _csv(content, columns, pa.string(), short)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return  # another fault, that the first reading told of
    lines = np.delete(np.arange(2, len(table) + len(short) + 2), [row.number - 2 for row in short])
    problems = []
    for one in NUMBERS:
        number = pc.match_substring_regex(table[one], _NUMBER)
        empty = pc.is_in(table[one], pa.array(["", "NaN", "nan", "NA", "null"]))
        bad = ~pc.or_(pc.fill_null(number, True), empty).to_numpy()
        problems += found(bad, _word(one, table[one]), "give a plain number, with a point for its decimals")
    if problems:
        raise refusal(name, problems, lambda row: f"line {lines[row]}")


def _word(one: str, column: Any) -> Callable[[int], str]:
    return lambda row: f"{one} is {column[row].as_py()!r}, no number"


def _empty(table: Any) -> NDArray[np.bool_]:
    made: NDArray[np.bool_] = pc.equal(table["time"], "").to_numpy()
    for one in NUMBERS:
        made &= pc.is_null(table[one]).to_numpy()
    return made


def _rows(table: Any, lines: NDArray[np.int64], word: str, name: str) -> Rows:
    if not len(table):
        raise HistoryError(f"{name} holds no bars: nothing could be tested on it. Give a file that has some")
    column = table["time"]
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        stamps, instants = _stamps(column, name), getattr(column.type, "tz", None) is not None
        missing = pc.is_null(column).to_numpy()
        problems = found(missing, lambda row: "it has no time", "give each bar its time")
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        stamps, instants, problems = _quick(column) or parsed(column.to_pylist())
    else:
        raise HistoryError(f"{name}: times are of type {column.type}: give dates, timestamps, or text")
    if problems:
        raise refusal(name, problems, lambda row: f"{word} {lines[row]}")
    numbers = {one: table[one].to_numpy() for one in NUMBERS}
    return Rows(times=stamps, instants=instants, lines=lines, word=word, **numbers)


def _stamps(column: Any, name: str) -> Stamps:
    try:
        stamps = column.cast(pa.timestamp("ns", getattr(column.type, "tz", None))).cast(pa.int64())
    except pa.ArrowInvalid:
        raise HistoryError(
            f"{name} has times before 1677 or after 2262: see that they are in the unit it says"
        ) from None
    made: Stamps = pc.fill_null(stamps, 0).to_numpy()
    return made


def _quick(column: Any) -> tuple[Stamps, bool, list[Any]] | None:
    """Times that are all of one form, as nanoseconds, and whether they are instants; None where they are not."""
    for kind in (pa.timestamp("ns"), _INSTANT) if not column.null_count else ():
        try:
            return column.cast(kind).cast(pa.int64()).to_numpy(), kind is _INSTANT, []
        except pa.ArrowInvalid:
            continue
    return None


def _short(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]

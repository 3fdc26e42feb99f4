"""Files of bars that tests of histories share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from adapters.backtesting.histories.options import Options
from adapters.backtesting.histories.reading import Checked, read

HEADER = "Date,Open,High,Low,Close,Volume"
NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9


def csv(*lines: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


def at(times: Sequence[str], numbers: str = "10,12,9,11,100") -> bytes:
    """A bar at each of `times`."""
    return csv(*(f"{time},{numbers}" for time in times))


def parquet(**columns: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def taken(content: bytes, **options: str) -> Checked:
    return read(content, "x.csv", "X", Options.parsed(**options), NOW)

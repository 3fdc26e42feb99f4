"""What a run came to, as Parquet: the one module of the service that imports pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from contracts.backtests import Result

EQUITY, ORDERS, TRADES = "equity.parquet", "orders.parquet", "trades.parquet"
_TIME = pa.timestamp("us", tz="UTC")
_EQUITY = pa.schema([("at", _TIME), *((name, pa.float64()) for name in ("equity", "drawdown", "change"))])
_ORDERS = pa.schema(
    [("at", _TIME), ("symbol", pa.string()), ("side", pa.string())]
    + [(name, pa.float64()) for name in ("quantity", "price", "fee")]
)
_TRADES = pa.schema(
    [("symbol", pa.string()), ("side", pa.string()), ("entry_date", pa.date32()), ("exit_date", pa.date32())]
    + [(name, pa.float64()) for name in ("entry_price", "exit_price", "quantity", "fees", "pnl")]
)


def tables(result: Result, run_id: str) -> Mapping[str, bytes]:
    """By file name. Each file's own metadata names the run, the engine and its version, so that one that was carried
    away still says what it is."""
    told = {"run": run_id, "engine": result.engine, "engine_version": result.engine_version}
    return {
        EQUITY: _written(_EQUITY, result.equity, told),
        ORDERS: _written(_ORDERS, result.fills, told),
        TRADES: _written(_TRADES, result.trades, told),
    }


def _written(schema: Any, rows: Sequence[BaseModel], told: Mapping[str, str]) -> bytes:
    columns = {name: list(_column(rows, name)) for name in schema.names}
    table = pa.table(columns, schema=schema.with_metadata({f"crossover.{key}": value for key, value in told.items()}))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _column(rows: Sequence[BaseModel], name: str) -> Iterable[Any]:
    return (getattr(row, name) for row in rows)

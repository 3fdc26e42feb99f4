"""Histories of bars: read from files, checked, and kept in a catalog that both engines read."""

from __future__ import annotations

from adapters.backtesting.histories.arrow import plain_parquet
from adapters.backtesting.histories.catalog import Catalog, manifest, read_bars
from adapters.backtesting.histories.importing import import_file
from adapters.backtesting.histories.options import Options
from adapters.backtesting.histories.problems import HistoryError, Replaced

__all__ = ["Catalog", "HistoryError", "Options", "Replaced", "import_file", "manifest", "plain_parquet", "read_bars"]

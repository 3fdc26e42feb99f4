"""Bars from CSV files, as every service takes them."""

from __future__ import annotations

from adapters.backtesting.csv_bars import SHIPPED, BarsError, load_bars, parse_sources

__all__ = ["SHIPPED", "BarsError", "load_bars", "parse_sources"]

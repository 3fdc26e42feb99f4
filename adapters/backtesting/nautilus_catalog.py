"""Bars into NautilusTrader's own catalog. With nautilus_engine.py one of the two modules that import nautilus_trader.

Nautilus writes what it reads: a catalog is opened by it, and read without it (histories/arrow.py).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from adapters.backtesting.bars import Bars
from adapters.backtesting.base import EngineUnavailable
from adapters.backtesting.histories.decimals import PLACES, places_of, raw_of

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nautilus_trader.model.data import Bar, BarType
        from nautilus_trader.model.objects import FIXED_PRECISION, Price, Quantity
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
except ImportError as error:
    raise EngineUnavailable(
        f"nautilus_trader cannot be imported ({error}): no history can be kept. Install it from requirements.txt"
    ) from error

_CHUNK = 100_000
"""Bars that are made into Nautilus' own at a time, and lie in one file: memory does not grow with the history."""


def write(folder: Path, bars: Bars, bar_type: str) -> None:
    """Put `bars` into the catalog in `folder`, each at the instant of its close: the end of its period.

    Raises EngineUnavailable where this build of Nautilus keeps fewer decimals.
    """
    if FIXED_PRECISION != PLACES:
        raise EngineUnavailable(
            f"this build of nautilus_trader keeps {FIXED_PRECISION} decimals, not {PLACES}: bars would be rounded. "
            "Install the one from requirements.txt"
        )
    kind = BarType.from_str(bar_type)
    catalog = ParquetDataCatalog(folder, max_rows_per_group=_CHUNK)
    prices = [bars.open, bars.high, bars.low, bars.close]
    price = max(int(places_of(each).max()) for each in prices)
    size = int(places_of(bars.volume).max())
    for first in range(0, len(bars), _CHUNK):
        part = slice(first, first + _CHUNK)
        columns: list[list[Any]] = [
            [Price.from_raw(raw, price) for raw in raw_of(each[part], price)] for each in prices
        ]
        volumes = [Quantity.from_raw(raw, size) for raw in raw_of(bars.volume[part], size)]
        stamps = (bars.closed[part] + 1).astype(np.uint64).tolist()
        catalog.write_data([Bar(kind, *row, at, at) for *row, at in zip(*columns, volumes, stamps, strict=True)])

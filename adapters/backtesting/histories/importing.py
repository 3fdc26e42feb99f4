"""A file of bars into a catalog: read, checked, written. What cannot be used changes nothing."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from adapters.backtesting.histories.catalog import Catalog, described
from adapters.backtesting.histories.options import Options
from adapters.backtesting.histories.problems import HistoryError
from adapters.backtesting.histories.reading import read
from contracts.histories import SYMBOL_PATTERN, History


def import_file(
    path: Path, symbol: str, folder: Path, options: Options, name: str | None = None
) -> tuple[History, bool]:
    """Keep the bars of the file at `path` as the history of `symbol` in the catalog at `folder`; its manifest, and
    whether there was none before. `name`: as it is told of; its own where None.

    Raises HistoryError where it cannot be used, EngineUnavailable, OSError where it cannot be kept.
    """
    name = name or path.name
    if not re.fullmatch(SYMBOL_PATTERN, symbol):
        raise HistoryError(f"the symbol is {symbol!r}: give up to 64 letters, digits, '.', '_' and '-'")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror}. Name a file that is there") from None
    checked = read(content, name, symbol, options, time.time_ns())
    # Imported here: a file that is refused does not wait for a large package.
    from adapters.backtesting.nautilus_catalog import write

    known = described(
        checked, source=name, source_sha256=hashlib.sha256(content).hexdigest(), timezone=options.timezone,
        splits=options.splits,
    )  # fmt: skip
    return known, Catalog(folder).replace(checked, known, write)

"""The bars of a sweep: where they come from is one function, so that another source can stand in its place."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adapters.backtesting.bars import Bars, aligned
from adapters.backtesting.histories.catalog import digest
from adapters.backtesting.histories.options import ANY_GAP, Options
from adapters.backtesting.histories.reading import read
from adapters.backtesting.http_jobs import answered
from adapters.csv_bars import load_bars
from contracts.backtests import BacktestAsked

_CHECKED = Options(max_gap=ANY_GAP, jumps=True)
"""Of bars that were checked when they were imported."""


class UnknownHistory(ValueError):
    """There are no bars of a symbol."""


@dataclass(frozen=True, slots=True)
class History:
    """All bars of one symbol, and their checksum, which names them: other bars are another sweep."""

    bars: Bars
    sha256: str


HistoryOf = Callable[[str], History]
"""The history of a symbol. Raises UnknownHistory."""


@dataclass(frozen=True, slots=True)
class Legs:
    """The bars that a request asks for, a leg each, and the checksums of the histories that they are of."""

    bars: tuple[Bars, ...]
    sha256: tuple[str, ...]


def csv_histories(sources: Mapping[str, Path]) -> HistoryOf:
    """Of files with daily bars, by symbol; each is read once. The function raises BarsError, too."""

    @cache
    def history_of(symbol: str) -> History:
        if symbol not in sources:
            raise UnknownHistory(f"symbol is {symbol!r}: there are no bars of it. Use one of {', '.join(sources)}")
        path = sources[symbol]
        return History(Bars.daily(symbol, load_bars(path)), hashlib.sha256(path.read_bytes()).hexdigest())

    return history_of


def fetched_histories(base_url: str, known: HistoryOf, sha256: Mapping[str, str] | None = None) -> HistoryOf:
    """`known`, and from the backtesting service at `base_url` what it has not, or has otherwise than `sha256` says of a
    symbol. The function raises HistoryError, too, JobsUnavailable, and JobRefused where there are no such bars."""
    wanted = sha256 or {}

    @cache
    def history_of(symbol: str) -> History:
        with suppress(UnknownHistory):
            found = known(symbol)
            if wanted.get(symbol) in (None, found.sha256):
                return found
        content = answered(base_url, "GET", f"/bars/{symbol}.parquet").content
        bars = read(content, f"the bars of {symbol}", symbol, _CHECKED, time.time_ns()).bars
        return History(bars, digest(bars))

    return history_of


def legs_of(asked: BacktestAsked, history_of: HistoryOf) -> Legs:
    """What `asked` is run on. Raises ValueError where there are no bars, or legs have other bars than each other."""
    histories = [history_of(symbol) for symbol in asked.symbols]
    bars = tuple(one.bars.within(asked.start, asked.end) for one in histories)
    for one in bars:
        if not len(one):
            raise ValueError(f"{one.symbol} has no bars from {asked.start} to {asked.end}: nothing would be tested")
    aligned(bars)
    return Legs(bars, tuple(one.sha256 for one in histories))

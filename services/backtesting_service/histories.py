"""What can be tested on: CSV files, shipped and given, and the histories of a catalog, which come while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adapters.backtesting.histories import Catalog, manifest
from adapters.backtesting.sweeps.histories import History as SweptHistory
from adapters.backtesting.sweeps.histories import UnknownHistory
from contracts.histories import History
from services.backtesting_service.work import bars_of, file_sha256


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bars of a symbol are, a file or a history's folder, and the checksum that they have."""

    path: Path
    sha256: str


class Histories:
    """Thread-safe. Files are those that the process began with; the catalog is looked at in each call. A symbol of the
    catalog stands before a file's."""

    def __init__(self, files: Mapping[str, Path], catalog: Path | None = None) -> None:
        self._files = {symbol: Source(path, file_sha256(path)) for symbol, path in files.items()}
        self._catalog = None if catalog is None else Catalog(catalog)

    @property
    def symbols(self) -> tuple[str, ...]:
        """What can be tested on; those of files first."""
        return tuple(dict.fromkeys([*self._files, *(known.symbol for known in self._kept())]))

    @property
    def places(self) -> tuple[Path, ...]:
        """Where all of it lies: the files, where links lead, and the catalog."""
        found = {path for source in self._files.values() for path in (source.path, source.path.resolve())}
        return tuple(sorted(found | ({self._catalog.folder} if self._catalog is not None else set())))

    def of_sweeps(self, symbol: str) -> SweptHistory:
        """All bars of a symbol, as a sweep takes them. Raises UnknownHistory, BarsError, HistoryError."""
        source = self.find(symbol)
        if source is None:
            raise UnknownHistory(f"symbol is {symbol!r}: there are no bars of it. Use one of {', '.join(self.symbols)}")
        return SweptHistory(bars_of(symbol, source.path, source.sha256), source.sha256)

    def find(self, symbol: str) -> Source | None:
        """Where its bars are now; None where there are none."""
        place = None if self._catalog is None else self._catalog.place(symbol)
        known = None if place is None else manifest(place)
        return self._files.get(symbol) if place is None or known is None else Source(place, known.sha256)

    def file(self, symbol: str) -> Path | None:
        """The CSV file of a symbol, shipped or given; None where there is none."""
        found = self._files.get(symbol)
        return None if found is None else found.path

    def all(self) -> list[History]:
        """What is known of each. Raises BarsError where a file cannot be used any more."""
        kept = {known.symbol: known for known in self._kept()}
        return [kept.get(symbol) or _of_file(symbol, self._files[symbol]) for symbol in self.symbols]

    def _kept(self) -> list[History]:
        return [] if self._catalog is None else self._catalog.all()


@cache
def _of_file(symbol: str, source: Source) -> History:
    bars = bars_of(symbol, source.path, source.sha256)
    return History(
        symbol=symbol, period_seconds=86_400, count=len(bars), first=bars.at(0), last=bars.at(len(bars) - 1),
        sha256=source.sha256, source=source.path.name, source_sha256=source.sha256,
    )  # fmt: skip

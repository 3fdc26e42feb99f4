"""A folder with histories: NautilusTrader's ParquetDataCatalog, and beside each symbol's bars what is known of them.

A history is one folder, `data/bar/SYMBOL.CROSSOVER-1-MINUTE-LAST-EXTERNAL`, with a manifest in it, which Nautilus
passes over. It is replaced whole: the new one is written aside, the old one goes aside, the new one takes its place.
What dies between the last two is completed by who writes next, or starts next (`recover`). Reading takes no lock and no
Nautilus: the checksum in the manifest says whether the bars that were read are those that are meant.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from adapters.backtesting.bars import Bars
from adapters.backtesting.histories.arrow import nautilus_bars
from adapters.backtesting.histories.kinds import VENUE, bar_type
from adapters.backtesting.histories.problems import HistoryError, Replaced
from adapters.backtesting.histories.reading import Checked
from adapters.durable import sync
from contracts.histories import History, Split

MANIFEST = "crossover.json"
_BARS = Path("data") / "bar"
_ASIDE = ".crossover"
_FOLDER = re.compile(rf"(?P<symbol>.+)\.{VENUE}-\d+-(SECOND|MINUTE|HOUR|DAY)-LAST-EXTERNAL")
_SECOND = 10**9
Write = Callable[[Path, Bars, str], None]
"""Puts bars of a type into the catalog in a folder: nautilus_catalog.write."""


def digest(bars: Bars) -> str:
    """The checksum of bars: the same whatever they were read from."""
    made = hashlib.sha256()
    for column in (bars.opened, bars.closed, bars.open, bars.high, bars.low, bars.close, bars.volume):
        made.update(np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"), copy=False)))
    return made.hexdigest()


def described(
    checked: Checked, *, source: str, source_sha256: str, timezone: str | None = None, splits: tuple[Split, ...] = ()
) -> History:
    """The manifest of bars that were read from the file `source`."""
    bars = checked.bars
    return History(
        symbol=bars.symbol, period_seconds=checked.period // _SECOND, count=len(bars), first=bars.at(0),
        last=bars.at(len(bars) - 1), sha256=digest(bars), source=source, source_sha256=source_sha256,
        timezone=timezone, splits=splits,
    )  # fmt: skip


def manifest(folder: Path) -> History | None:
    """What is known of the history in `folder`; None where nothing is that can be read: it is not one of ours."""
    try:
        return History.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def read_bars(folder: Path, sha256: str | None = None) -> Bars:
    """The bars of the history in `folder`. `sha256`: that they must have; the manifest's where None.

    Raises Replaced where it is another one now, HistoryError where it cannot be read, or is not what its manifest says.
    """
    known = manifest(folder)
    if known is None:
        raise HistoryError(f"{folder} holds no history any more: nothing can be tested on it. Import it again")
    if sha256 is not None and known.sha256 != sha256:
        raise Replaced(f"the history of {known.symbol} was replaced meanwhile: submit the run again")
    period = known.period_seconds * _SECOND
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise HistoryError(f"{folder} has lost its bars: import the history again")
    columns = dict(nautilus_bars(files, bar_type(known.symbol, period)))
    closes = columns.pop("ts_event").astype(np.int64)
    bars = Bars(symbol=known.symbol, opened=closes - period, closed=closes - 1, **columns)
    found = digest(bars)
    if found != known.sha256:
        raise HistoryError(f"{folder} has other bars than its manifest says (sha256 {found}): import the history again")
    return bars


class Catalog:
    """The histories in a folder, as they are now: each call looks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, symbol: str) -> Path | None:
        """The folder of its history, which read_bars reads; None where there is none."""
        return next((path for path in self._places() if _symbol(path) == symbol and manifest(path) is not None), None)

    def all(self) -> list[History]:
        """What is known of each, by symbol."""
        found = [known for path in self._places() if (known := manifest(path)) is not None]
        return sorted(found, key=lambda known: known.symbol)

    def replace(self, checked: Checked, known: History, write: Write) -> bool:
        """Keep `checked`, of which the manifest is `known`, durably, in place of what there was of its symbol: all of
        it, or nothing where this raises. Whether there was none."""
        with self._locked():
            self._recover()
            try:
                made = self._written(checked, known, write)
                before = [path for path in self._places() if _symbol(path) == known.symbol]
                for path in before:
                    path.rename(self._aside("old") / path.name)
                self._commit(made)
            finally:
                self._recover()
        return not before

    def delete(self, symbol: str, unused: AbstractContextManager[object] | None = None) -> bool:
        """Delete the history of `symbol`, whole or not at all; False where there is none. `unused`: held while it goes;
        what it raises keeps the history."""
        with self._locked():
            self._recover()
            places = [path for path in self._places() if _symbol(path) == symbol and manifest(path) is not None]
            if not places:
                return False
            with unused or nullcontext():
                for path in places:
                    path.rename(self._aside("gone") / path.name)
            sync(self.folder / _BARS)
            self._recover()
        return True

    def _written(self, checked: Checked, known: History, write: Write) -> Path:
        new = self._aside("new")
        write(new, checked.bars, bar_type(known.symbol, checked.period))
        [made] = (new / _BARS).iterdir()
        (made / MANIFEST).write_text(known.model_dump_json(indent=1) + "\n")
        for path in (*made.iterdir(), made, new / _BARS, new / _BARS.parent, new, new.parent):
            sync(path)
        return made

    def recover(self) -> None:
        """Complete, or undo, what a dead process left half done."""
        if (self.folder / _ASIDE).exists():
            with self._locked():
                self._recover()

    def _recover(self) -> None:
        """Where an old one went aside, and its place is empty, the new one takes it; the old one, had the new one been
        lost with the machine."""
        aside = self.folder / _ASIDE
        if any((aside / "old").glob("*")):
            for path in (*(aside / "new" / _BARS).glob("*"), *(aside / "old").glob("*")):
                known = manifest(path)
                if known is not None and known.symbol not in {_symbol(place) for place in self._places()}:
                    self._commit(path)
        for name in ("old", "new", "gone"):
            shutil.rmtree(aside / name, ignore_errors=True)

    def _commit(self, made: Path) -> None:
        (self.folder / _BARS).mkdir(parents=True, exist_ok=True)
        made.rename(self.folder / _BARS / made.name)
        sync(self.folder / _BARS)

    def _places(self) -> list[Path]:
        return sorted(path for path in (self.folder / _BARS).glob("*") if _symbol(path) is not None)

    def _aside(self, name: str) -> Path:
        made = self.folder / _ASIDE / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, in any process."""
        (self.folder / _ASIDE).mkdir(parents=True, exist_ok=True)
        with (self.folder / _ASIDE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _symbol(folder: Path) -> str | None:
    match = _FOLDER.fullmatch(folder.name)
    return None if match is None else match["symbol"]

"""The sweeps that the service keeps, a folder each. It runs none: who runs them puts their pieces here."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from adapters.backtesting.sweeps.cells import layout_of, sweep_of
from adapters.backtesting.sweeps.checks import checked
from adapters.backtesting.sweeps.folders import RECORD, SweepFolder, own_source
from adapters.backtesting.sweeps.histories import HistoryOf, legs_of
from adapters.durable import sync
from contracts.sweeps import Sweep, SweepAsked
from services.backtesting_service.routing import Plan

_GONE = ".deleted-"
_SWEEP_ID = re.compile(r"[0-9a-f]{32}")


class UnknownSweep(Exception):
    """There is no sweep of that id."""


class Sweeps:
    """Thread-safe: what is written is replaced whole, and the same from whoever writes it. `plan`: what the route means
    now; `strategies`: the folder of the user's own, where there is one."""

    def __init__(
        self, folder: Path, plan: Callable[[], Plan], history_of: HistoryOf, strategies: Path | None = None
    ) -> None:
        self._folder, self._plan, self._history_of, self._strategies = folder, plan, history_of, strategies
        self._writing = threading.Lock()
        for left in folder.glob(f"{_GONE}*"):  # by a process that died
            shutil.rmtree(left, ignore_errors=True)

    def register(self, asked: SweepAsked) -> tuple[str, bool]:
        """The id of the sweep of `asked`, and whether it is new. Raises ValueError where it cannot be run, NotServed
        and OwnStrategyError among it."""
        engine = self._plan().engine(asked.engine)
        legs = legs_of(asked, self._history_of)
        sweep = sweep_of(asked, engine, legs.sha256, len(legs.bars[0]))
        source = own_source(sweep, self._strategies)
        with self._writing:
            return sweep.id, self._at(sweep.id).begin(sweep, source)

    def find(self, sweep_id: str) -> tuple[Sweep, SweepFolder]:
        """A sweep, and where it is kept. Raises UnknownSweep."""
        folder = self._at(sweep_id)
        sweep = folder.sweep()
        if sweep is None:
            raise UnknownSweep(f"there is no sweep {sweep_id}")
        return sweep, folder

    def put(self, sweep_id: str, index: int, content: bytes) -> bool:
        """Keep a piece; whether it is new. Raises UnknownSweep, and NotAPart where it is not that piece."""
        sweep, folder = self.find(sweep_id)
        if folder.parts.has(index):
            return False
        checked(content, index, sweep, layout_of(sweep))
        with self._writing:
            self.find(sweep_id)  # which may be gone meanwhile: its folder must not come again
            folder.parts.put(index, content)
        return True

    def delete(self, sweep_id: str) -> None:
        """Delete a sweep with its pieces: for whoever asks it is there or gone. Raises UnknownSweep, OSError where it
        cannot be."""
        with self._writing:
            folder = self._at(sweep_id).path
            if not (folder / RECORD).exists():
                raise UnknownSweep(f"there is no sweep {sweep_id}")
            gone = Path(mkdtemp(prefix=_GONE, dir=self._folder))
            folder.rename(gone / sweep_id)
            sync(self._folder)
        shutil.rmtree(gone, ignore_errors=True)  # what is left goes at the next start

    def _at(self, sweep_id: str) -> SweepFolder:
        if not _SWEEP_ID.fullmatch(sweep_id):
            raise ValueError(f"{sweep_id!r} is no sweep's id")
        return SweepFolder(self._folder / sweep_id)

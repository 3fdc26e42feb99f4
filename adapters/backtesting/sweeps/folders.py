"""A sweep in a folder: its record, its pieces, and what is made of them. Each file is replaced whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import override

from pydantic import ValidationError

from adapters.backtesting.jobs import JobRefused
from adapters.backtesting.strategies.own import content_of
from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.parts import Parts
from adapters.durable import replacing
from contracts.sweeps import Sweep

RECORD, RESULTS, STRATEGY = "sweep.json", "results.parquet", "strategy.py"
_PART = re.compile(r"part-(\d{5})\.parquet")


class FolderParts(Parts):
    """In a folder of their own, which is made when the first comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @override
    def done(self) -> frozenset[int]:
        found = (_PART.fullmatch(path.name) for path in self._folder.glob("part-*.parquet"))
        return frozenset(int(match[1]) for match in found if match is not None)

    @override
    def has(self, index: int) -> bool:
        return self._path(index).exists()

    @override
    def put(self, index: int, content: bytes) -> None:
        if not self.has(index):
            with replacing(self._path(index)) as partial:
                partial.write_bytes(content)

    @override
    def read(self, index: int) -> bytes:
        try:
            return self._path(index).read_bytes()
        except FileNotFoundError:
            raise JobRefused(f"piece {index} is not there") from None

    def _path(self, index: int) -> Path:
        return self._folder / f"part-{index:05}.parquet"


def own_source(sweep: Sweep, strategies: Path | None) -> bytes | None:
    """The file of a sweep's strategy that is the user's own, in the folder `strategies`; None of one that is shipped.
    Raises OwnStrategyError where it is not the one that the sweep is of any more."""
    if sweep.source_sha256 is None or strategies is None:
        return None
    return content_of(strategies / f"{sweep.asked.strategy}.py", sweep.source_sha256)


class SweepFolder:
    """One sweep."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.parts = FolderParts(folder / "parts")

    def sweep(self) -> Sweep | None:
        """What is kept here; None where it is nothing. Raises ValueError where it cannot be read."""
        try:
            return Sweep.model_validate_json((self.path / RECORD).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ValueError(
                f"{self.path / RECORD} cannot be read ({error.error_count()} problems): it is of another version, or "
                "no sweep's. Take another folder"
            ) from None

    def begin(self, sweep: Sweep, source: bytes | None = None) -> bool:
        """Keep the record of `sweep`; whether it is new. `source`: the file of a strategy of the user's own, kept to
        make the results again from. Raises ValueError where the folder has another sweep."""
        known = self.sweep()
        if known is not None:
            if known.id != sweep.id:
                raise ValueError(
                    f"{self.path} holds sweep {known.id}, and this one is {sweep.id}: their results would be mixed. "
                    "Take another folder for what is asked now, or these bars, and this strategy's file"
                )
            return False
        if source is not None:
            with replacing(self.path / STRATEGY) as partial:
                partial.write_bytes(source)
        with replacing(self.path / RECORD) as partial:
            partial.write_text(sweep.model_dump_json(exclude_defaults=True))
        return True

    def results(self, sweep: Sweep) -> Path:
        """The file with all rows, made where it is not there. Raises JobRefused where a piece is missing."""
        path = self.path / RESULTS
        if not path.exists():
            with replacing(path) as partial:
                # By number: one that is missing must not leave a file that lacks its rows.
                tables.gather(map(self.parts.read, range(sweep.indexes)), sweep, partial)
        return path

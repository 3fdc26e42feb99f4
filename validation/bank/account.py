"""What a run writes down of its transfers, and reads again to judge it. A line a transfer, as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO


class Fate(StrEnum):
    """What the client was told."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    """Refused or rolled back: it did not happen."""
    UNKNOWN = "unknown"
    """The connection was lost at the commit: it may have happened. A caller saw an error all the same."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer as its client saw it. `due` is when the schedule wanted it, `ended` when the client had its answer,
    in ns since 1970 UTC; `amount` in cents; `error` says why it was not acknowledged."""

    id: str
    source: int
    target: int
    amount: int
    due: int
    ended: int
    fate: Fate
    error: str = ""


class Book:
    """The file of one run. Thread-safe; a line is written at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def note(self, transfer: Transfer) -> None:
        """Write `transfer` down."""
        values = [getattr(transfer, name) for name in Transfer.__slots__]
        with self._lock:
            self._file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> Iterator[Transfer]:
    """What a run wrote down. A last line that was cut off is passed over: its client was told nothing."""
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                name, source, target, amount, due, ended, fate, error = json.loads(line)
                yield Transfer(name, source, target, amount, due, ended, Fate(fate), error)

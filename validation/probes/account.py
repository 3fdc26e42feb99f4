"""What a prober writes down of its probes, and reads again to judge them. A line a probe, as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_END: list[object] = ["end"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One request. When the schedule wanted it, when it was sent, and when it had its answer or gave up, in ns since
    1970 UTC; `error` says why there was no good answer."""

    service: str
    due: int
    sent: int
    ended: int
    error: str = ""

    @property
    def latency_ms(self) -> float:
        """From the moment it was due: a prober that is held up does not hide what its callers would have waited."""
        return (self.ended - self.due) / 1e6

    @property
    def answer_ms(self) -> float:
        """From the moment it was sent: what is the service's alone."""
        return (self.ended - self.sent) / 1e6


@dataclass(frozen=True, slots=True)
class Account:
    """What was read of a run. `closed`: whether it ended in order."""

    probes: Sequence[Probe]
    closed: bool


class Book:
    """The file of one run. Thread-safe; a line is written at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def note(self, probe: Probe) -> None:
        """Write `probe` down."""
        self._write([getattr(probe, name) for name in Probe.__slots__])

    def close(self) -> None:
        """Say that the run ended in order, and close the file."""
        self._write(_END)
        self._file.close()

    def _write(self, values: list[object]) -> None:
        with self._lock:
            self._file.write(json.dumps(values) + "\n")


def read(path: Path) -> Account:
    """What a run wrote down, by when it was due. A last line that was cut off is passed over."""
    probes: list[Probe] = []
    closed = False
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                values = json.loads(line)
                if values == _END:
                    closed = True
                else:
                    probes.append(Probe(*values))
    return Account(sorted(probes, key=lambda probe: probe.due), closed)

"""What a run writes down of its calls, and reads again to judge it. As JSON: a line where a call begins, one where it
ends, and a last one where the run ended in order."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO

UNKNOWN = "unknown"
"""Who answered, where nobody said so."""
_BEGAN, _ENDED, _CLOSED = "began", "ended", "closed"


class Fate(StrEnum):
    """What the caller got."""

    WHOLE = "whole"
    """An answer with its end: a finish_reason and, of a stream, [DONE]."""
    REFUSED = "refused"
    """An error before any part of an answer."""
    BROKEN = "broken"
    """A stream that ended with an event that says so: the caller knows that it has a part only."""
    TORN = "torn"
    """An answer whose connection broke, without a word."""
    CUT = "cut"
    """An answer that ended as if all was well, and is not whole: a caller would take the part for the whole."""
    DOUBLED = "doubled"
    """More than one answer in one."""
    UNENDED = "unended"
    """Begun, and no end of it was written down."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as its caller saw it. Times in ns since 1970 UTC: `due` by the schedule, `began`, `first` the first part
    with content (0: none came), `ended`. `gap` is the longest wait between two chunks of a stream, in ns; `answer` the
    id that the backend gave it."""

    id: str
    conversation: str
    streamed: bool
    due: int
    began: int
    first: int = 0
    ended: int = 0
    chunks: int = 0
    gap: int = 0
    fate: Fate = Fate.UNENDED
    error: str = ""
    backend: str = UNKNOWN
    model: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """All calls of a run, as they began; `closed`, whether it ended in order."""

    calls: tuple[Call, ...]
    closed: bool


class Book:
    """The file of one run. Thread-safe; a line is written at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def begin(self, call: Call) -> None:
        """Write down that `call` begins."""
        self._write(_BEGAN, call)

    def end(self, call: Call) -> None:
        """Write down what became of `call`."""
        self._write(_ENDED, call)

    def close(self) -> None:
        """Say that the run ended in order, and close the file."""
        self._write(_CLOSED)
        self._file.close()

    def _write(self, kind: str, call: Call | None = None) -> None:
        values = [] if call is None else [getattr(call, name) for name in Call.__slots__]
        with self._lock:
            self._file.write(json.dumps([kind, *values]) + "\n")


def read(path: Path) -> Account:
    """What a run wrote down. A last line that was cut off is passed over: its call has no end, and is told as such."""
    calls: dict[str, Call] = {}
    closed = False
    with path.open() as file:
        for line in file:
            if not line.endswith("\n"):
                break
            kind, *values = json.loads(line)
            closed = kind == _CLOSED
            if not closed:
                call = _call(values)
                calls[call.id] = call
    return Account(tuple(calls.values()), closed)


def _call(values: list[object]) -> Call:
    call = Call(*values)  # type: ignore[arg-type]
    return replace(call, fate=Fate(call.fate))

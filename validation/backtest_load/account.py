"""What a load writes down of the runs that it asks for, and reads again to judge them. As JSON: a line where one is
asked for, one for each thing that is learned of it, of which the last counts, and a last line where all ended in
order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO

_CLOSED = "closed"


class Fate(StrEnum):
    """What became of a run."""

    REFUSED = "refused"
    """Its caller saw an error in place of a run."""
    ACCEPTED = "accepted"
    """It was taken, and no end of it was seen."""
    DONE = "done"
    """It is done, and its result can be read."""
    FAILED = "failed"
    """It ended without a result: failed, cancelled, or done and not to be read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One run as its caller saw it. Times in ns since 1970 UTC: `due` by the schedule, `began` and `answered` the call
    that asks for it. `id` and `engine` are the service's answer, `doubled` the other id that the same engine gave the
    same request; `ended_by` who ended it; `seconds` from its submission to its end, by the service's clock; `untrue`
    what of its result does not go together; `compared`: whether the other engine did it, too; `differs` the first
    difference."""

    number: int
    due: int
    began: int
    answered: int = 0
    id: str = ""
    engine: str = ""
    doubled: str = ""
    fate: Fate = Fate.REFUSED
    error: str = ""
    ended_by: str = ""
    seconds: float = 0.0
    untrue: str = ""
    compared: bool = False
    differs: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """All runs of a load, as they were asked for; `closed`, whether it ended in order."""

    runs: tuple[Asked, ...]
    closed: bool


class Book:
    """The file of one load. Of one thread; a line is written at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", buffering=1)

    def note(self, asked: Asked) -> None:
        """Write down what is known of a run."""
        self._write([getattr(asked, name) for name in Asked.__slots__])

    def close(self) -> None:
        """Say that the load ended in order, and close the file."""
        self._write(_CLOSED)
        self._file.close()

    def _write(self, line: object) -> None:
        self._file.write(json.dumps(line) + "\n")


def read(path: Path) -> Account:
    """What a load wrote down. A last line that was cut off is passed over: the run stands as it did before."""
    runs: dict[int, Asked] = {}
    closed = False
    with path.open() as file:
        for line in file:
            if not line.endswith("\n"):
                break
            told = json.loads(line)
            closed = told == _CLOSED
            if not closed:
                asked = Asked(*told)
                runs[asked.number] = replace(asked, fate=Fate(asked.fate))
    return Account(tuple(runs.values()), closed)

"""Runs a `crossover` command for the console, and what it writes meanwhile: the interface, the real one, and a fake."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts import names

MOST_BYTES = 64 << 10
"""Of one answer of `output`."""


class Running(ABC):
    """A command that was begun."""

    @abstractmethod
    def output(self, since: int) -> bytes:
        """What it wrote from byte `since` on, MOST_BYTES at most. Raises OSError."""

    @abstractmethod
    def code(self) -> int | None:
        """Its exit status; None while it goes on."""


class Runner(ABC):
    """Begins commands."""

    @abstractmethod
    def begin(self, words: Sequence[str], actor: str) -> Running:
        """Begin `crossover` with `words`, on behalf of `actor`. Raises OSError."""


class _Child(Running):
    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process, self._file = process, file

    def output(self, since: int) -> bytes:
        with self._file.open("rb") as file:
            file.seek(since)
            return file.read(MOST_BYTES)

    def code(self) -> int | None:
        return self._process.poll()


class ChildRunner(Runner):
    """Runs a process of its own for each, in a session of its own, with its output in a file of `folder`: the end of
    the console must not end an update. `program`: what `words` are given to."""

    def __init__(self, root: Path, folder: Path, program: Sequence[str] = (sys.executable, "-m", "cli")) -> None:
        self._root, self.folder, self._program = root, folder, tuple(program)

    def begin(self, words: Sequence[str], actor: str) -> Running:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.folder / f"{'-'.join(words[:2])}.log"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            process = subprocess.Popen(
                [*self._program, *words], cwd=self._root, env=_environment(actor), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return _Child(process, file)


def _environment(actor: str) -> Mapping[str, str]:
    return {**os.environ, names.ENV_ACTOR: actor, "NO_COLOR": "1", "COLUMNS": "110", "PYTHONUNBUFFERED": "1"}


class MemoryRunning(Running):
    """Goes on until it is told to `end`."""

    def __init__(self) -> None:
        self._written = b""
        self._code: int | None = None

    def write(self, text: str) -> None:
        """Write a line."""
        self._written += f"{text}\n".encode()

    def end(self, code: int) -> None:
        """End with that exit status."""
        self._code = code

    def output(self, since: int) -> bytes:
        return self._written[since : since + MOST_BYTES]

    def code(self) -> int | None:
        return self._code


class MemoryRunner(Runner):
    """Remembers what it was asked for; each goes on until it is told to end. While `failure` is set, nothing can be
    begun."""

    def __init__(self) -> None:
        self.begun: list[tuple[tuple[str, ...], str]] = []
        self.last: MemoryRunning | None = None
        self.failure: OSError | None = None

    def begin(self, words: Sequence[str], actor: str) -> Running:
        if self.failure is not None:
            raise self.failure
        self.begun.append((tuple(words), actor))
        self.last = MemoryRunning()
        return self.last

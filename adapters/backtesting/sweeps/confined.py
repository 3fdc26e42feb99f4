"""Pieces of a sweep of one of the user's own strategies, as their parent sees them.

They are run by a process that has given up network and files (services/backtesting_service/piecing.py). It answers in
bytes alone, over a pipe. Nothing that it says once it has imported the strategy is believed: so many bytes are read, as
Parquet and no more, held against the cells that the piece has, and written anew.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adapters.backtesting.caches import FOLDERS
from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.cells import layout_of
from adapters.backtesting.sweeps.checks import checked
from adapters.backtesting.sweeps.parts import MOST_BYTES, Parts
from contracts.sweeps import Sweep

READY, PIECE, FAILED, REFUSED = b"R", b"P", b"F", b"N"
"""What an answer is: the engine's version; a piece; or why there is none, which may be tried again, or cannot help."""
HEADER = struct.Struct(">cI")
"""Before each answer: what it is, and how long."""
COMMAND = (sys.executable, "-m", "services.backtesting_service.piecing")
_ROOT = Path(__file__).resolve().parents[3]
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")
_MOST_TEXT, _A_READ = 10_000, 1 << 20
_LOOK_MS = 1000
_log = logging.getLogger(__name__)


class ConfinedDied(Exception):
    """The process ended, or could not do it: another one may."""


class ConfinedRefused(ValueError):
    """It will not be done by another one either: why."""


class Order(BaseModel):
    """What the process is told. `sources`: files of bars by symbol; `url`: of the service that has others, if any."""

    model_config = ConfigDict(frozen=True)

    sweep: Sweep
    strategies: Path
    sources: Mapping[str, Path]
    url: str = ""


class ConfinedPieces:
    """One such process; of one thread, but for `kill`. It is begun when it is first asked."""

    def __init__(self, order: Order) -> None:
        self._order, self._layout = order, layout_of(order.sweep)
        self._child: _Child | None = None
        self._lock, self._killed = threading.Lock(), False
        # Compiled code is unpickled when it is loaded: what one of these wrote must be no other process' cache.
        self._caches = tempfile.TemporaryDirectory(prefix="crossover-confined-")
        self._version = ""

    def piece(self, index: int) -> bytes:
        """Piece `index`. Raises ConfinedDied, ConfinedRefused, tables.NotAPart."""
        child = self._begun()
        if not self._version:
            self._version = child.answer(READY, _MOST_TEXT).decode(errors="replace")
        child.tell(b"%d" % index)
        rows = checked(child.answer(PIECE, MOST_BYTES), index, self._order.sweep, self._layout)
        failed = sum(bool(row.error) for row in rows)
        _log.info("piece %d: %d cells, %d of them failed", index, len(rows), failed)
        return tables.written(rows, self._order.sweep, self._version)

    def kill(self) -> None:
        """End the process; who waits for its answer meets ConfinedDied."""
        with self._lock:
            self._killed = True
            if self._child is not None:
                self._child.kill()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        if self._child is not None:
            self._child.close()
        self._caches.cleanup()

    def _begun(self) -> _Child:
        with self._lock:
            if self._killed:
                raise ConfinedDied("it was ended")
            if self._child is None:
                self._child = _Child(
                    {name: str(Path(self._caches.name) / folder) for name, folder in FOLDERS.items()}
                )  # fmt: skip
                self._child.tell(self._order.model_dump_json(exclude_defaults=True).encode())
            return self._child


class _Child:
    """The process, by its pipes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._process = subprocess.Popen(
            COMMAND, cwd=_ROOT, env={**kept, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            start_new_session=True,  # a Ctrl-C is for its parent, which ends it
        )  # fmt: skip
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("it was begun with both")
        self._asks, self._answers = self._process.stdin, self._process.stdout
        self._ready = select.poll()
        self._ready.register(self._answers, select.POLLIN)

    def tell(self, line: bytes) -> None:
        """Put a line to it."""
        with suppress(BrokenPipeError):  # what it said before it ended is there to be read
            self._asks.write(line + b"\n")

    def answer(self, wanted: bytes, most: int) -> bytes:
        """The next answer, which is to be `wanted`, of at most `most` bytes. Raises ConfinedDied, ConfinedRefused."""
        kind, size = HEADER.unpack(self._exactly(HEADER.size))
        if kind in (FAILED, REFUSED):
            why = self._exactly(min(size, _MOST_TEXT)).decode(errors="replace")
            told = "".join(letter if letter.isprintable() else " " for letter in why)
            raise (ConfinedRefused if kind == REFUSED else ConfinedDied)(told)
        if kind != wanted or size > most:
            raise ConfinedRefused(f"the strategy's process answered {kind!r} of {size:,} bytes, which is no answer")
        return self._exactly(size)

    def kill(self) -> None:
        """End it, and what it began, from any thread."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Its pipes, once nobody reads them."""
        self._asks.close()
        self._answers.close()

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            if not self._ready.poll(_LOOK_MS):
                if self._process.poll() is None:
                    continue
                break  # what it began holds the pipe open
            part = self._answers.read(min(size - len(found), _A_READ))
            if not part:
                break
            found += part
        if len(found) < size:
            raise ConfinedDied("the process that runs the strategy ended: it, or want of memory, ended it")
        return bytes(found)


class ConfinedPool:
    """So many such processes, a thread each that keeps what they answer in `parts`."""

    def __init__(self, order: Order, parts: Parts, processes: int) -> None:
        self._order, self._parts = order, parts
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="confined")
        self._lock = threading.Lock()
        self._idle: list[ConfinedPieces] = []
        self._all: list[ConfinedPieces] = []
        self._stopped = False

    def begin(self, index: int) -> Future[bool]:
        """Do a piece: once a process is free, and anew where one died before."""
        return self._threads.submit(self._do, index)

    def stop(self) -> None:
        """End all, and what they do."""
        with self._lock:
            self._stopped = True
            for one in self._all:
                one.kill()
        self._threads.shutdown(cancel_futures=True)
        for one in self._all:
            one.close()

    def _do(self, index: int) -> bool:
        process = self._taken()
        try:
            content = process.piece(index)
        except BaseException:
            self._drop(process)
            raise
        self._parts.put(index, content)
        with self._lock:
            self._idle.append(process)
        return True

    def _taken(self) -> ConfinedPieces:
        with self._lock:
            if self._stopped:
                raise ConfinedDied("the sweep is being ended")
            if self._idle:
                return self._idle.pop()
            self._all.append(ConfinedPieces(self._order))
            return self._all[-1]

    def _drop(self, process: ConfinedPieces) -> None:
        with self._lock:
            self._all.remove(process)
        process.close()

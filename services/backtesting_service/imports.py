"""Files of bars that are sent, into the catalog: one at a time, in a process of its own.

What is sent may be anything, and packed: it is unpacked where memory is bounded, and what dies of it is that process.
"""

from __future__ import annotations

import multiprocessing
import resource
import threading
from collections.abc import AsyncIterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import NamedTemporaryFile

from fastapi.concurrency import run_in_threadpool
from pebble import ProcessExpired, ProcessPool

from adapters.backtesting.histories import Catalog, HistoryError, Options, import_file
from contracts.histories import History

SECONDS = 900.0
"""How long one import may take. A million bars take about 15 s."""
_BASE_MIB, _TIMES = 2048, 8
"""Address space of an import: of the packages it loads, and so many times what may be sent."""
_WAITING = 4
"""Imports that wait at most: each takes a thread of those that answer, and room on the volume."""
_UPLOADS = Path(".crossover") / "uploads"


class TooLarge(ValueError):
    """More was sent than may be."""


class Busy(Exception):
    """Others are being taken: come back later."""


class Imports:
    """Thread-safe. `folder`: of the catalog; `most_mib`: how large a file may be, in MiB."""

    def __init__(self, folder: Path, most_mib: int) -> None:
        self._folder, self._most_mib = folder, most_mib
        self._uploads = folder / _UPLOADS
        self._uploads.mkdir(parents=True, exist_ok=True)
        for left in self._uploads.iterdir():  # by a process that died
            left.unlink(missing_ok=True)
        self._one = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_WAITING)
        Catalog(folder).recover()

    async def take(
        self, content: AsyncIterator[bytes], announced: int, symbol: str, options: Options
    ) -> tuple[History, bool]:
        """Keep what is sent as the history of `symbol`: its manifest, and whether there was none before. `announced`:
        its size in bytes, 0 where that was not said.

        Raises Busy, TooLarge, HistoryError, and OSError where it cannot be kept; nothing is changed then.
        """
        if not self._waiting.acquire(blocking=False):
            raise Busy(f"{_WAITING} histories are being taken already: nothing was. Come back later")
        try:
            return await self._taken(content, announced, symbol, options)
        finally:
            self._waiting.release()

    def delete(self, symbol: str, unused: AbstractContextManager[object]) -> bool:
        """Delete the history of `symbol`; False where there is none. `unused`: see Catalog. Raises Busy, OSError."""
        if not self._one.acquire(blocking=False):
            raise Busy("a history is being taken: nothing was deleted. Come back later")
        try:
            return Catalog(self._folder).delete(symbol, unused)
        finally:
            self._one.release()

    async def _taken(
        self, content: AsyncIterator[bytes], announced: int, symbol: str, options: Options
    ) -> tuple[History, bool]:
        most = self._most_mib << 20
        with NamedTemporaryFile(dir=self._uploads, prefix=f"{symbol}.") as file:
            size = announced
            async for part in content:
                size = max(size, file.tell() + len(part))
                if size > most:
                    break
                file.write(part)
            if size > most:
                raise TooLarge(
                    f"the file has more than {self._most_mib} MiB: nothing was taken. Pack it (.gz), send Parquet, or "
                    "import it with `crossover bars import`"
                )
            file.flush()
            return await run_in_threadpool(self._import, Path(file.name), symbol, options)

    def _import(self, path: Path, symbol: str, options: Options) -> tuple[History, bool]:
        memory_mib = _BASE_MIB + _TIMES * self._most_mib
        with self._one:
            pool = ProcessPool(
                max_workers=1,
                # Spawned, not forked: this process has threads, whose locks a fork would copy as they are.
                context=multiprocessing.get_context("spawn"),
                initializer=_bounded,
                initargs=(memory_mib,),
            )
            try:
                arguments = (path, symbol, self._folder, options, f"the file of {symbol}")
                done: tuple[History, bool] = pool.schedule(import_file, args=arguments, timeout=SECONDS).result()
                return done
            except FutureTimeoutError:
                raise HistoryError(
                    f"the import took longer than {SECONDS:g} s and was ended. Send fewer bars"
                ) from None
            except (MemoryError, ProcessExpired):
                raise HistoryError(
                    f"the import needed more than {memory_mib} MiB, or died: nothing was taken. Send fewer bars, or "
                    "import them with `crossover bars import`"
                ) from None
            finally:
                pool.stop()  # type: ignore[no-untyped-call]
                pool.join()
                Catalog(self._folder).recover()


def _bounded(memory_mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))

"""Files of bars that are sent, into the catalog: one at a time, in a process of its own.

What is sent may be anything, and packed: it is unpacked where memory is bounded, and what dies of it is that process.
The bound lies below what the pod has left, for a pod above its limit is ended whole, with all that it does.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from fastapi.concurrency import run_in_threadpool

from adapters.backtesting.histories import Catalog, HistoryError, Options
from contracts.histories import History
from services.backtesting_service.importing import Answer, Lacking, Order, imported
from services.backtesting_service.pod_memory import PodMemory, pod_memory

SECONDS = 900.0
"""How long one import may take. A million bars take about 15 s."""
_BASE_MIB, _TIMES = 1280, 8
"""Memory of an import: of the packages it loads and what small files unpack to, and so many times what may be sent."""
_KEPT_BACK = 4
"""Of a pod's limit this part is left to what begins meanwhile: in the smallest pod, a worker that loads an engine."""
_LEAST_MIB = 320
"""What the packages take, and some thousand bars."""
_WAITING = 4
"""Imports that wait at most: each takes a thread of those that answer, and room on the volume."""
_UPLOADS = Path(".crossover") / "uploads"


class TooLarge(ValueError):
    """More was sent than may be."""


class Busy(Exception):
    """Others are being taken: come back later."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """What an import may take; `why`: of whom it is a part, empty where it is that of any import."""

    mib: int
    why: str = ""


def bound(most_mib: int, memory: PodMemory | None) -> _Bound:
    """What an import of at most `most_mib` MiB may take in a pod. Raises Busy where that is too little for any."""
    wanted = _BASE_MIB + _TIMES * most_mib
    if memory is None:
        return _Bound(wanted)
    left = memory.left_mib - memory.limit_mib // _KEPT_BACK
    of = f"of the pod's {memory.limit_mib} MiB, {memory.used_mib} are in use, and a quarter is kept back"
    if left < _LEAST_MIB:
        raise Busy(
            f"an import takes {_LEAST_MIB} MiB or more, and {max(0, left)} are left ({of}): nothing was taken. Come "
            "back when fewer runs are under way, or raise the pod's memory limit (crossover:size)"
        )
    return _Bound(wanted) if wanted <= left else _Bound(left, f" ({of})")


class Imports:
    """Thread-safe. `folder`: of the catalog; `most_mib`: how large a file may be, in MiB; `memory`: of the pod."""

    def __init__(self, folder: Path, most_mib: int, memory: Callable[[], PodMemory | None] = pod_memory) -> None:
        self._folder, self._most_mib, self._memory = folder, most_mib, memory
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
        with self._one:
            most = bound(self._most_mib, self._memory())
            order = Order(
                path=path, symbol=symbol, folder=self._folder, options=options, name=f"the file of {symbol}",
                memory_mib=most.mib,
            )  # fmt: skip
            try:
                return _kept(imported(order, SECONDS))
            except subprocess.TimeoutExpired:
                raise HistoryError(
                    f"the import took longer than {SECONDS:g} s and was ended. Send fewer bars"
                ) from None
            except Lacking:
                raise HistoryError(
                    f"the import needed more than {most.mib} MiB{most.why}, or died: nothing was taken. Send fewer "
                    "bars, or import them with `crossover bars import`"
                ) from None
            finally:
                Catalog(self._folder).recover()


def _kept(told: Answer) -> tuple[History, bool]:
    if told.errno:
        raise OSError(told.errno, told.refused)
    if told.kept is None:
        raise HistoryError(told.refused)
    return told.kept, told.new

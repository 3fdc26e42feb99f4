"""Work beside a loop that must not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Aside[T]:
    """`work` on a thread of its own, begun at once. Nothing waits for it in the end: it has limits of its own."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ended(self, within: float = 0.0) -> bool:
        """Whether it is over, waiting for that up to `within` seconds."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What came of it, once it ended. Raises what it raised."""
        if self._error is not None:
            raise self._error
        (found,) = self._results
        return found

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # told to the thread that looks
            self._error = error

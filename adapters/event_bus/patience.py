"""Waiting no longer than one wants for a call of a library that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue


class Helper:
    """A thread that does, one after the other, what would block its owner for as long as the library likes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin[T](self, act: Callable[[], T]) -> Future[T]:
        """Do `act` after all that was begun before."""
        answer: Future[T] = Future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._work.put(lambda: _resolve(answer, act))
        return answer

    def end(self) -> None:
        """Wait for what is under way, and do no more."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()

    def abandon(self) -> None:
        """Do no more, and wait for nothing."""
        if self._thread is not None:
            self._work.put(None)

    def _run(self) -> None:
        while (act := self._work.get()) is not None:
            act()


def _resolve[T](answer: Future[T], act: Callable[[], T]) -> None:
    try:
        answer.set_result(act())
    except BaseException as error:
        # Whoever waits for the answer has it raised.
        answer.set_exception(error)

"""Waiting no longer than one wants for a call of a library that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

_LOOK_SECONDS = 0.1
"""How soon it is seen that nobody waits for an answer any more."""


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


def await_answer[T](answer: Future[T], seconds: float, give_up: threading.Event | None = None) -> T:
    """The `answer`. Raises TimeoutError where there is none in `seconds`, or `give_up` was set."""
    deadline = time.monotonic() + seconds
    while not (give_up and give_up.is_set()) and (left := deadline - time.monotonic()) > 0:
        try:
            return answer.result(min(left, _LOOK_SECONDS))
        except TimeoutError:
            continue
    raise TimeoutError


def _resolve[T](answer: Future[T], act: Callable[[], T]) -> None:
    try:
        answer.set_result(act())
    except BaseException as error:
        # Whoever waits for the answer has it raised.
        answer.set_exception(error)

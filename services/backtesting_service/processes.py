"""A process that runs what users wrote, as the service sees it: it may send anything, or nothing, and hurt nobody."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from services.backtesting_service.frames import LENGTH, framed

ROOT = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 0.1
"""How often it is asked, while nothing comes, whether to go on waiting."""
_PIECE = 1 << 16
_DRIP_BYTES, _DRIP_SECONDS = 4096, 0.001
"""Pieces below so many bytes are waited for, so that a process which sends byte by byte keeps no thread busy."""
_KILL_SECONDS = 10.0
_log = logging.getLogger(__name__)

type Look = Callable[[], None]
"""Called before each wait; raises where there is nothing to wait for any more."""


class Died(Exception):
    """The process ended, or closed its line, before it had answered."""


class Garbled(Exception):
    """What the process sent is no answer: what is wrong with it."""


class Process:
    """Of one thread's. It gets two descriptors as its last arguments, for a Line; what it prints goes to this process's
    errors. It works in the program's folder, so paths that it is told are absolute. Raises OSError where it cannot be
    started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(orders), str(answers)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(orders, answers),
                start_new_session=True,  # what it starts is ended with it
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(orders)
            os.close(answers)
        for end in (self._orders, self._answers):
            os.set_blocking(end, False)

    @property
    def quiet(self) -> bool:
        """Whether it lives, and sent nothing that nobody asked for."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        return not poll.poll(0) and not self._dead()

    def send(self, content: bytes, look: Look) -> None:
        """One frame. Raises Died, and what `look` raises."""
        rest = memoryview(framed(content))
        while rest:
            self._await(self._orders, select.POLLOUT, look)
            try:
                rest = rest[os.write(self._orders, rest) :]
            except BrokenPipeError:
                raise Died("it takes no orders any more") from None

    def receive(self, most: int, look: Look) -> bytes:
        """One frame of at most so many bytes. Raises Garbled, Died, and what `look` raises."""
        (size,) = LENGTH.unpack(self.read(LENGTH.size, look))
        if size > most:
            raise Garbled(f"it announced {size} bytes, where {most} are the most")
        return self.read(size, look)

    def read(self, size: int, look: Look) -> bytes:
        """So many bytes. They take memory as they come, not as they were announced. Raises Died, and what `look`
        raises."""
        content = bytearray()  # not a list of pieces: one of a byte takes forty
        while len(content) < size:
            self._await(self._answers, select.POLLIN, look)
            piece = os.read(self._answers, min(_PIECE, size - len(content)))
            if not piece:
                raise Died(f"it ended its answer {size - len(content)} bytes early")
            content += piece
            if len(piece) < _DRIP_BYTES and len(content) < size:
                time.sleep(_DRIP_SECONDS)
        return bytes(content)

    def end(self) -> None:
        """Kill it, and what it started and left in its session; once."""
        # Nobody waited for it yet, so the number is its own still.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            _log.error("process %d was killed %g s ago, and is there still", self._process.pid, _KILL_SECONDS)
        self._close()

    def _await(self, end: int, event: int, look: Look) -> None:
        poll = select.poll()
        poll.register(end, event)
        while True:
            look()
            if poll.poll(LOOK_SECONDS * 1000):
                return
            # What it started may hold its end of the line open after it.
            if self._dead() and not poll.poll(0):
                raise Died("it ended")

    def _dead(self) -> bool:
        told = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return told is not None

    def _close(self) -> None:
        os.close(self._orders)
        os.close(self._answers)

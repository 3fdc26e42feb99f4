"""How many events may be on their way at once: what makes publishers wait."""

from __future__ import annotations

import threading


class Room:
    """Counts events in and out. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting = 0
        self._changed = threading.Condition(threading.Lock())

    def enter(self, count: int, timeout: float) -> bool:
        """Take room for `count` events, waiting at most `timeout` s for it; whether there was any."""
        with self._changed:
            if self._taken + count > self._limit:
                self._waiting += 1
                try:
                    if not self._changed.wait_for(lambda: self._taken + count <= self._limit, timeout):
                        return False
                finally:
                    self._waiting -= 1
            self._taken += count
            return True

    def leave(self, count: int) -> None:
        """Give the room of `count` events back."""
        with self._changed:
            self._taken -= count
            if self._waiting:
                self._changed.notify_all()

"""How often a reader asks for more, and for how much: what little there is gathers, what there is much of is fetched
at once, and what is large by the few."""

from __future__ import annotations

import time
from collections.abc import Sequence

from adapters.event_bus.base import Stored

_FULL = 64
_FULL_BYTES = 256 << 10
"""A fetch of so many entries, or so many bytes of them, is followed by the next one at once."""
_FIRST = 100
_MOST = 500
_MOST_BYTES = 8 << 20
"""What one fetch may bring where events are as large as those before; the first knows of none before."""


class Pace:
    """Spaces fetches that find little by `gather` seconds, which bounds what it adds to a delivery."""

    def __init__(self, gather: float) -> None:
        self._gather = gather
        self._not_before = 0.0
        self._most = _FIRST

    def wait(self) -> None:
        """Wait until the next fetch is due."""
        pause = self._not_before - time.monotonic()
        if pause > 0:
            time.sleep(pause)  # gathers a batch; nothing depends on it

    def most(self, asked: int) -> int:
        """How many entries to fetch where `asked` are wanted: for logs that cannot be asked for bytes."""
        return min(asked, self._most)

    def found(self, count: int, asked: int, entries: Sequence[Stored]) -> None:
        """What the last fetch found of the most that was asked for: `count` entries, these among them."""
        size = sum(len(entry.raw) for entry in entries)
        if entries:
            self._most = max(1, min(_MOST, _MOST_BYTES * len(entries) // max(1, size)))
        much = count >= min(asked, _FULL) or size >= _FULL_BYTES
        self._not_before = 0.0 if much else time.monotonic() + self._gather

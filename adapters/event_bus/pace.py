"""How often a reader asks for more: what little there is gathers, what there is much of is fetched at once."""

from __future__ import annotations

import time

_FULL = 64
"""A fetch of so many entries is followed by the next one at once."""


class Pace:
    """Spaces fetches that find little by `gather` seconds, which bounds what it adds to a delivery."""

    def __init__(self, gather: float) -> None:
        self._gather = gather
        self._not_before = 0.0

    def wait(self) -> None:
        """Wait until the next fetch is due."""
        pause = self._not_before - time.monotonic()
        if pause > 0:
            time.sleep(pause)  # gathers a batch; nothing depends on it

    def found(self, count: int, asked: int) -> None:
        """What the last fetch found of the most that was asked for."""
        self._not_before = 0.0 if count >= min(asked, _FULL) else time.monotonic() + self._gather

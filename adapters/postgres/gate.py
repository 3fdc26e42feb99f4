"""What of a stream counts as content: what was committed after the place that the route names, or nothing."""

from __future__ import annotations

import threading


class Gate:
    """Set by whoever follows the route, asked by a carrier; from any thread. It begins closed."""

    def __init__(self, content_from: int | None = None) -> None:
        self._changed = threading.Condition()
        self._from = content_from

    def set(self, content_from: int | None) -> None:
        """Let through what was committed at `content_from` or later; None: nothing."""
        with self._changed:
            self._from = content_from
            self._changed.notify_all()

    @property
    def open(self) -> bool:
        """Whether any content may pass."""
        return self._from is not None

    def allows(self, commit: int) -> bool:
        """Whether content that was committed at `commit` may pass."""
        content_from = self._from
        return content_from is not None and commit >= content_from

    def wait(self, timeout: float) -> None:
        """Wait until it is set, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait(timeout)

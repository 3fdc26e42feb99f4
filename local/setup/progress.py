"""Shows what is going on, for whatever may last: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

console = Console(stderr=True, highlight=False)
HEARTBEAT_SECONDS = 20.0
"""How often a step that goes on says so where there is no terminal."""
QUIET_SECONDS = 0.5
"""A step that ends sooner is not worth a line."""


class Step:
    """One step under way."""

    def __init__(self, title: str, status: Status | None) -> None:
        self.title = title
        self.count = 0
        self.detail = ""
        self._status = status

    def tick(self, detail: str = "") -> None:
        """One more thing is done; `detail` names it."""
        self.count += 1
        self.say(f"{self.count} · {detail}" if detail else str(self.count))

    def say(self, detail: str) -> None:
        """Show `detail` beside the title."""
        self.detail = detail
        if self._status is not None:
            room = max(20, console.width - len(self.title) - 12)
            self._status.update(f"{escape(self.title)} [dim]{escape(detail[:room])}[/dim]")


@contextmanager
def step(title: str) -> Iterator[Step]:
    """A step with its time: a spinner on a terminal; elsewhere a line each HEARTBEAT_SECONDS."""
    began = time.monotonic()
    if console.is_terminal:
        with console.status(escape(title)) as status:
            yield Step(title, status)
    else:
        shown = Step(title, None)
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(shown, ended, began), daemon=True)
        beat.start()
        try:
            yield shown
        finally:
            ended.set()
            beat.join()
    took = time.monotonic() - began
    if took >= QUIET_SECONDS:
        console.print(f"[green]✓[/green] {escape(title)} [dim]{took:.1f} s[/dim]")


def _beat(shown: Step, ended: threading.Event, began: float) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        print(f"  {shown.title} … {time.monotonic() - began:.0f} s {shown.detail}", file=sys.stderr, flush=True)

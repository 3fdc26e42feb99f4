"""What the person at the terminal sees: a line a step, and a bar for downloads where there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Says what is being done, with seconds since the start, on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(f"[dim]{time.monotonic() - self._start:6.1f} s[/dim]  {text}", markup=True, soft_wrap=True)

    @contextmanager
    def task(self, text: str, total: int = 0) -> Iterator[Callable[[int], None]]:
        """A step of some seconds; what it yields takes the bytes that came. Prints its line at the start."""
        self.say(text)
        if not self._console.is_terminal or self._console.quiet:
            yield lambda _: None
            return
        columns = (TextColumn("          {task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with Bars(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task("", total=total or None)
            yield lambda count: bars.advance(task, count)

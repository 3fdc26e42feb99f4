"""How far a sweep is, and when it ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Pieces that are done and pieces in all. `before`: how many were done before this run began, `failed`: given up;
    `seconds`: since it began."""

    done: int
    total: int
    before: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def part(self) -> float:
        """What is done, as a fraction of 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def left_seconds(self) -> float | None:
        """How long it will go on, if all pieces take as long as those that this run did; None while it did none."""
        left = self.total - self.done - self.failed
        if not left:
            return 0.0
        made = self.done - self.before
        return self.seconds / made * left if made > 0 else None


def told(progress: Progress) -> str:
    """For people: `12 of 40 pieces (30 %), 2 given up, 3 min left`."""
    text = f"{progress.done} of {progress.total} pieces ({progress.part:.0%})"
    if progress.failed:
        text += f", {progress.failed} given up"
    left = progress.left_seconds
    if left is None:
        return f"{text}, how long it takes is not known yet"
    return f"{text}, {span(left)} left" if left else text


def span(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def numbers_in(text: str) -> frozenset[int]:
    """The numbers in a list as Kubernetes writes it: `0-2,5`."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)

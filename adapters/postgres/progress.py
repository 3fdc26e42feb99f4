"""How far a copy is. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`weight` counts bytes as the source stores them, all of it and what is `done`, of which `before` was done by
    earlier runs; `rows` and `bytes` (as they travel) are those of this run, which has taken `seconds`. `paused`: why
    nothing new is begun, or ""."""

    tables: int
    tables_done: int
    parts: int
    parts_done: int
    rows: int
    bytes: int
    weight: int
    done: int
    before: int
    seconds: float
    paused: str = ""

    @property
    def share(self) -> float:
        """Of all that is to be copied, from 0 to 1."""
        return min(1.0, self.done / self.weight) if self.weight else 1.0

    @property
    def rate(self) -> float:
        """Bytes a second of this run."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that are left, if it goes on as in this run; None where nothing tells."""
        if self.parts_done >= self.parts:
            return 0.0
        moved = self.done - self.before
        return max(0, self.weight - self.done) * self.seconds / moved if moved > 0 else None

    def __str__(self) -> str:
        left = "" if self.eta is None else f", {self.eta:.0f} s left"
        why = f", paused: {self.paused}" if self.paused else ""
        return (
            f"{self.share:.0%}: {self.tables_done} of {self.tables} tables, {self.rows} rows, "
            f"{self.bytes / 1e6:.1f} MB at {self.rate / 1e6:.1f} MB/s{left}{why}"
        )

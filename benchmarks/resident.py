"""The resident memory of this process, and how high it rises while something runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = float(1 << 20)
_ITSELF = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes: what was resident before, and at most."""

    before: int = 0
    most: int = 0

    @property
    def rise(self) -> int:
        """What was added to it."""
        return max(0, self.most - self.before)


def peak[T](work: Callable[[], T]) -> tuple[T, Peak]:
    """What `work` returns, and how much memory there was in between."""
    (_ITSELF / "clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    result = work()
    return result, Peak(before, _status("VmHWM"))


def _status(name: str) -> int:
    lines = (_ITSELF / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

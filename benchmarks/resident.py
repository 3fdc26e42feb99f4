"""The resident memory of this process, and how high it rises while something runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MIB = float(1 << 20)
_ITSELF = Path("/proc/self")


def rise[T](work: Callable[[], T]) -> tuple[T, int]:
    """What `work` returns, and by how many bytes the resident memory at its peak was above that of before."""
    (_ITSELF / "clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    result = work()
    return result, max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    lines = (_ITSELF / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

"""What this pod may have of memory, and has: as the kernel says of its control groups (cgroup v2).

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst, cgroup_namespaces(7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_FILES = ("active_file", "inactive_file")
"""Of memory.stat: pages of files, which the kernel takes back before it ends anybody."""


@dataclass(frozen=True, slots=True)
class PodMemory:
    """MiB that all processes of the pod may have together, and those in use that are not taken back."""

    limit_mib: int
    used_mib: int

    @property
    def left_mib(self) -> int:
        """What is not in use."""
        return self.limit_mib - self.used_mib


def pod_memory(mount: Path = _MOUNT, own: Path = _OWN) -> PodMemory | None:
    """Of the group that has the least left, of those that this process is in; None where none has a limit, or nothing
    is said of it."""
    known = [memory for folder in _groups(mount, own) if (memory := _told(folder)) is not None]
    return min(known, key=lambda memory: memory.left_mib, default=None)


def _groups(mount: Path, own: Path) -> Iterator[Path]:
    """The group of this process, and those above it. In a container, whose root of groups it is, there is one."""
    yield mount
    try:
        told = own.read_text().splitlines()
    except OSError:
        return
    path = next((line.removeprefix("0::").strip("/") for line in told if line.startswith("0::")), "")
    if path and ".." not in path.split("/"):
        folder = mount / path
        yield from (group for group in (folder, *folder.parents) if mount in group.parents)


def _told(folder: Path) -> PodMemory | None:
    try:
        limit, used = ((folder / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        taken_back = sum(int(stat[name]) for name in _FILES)
        return None if limit == "max" else PodMemory(int(limit) >> 20, max(0, int(used) - taken_back) >> 20)
    except (OSError, ValueError, KeyError):
        return None

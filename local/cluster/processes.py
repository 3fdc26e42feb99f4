"""Which process is the cluster's process 1, whether it lives, and ending it with all the others."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from local.cluster.namespaces import cgroup_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Who the supervisor is. Process numbers are used again, so its start time (clock ticks since
    boot) and the boot belong to its name. `since` is Unix time in seconds."""

    pid: int
    start_time: int
    boot_id: str
    port: int
    since: float

    def write(self, file: Path) -> None:
        """Store this record whole or not at all."""
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)))
        partial.rename(file)

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot_id == boot_id() and start_time(self.pid) == self.start_time

    @property
    def view(self) -> Path:
        """The cluster's file system as the host may open it."""
        return Path(f"/proc/{self.pid}/root")


def read_record(file: Path) -> Record | None:
    """The stored record; None where there is none, or it cannot be read as one."""
    try:
        return Record(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def boot_id() -> str:
    """What tells this boot of the machine from the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int:
    """When process `pid` started, in clock ticks since boot; 0 where there is none or it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def end_all(record: Record | None, cgroup: str, deadline_seconds: float = 20.0) -> None:
    """End the supervisor, with it its namespaces, and whatever is left in the cluster's cgroups.

    Raises TimeoutError where something does not end.
    """
    if record is not None and record.alive:
        end_process(record.pid, deadline_seconds)
    # A supervisor that was cut off while starting has left no record, but it is in the cgroup.
    for pid in cgroup_members(cgroup) - {os.getpid()}:
        end_process(pid, deadline_seconds)


def end_process(pid: int, deadline_seconds: float) -> None:
    """SIGKILL `pid` and wait until it is gone. Process 1 of a PID namespace takes all of it along.

    Raises TimeoutError naming it where it stays.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], deadline_seconds)[0]:
            raise TimeoutError(f"process {pid} did not end within {deadline_seconds:.0f} s of SIGKILL")
    finally:
        os.close(handle)

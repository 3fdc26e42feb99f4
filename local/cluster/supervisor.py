"""Makes the cluster's namespaces, then stays in them as process 1 and keeps its units running.

`python -m local.cluster.supervisor --listener FD` is started by `up`; it returns once process 1
runs, and has then written which process that is to `record.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.cluster.namespaces import join_cgroups, set_up_mounts, set_up_network
from local.cluster.processes import Record, boot_id, start_time
from local.cluster.settings import ClusterPaths, this_clone
from local.cluster.units import Unit, make_units
from local.setup.toolchain import find_cluster_binaries

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
"""Seconds before a unit that ended is started again: doubled at each end, up to the longest."""
STEADY_SECONDS = 30.0
"""A unit that ran this long starts again with the first delay."""
POLL_SECONDS = 0.1
"""How often the conditions of waiting units are looked at."""
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Running:
    """What became of one unit. Times are of the monotonic clock, in seconds."""

    unit: Unit
    pid: int = 0
    starts: int = 0
    since: float = 0.0
    wall: float = 0.0
    due: float = 0.0
    delay: float = FIRST_DELAY
    last_exit: str = ""


@dataclass(slots=True)
class Supervisor:
    """Process 1: starts units when their conditions hold, restarts them, reaps orphans."""

    paths: ClusterPaths
    units: Sequence[Unit]
    running: list[Running] = field(default_factory=list)

    def run(self) -> None:
        """Until SIGTERM. The kernel ends everything else when this process ends."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self.running = [Running(unit) for unit in self.units]
        while True:
            if self._start_due():
                self._report()
            waiting = any(entry.pid == 0 for entry in self.running)
            arrived = signal.sigtimedwait(_SIGNALS, POLL_SECONDS if waiting else 3600)
            if arrived and arrived.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stop()
                return
            if self._reap():
                self._report()

    def _start_due(self) -> bool:
        started = False
        for entry in self.running:
            if entry.pid == 0 and time.monotonic() >= entry.due and all(holds(word) for word in entry.unit.after):
                self._start(entry)
                started = True
        return started

    def _start(self, entry: Running) -> None:
        log = str(self.paths.logs / f"{entry.unit.name}.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        entry.pid = os.posix_spawnp(
            entry.unit.command[0],
            entry.unit.command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=(),
        )
        entry.starts += 1
        entry.since, entry.wall = time.monotonic(), time.time()

    def _reap(self) -> bool:
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return changed
            if pid == 0:
                return changed
            for entry in self.running:
                if entry.pid == pid:
                    self._ended(entry, status)
                    changed = True

    def _ended(self, entry: Running, status: int) -> None:
        now = time.monotonic()
        if now - entry.since >= STEADY_SECONDS:
            entry.delay = FIRST_DELAY
        entry.pid, entry.due = 0, now + entry.delay
        entry.delay = min(entry.delay * 2, LONGEST_DELAY)
        code = os.waitstatus_to_exitcode(status)
        entry.last_exit = f"signal {-code}" if code < 0 else f"exit {code}"
        print(f"{entry.unit.name} ended ({entry.last_exit}), starts again in {entry.due - now:.1f} s", flush=True)

    def _stop(self) -> None:
        """Let etcd close its files; nothing else needs a farewell."""
        for entry in self.running:
            if entry.pid and entry.unit.name == "etcd":
                os.kill(entry.pid, signal.SIGTERM)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(entry.pid, 0)

    def _report(self) -> None:
        lines = [
            {
                "name": entry.unit.name,
                "pid": entry.pid,
                "starts": entry.starts,
                "since": entry.wall,
                "last_exit": entry.last_exit,
            }
            for entry in self.running
        ]
        partial = self.paths.units.with_suffix(".partial")
        partial.write_text(json.dumps(lines))
        partial.rename(self.paths.units)


def holds(condition: str) -> bool:
    """Whether a unit's start condition holds now. Raises ValueError for an unknown one."""
    kind, _, value = condition.partition(":")
    if kind == "path":
        return Path(value).exists()
    if kind == "tcp":
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", int(value))) == 0
    raise ValueError(f"unknown start condition {condition!r}: use path:FILE or tcp:PORT")


def main() -> None:
    """Enter fresh namespaces and become their process 1."""
    parser = argparse.ArgumentParser(prog="python -m local.cluster.supervisor")
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the host's listening socket")
    listener: int = parser.parse_args().listener
    paths = this_clone()
    os.set_inheritable(listener, True)
    units = make_units(paths, find_cluster_binaries(), listener)
    with socket.socket(fileno=os.dup(listener)) as bound:
        port = int(bound.getsockname()[1])
    join_cgroups(paths.name)
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWNET | os.CLONE_NEWPID)
    ready, tell = os.pipe()
    recorded, go_on = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        Record(pid=child, start_time=start_time(child), boot_id=boot_id(), port=port, since=time.time()).write(
            paths.record
        )
        os.write(go_on, b"1")
        os._exit(0 if os.read(ready, 1) == b"1" else 1)
    os.close(ready)
    os.close(go_on)
    # Both processes share these mounts: once /proc is that of the new namespace, nobody here can look a process
    # of the host up any more, and the record would say that it never started.
    if os.read(recorded, 1) != b"1":
        sys.exit("the process that was to record this one is gone")
    os.close(recorded)
    set_up_mounts(paths)
    set_up_network()
    os.write(tell, b"1")
    os.close(tell)
    Supervisor(paths, units).run()
    sys.exit(0)


if __name__ == "__main__":
    main()

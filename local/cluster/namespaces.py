"""The cluster's own view of the machine: mounts, network, cgroups. Runs inside its namespaces.

Nothing here is seen by the host, and all of it goes when the last process of the namespaces
does. Only the cgroups are the host's: `remove_cgroups` takes them away.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path

from local.cluster.settings import NODE_IP, SERVICE_NETWORK, ClusterPaths

_libc = ctypes.CDLL(None, use_errno=True)
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_SHARED = 1 << 12, 1 << 14, 1 << 18, 1 << 20
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
CGROUP_ROOT = Path("/sys/fs/cgroup")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError naming the target."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot mount {source} on {target}: {os.strerror(code)}")


def set_up_mounts(paths: ClusterPaths) -> None:
    """Give the cluster a /proc, /run, /var/lib and /var/log of its own.

    The folders that programs insist on (/var/lib/kubelet, /var/lib/cni, /var/log/pods) appear in
    overlays whose upper side is memory, so no such folder is ever made on the host; what must
    outlive a restart is bound there from the state folder.
    """
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    # kubelet and containerd hand mounts to each other and to containers.
    mount("none", "/", flags=_MS_REC | _MS_SHARED)
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    clone = os.open(paths.root, os.O_PATH)
    mount("tmpfs", "/run", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
    mount("none", "/run", flags=_MS_SHARED)
    for number, target in enumerate(("/var/lib", "/var/log")):
        upper, work = Path(f"/run/overlay/{number}/upper"), Path(f"/run/overlay/{number}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        mount("overlay", target, "overlay", options=f"lowerdir={target},upperdir={upper},workdir={work}")
        mount("none", target, flags=_MS_SHARED)
        if paths.root.is_relative_to(target):
            mount(f"/proc/self/fd/{clone}", str(paths.root), flags=_MS_BIND)
    os.close(clone)
    for kept, target in ((paths.lib / "kubelet", "/var/lib/kubelet"), (paths.lib / "pod-logs", "/var/log/pods")):
        kept.mkdir(parents=True, exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        mount(str(kept), target, flags=_MS_BIND)
        mount("none", target, flags=_MS_SHARED)


def set_up_network() -> None:
    """The node's interface, with no way out: what leaves this namespace is refused at once."""
    for command in (
        "link set lo up",
        "link add node0 type veth peer name node0-peer",
        f"addr add {NODE_IP}/24 dev node0",
        "link set node0 up",
        "link set node0-peer up",
        # kube-proxy rewrites these addresses after routing has found a device for them.
        f"route add {SERVICE_NETWORK} dev node0",
        "route add unreachable default",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def hierarchies(root: Path = CGROUP_ROOT) -> list[Path]:
    """The cgroup mounts: one on a v2 machine, one a controller (and perhaps `unified`) on v1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink()]


def join_cgroups(name: str, root: Path = CGROUP_ROOT) -> None:
    """Make /<name>/system in every hierarchy and move this process there."""
    for hierarchy in hierarchies(root):
        top = hierarchy / name
        top.mkdir(exist_ok=True)
        _inherit(hierarchy, top)
        leaf = top / "system"
        leaf.mkdir(exist_ok=True)
        _inherit(top, leaf)
        (leaf / "cgroup.procs").write_text("0")


def _inherit(parent: Path, child: Path) -> None:
    """What a fresh cgroup lacks: cpusets on v1, controllers on v2."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (child / file).exists() and not (child / "cgroup.controllers").exists():
            (child / file).write_text((parent / file).read_text())
    controllers = parent / "cgroup.controllers"
    if controllers.exists():
        for controller in controllers.read_text().split():
            try:
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError:
                # Some cannot be handed down (threaded, or processes in the parent): kubelet says which it needs.
                continue


def cgroup_members(name: str, root: Path = CGROUP_ROOT) -> set[int]:
    """The processes in any cgroup below /<name>."""
    members: set[int] = set()
    for hierarchy in hierarchies(root):
        for file in (hierarchy / name).rglob("cgroup.procs"):
            try:
                members.update(int(line) for line in file.read_text().split())
            except OSError:
                continue  # The cgroup went while we looked.
    return members


def remove_cgroups(name: str, root: Path = CGROUP_ROOT, deadline_seconds: float = 10.0) -> None:
    """Remove every cgroup below /<name>, and it.

    Raises TimeoutError with what is left where processes stay inside for `deadline_seconds`.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        left: list[Path] = []
        for hierarchy in hierarchies(root):
            left += _remove_tree(hierarchy / name)
        if not left:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"cgroups cannot be removed, processes are still inside: {left[:5]}")
        time.sleep(0.05)  # A cgroup is busy for a moment after its last process ended; there is no event for it.


def _remove_tree(top: Path) -> list[Path]:
    left: list[Path] = []
    folders = [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(folder)
    return left

"""Bringing the cluster up, taking it down, and saying how it is."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.cluster.api import Kubectl, condition, wait_until
from local.cluster.configuration import (
    cni_config,
    containerd_config,
    kubelet_config,
    proxy_config,
    write_configuration,
    write_kubeconfig,
)
from local.cluster.containers import Archive, ImageStore, pods_to_restart, read_archive, to_import
from local.cluster.namespaces import remove_cgroups
from local.cluster.pki import make_pki
from local.cluster.processes import Record, boot_id, end_all, read_record, start_time
from local.cluster.settings import DEFAULT_NAMESPACE, NODE_NAME, RUNTIME_SOCKET, ClusterPaths
from local.cluster.units import Binaries, make_units
from local.setup.progress import console, step
from local.setup.toolchain import find_cluster_binaries

MANIFESTS = Path(__file__).resolve().parent / "manifests"
SYSTEM_NAMESPACE = "kube-system"
START_SECONDS = 120.0
"""How long the API, the node and the system's pods may take, each."""
LAST_LINES = 15


class ClusterError(RuntimeError):
    """The cluster is not as it should be: what, and what to do."""


@contextlib.contextmanager
def locked(paths: ClusterPaths) -> Iterator[None]:
    """Only one `up` or `down` of a clone at a time. The lock ends with its process."""
    paths.local.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("waiting for another `up` or `down` of this clone"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def up(paths: ClusterPaths, archives: Iterable[Path]) -> Kubectl:
    """Bring the cluster up, or what is wrong with it in order, and import `archives`.

    Does next to nothing where all is well. Raises ClusterError or TimeoutError with the last
    words of what does not start.
    """
    if os.geteuid() != 0:
        raise ClusterError("the local cluster makes namespaces and mounts, so it needs root: use sudo, or set "
                           "CROSSOVER_KUBE_CONTEXT to a context of your own kubeconfig")  # fmt: skip
    binaries = find_cluster_binaries()
    kubectl = Kubectl(binaries["kubectl"], paths.kubeconfig)
    with locked(paths):
        record = read_record(paths.record)
        wanted = fingerprint(paths, binaries)
        if record is None or not record.alive or _stored(paths, "fingerprint") != wanted:
            with step("starting the cluster"):
                record = start(paths)
                _store(paths, "fingerprint", wanted)
        _write_admin_kubeconfig(paths, record.port)
        # The API gets ready meanwhile.
        changed = _import_images(paths, record, [image for file in archives for image in read_archive(file)])
        _wait_for_api(paths, kubectl, record)
        _restart_pods(kubectl, changed)
        _apply_manifests(paths, kubectl, binaries)
        _wait_for_node(paths, kubectl)
    return kubectl


def load(paths: ClusterPaths, archives: Iterable[Path]) -> None:
    """Import `archives` into the running cluster. Raises ClusterError where none runs."""
    kubectl = Kubectl(find_cluster_binaries()["kubectl"], paths.kubeconfig)
    with locked(paths):
        record = read_record(paths.record)
        if record is None or not record.alive:
            raise ClusterError("the cluster is not running: `make up` starts it")
        changed = _import_images(paths, record, [image for file in archives for image in read_archive(file)])
        _restart_pods(kubectl, changed)


def start(paths: ClusterPaths) -> Record:
    """End what may be left of an earlier run, and start the supervisor. State and port are kept."""
    previous = read_record(paths.record)
    end_all(previous, paths.name)
    remove_cgroups(paths.name)
    for folder in (paths.state, paths.lib, paths.logs, paths.volumes, paths.lib / "etcd"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for log in paths.logs.glob("*.log"):
        log.rename(log.with_suffix(".log.1"))
    make_pki(paths.pki)
    write_configuration(paths)
    with make_listener(previous.port if previous else 0) as listener:
        _spawn_supervisor(paths, listener)
    record = read_record(paths.record)
    if record is None or not record.alive:
        seen = f"process {record.pid} starts at {start_time(record.pid)}" if record else "no record can be read"
        said = tail(paths.logs / "supervisor.log") or "nothing"
        raise ClusterError(f"the supervisor did not stay (recorded: {record}; now {seen}). It said: {said}")
    return record


def _write_admin_kubeconfig(paths: ClusterPaths, port: int) -> None:
    server = f"https://127.0.0.1:{port}"
    write_kubeconfig(paths, "admin", paths.kubeconfig, server, namespace=DEFAULT_NAMESPACE)


def _spawn_supervisor(paths: ClusterPaths, listener: socket.socket) -> None:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/root"),
        "PYTHONPATH": str(paths.root),
        "PYTHONUNBUFFERED": "1",
        **{name: os.environ[name] for name in ("XDG_CACHE_HOME", "TZ") if name in os.environ},
    }
    with (paths.logs / "supervisor.log").open("a") as log:
        result = subprocess.run(
            [sys.executable, "-m", "local.cluster.supervisor", "--listener", str(listener.fileno())],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            check=False,
        )
    if result.returncode != 0:
        raise ClusterError(
            "the cluster's namespaces cannot be made (it needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN): "
            + tail(paths.logs / "supervisor.log")
        )


def make_listener(preferred: int) -> socket.socket:
    """A listening socket on the host's loopback, on `preferred` where that is free."""
    for port in (preferred, 0):
        listener = socket.socket()
        # A kubeconfig handed out before a restart stays right when the port can be had again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(512)
        return listener
    raise ClusterError("no free port on 127.0.0.1, so the cluster's API cannot be reached")


def fingerprint(paths: ClusterPaths, binaries: Binaries) -> str:
    """What a running cluster was started from: its programs, how they are called, their settings."""
    commands = [unit.command for unit in make_units(paths, binaries, listener=-1)]
    settings = [kubelet_config(paths), proxy_config(paths), containerd_config(paths), cni_config()]
    return hashlib.sha256(repr((commands, settings)).encode()).hexdigest()


def _wait_for_api(paths: ClusterPaths, kubectl: Kubectl, record: Record) -> None:
    def failure() -> str:
        return "the API did not get ready: " + words(paths, ("etcd", "kube-apiserver"))

    with step("waiting for the API"):
        wait_until(lambda: not record.alive or kubectl.succeeds("get", "--raw", "/readyz"), START_SECONDS, failure)
    if not record.alive:
        raise ClusterError("the supervisor ended: " + tail(paths.logs / "supervisor.log"))


def _import_images(paths: ClusterPaths, record: Record, archives: list[Archive]) -> frozenset[str]:
    """Import what is missing; the references that had other content before."""
    socket_file = Path(str(record.view) + str(RUNTIME_SOCKET))
    wait_until(socket_file.exists, START_SECONDS, lambda: "containerd did not start: " + words(paths, ("containerd",)))
    store = ImageStore(record)
    present = store.list()
    missing = to_import(archives, present)
    for file in dict.fromkeys(archive.file for archive in missing):
        with step(f"importing {file.name} ({file.stat().st_size / 1e6:.0f} MB)"):
            store.load(file)
    changed = frozenset(archive.reference for archive in missing if archive.reference in present)
    if changed:
        store.prune()
    return changed


def _restart_pods(kubectl: Kubectl, changed: frozenset[str]) -> None:
    if not changed:
        return
    pods = kubectl.get("pods", "--all-namespaces")["items"]
    for namespace, name in pods_to_restart(pods, changed):
        console.print(f"  restarting {namespace}/{name}: its image changed")
        kubectl.run("delete", "pod", "--namespace", namespace, name, "--wait=false")


def _apply_manifests(paths: ClusterPaths, kubectl: Kubectl, binaries: Binaries) -> None:
    files = sorted(MANIFESTS.glob("*.yaml"))
    # Objects of a program that may be missing: named like it.
    files += [file for file in sorted((MANIFESTS / "optional").glob("*.yaml")) if file.stem in binaries]
    authority = base64.b64encode((paths.pki / "ca.crt").read_bytes()).decode()
    text = "\n---\n".join(file.read_text() for file in files).replace("CLUSTER_CA", authority)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if _stored(paths, "manifests") == digest:
        return
    with step("system objects"):
        kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)
        _store(paths, "manifests", digest)


def _wait_for_node(paths: ClusterPaths, kubectl: Kubectl) -> None:
    def node_ready() -> bool:
        return kubectl.succeeds("get", "node", NODE_NAME) and condition(kubectl.get("node", NODE_NAME), "Ready")

    def system_ready() -> bool:
        deployments = kubectl.get("deployments", "--namespace", SYSTEM_NAMESPACE)["items"]
        return all(condition(item, "Available") for item in deployments)

    def system_failure() -> str:
        pods = kubectl.run("get", "pods", "--namespace", SYSTEM_NAMESPACE, "--output=wide")
        return "the system's pods did not get ready:\n" + pods + words(paths, ("kubelet",))

    with step("waiting for the node"):
        wait_until(node_ready, START_SECONDS, lambda: "the node is not Ready: " + words(paths, ("kubelet",)))
    with step("waiting for the system's pods"):
        wait_until(system_ready, START_SECONDS, system_failure)


def down(paths: ClusterPaths) -> bool:
    """Remove every process, mount, cgroup and file of the cluster. Returns whether there were any."""
    if not paths.local.exists():
        return False
    with locked(paths):
        found = paths.state.exists()
        end_all(read_record(paths.record), paths.name)
        remove_cgroups(paths.name)
        if paths.state.exists():
            shutil.rmtree(paths.state)
        paths.kubeconfig.unlink(missing_ok=True)
    paths.lock.unlink(missing_ok=True)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """One process of the cluster: `pid` as the cluster's own PID namespace numbers it, 0 where it is down."""

    name: str
    pid: int
    starts: int
    since: float
    last_exit: str


def unit_statuses(paths: ClusterPaths) -> list[UnitStatus]:
    """What the supervisor says of its units; empty where there is none."""
    record = read_record(paths.record)
    if record is None or not record.alive:
        return []
    try:
        entries = json.loads(paths.units.read_text())
    except (OSError, ValueError):
        return []
    return [UnitStatus(**entry) for entry in entries]


def words(paths: ClusterPaths, names: Iterable[str]) -> str:
    """The last log lines of these units, for an error."""
    return "\n".join(f"{name} says: {tail(paths.logs / f'{name}.log')}" for name in names)


def tail(file: Path) -> str:
    """The last lines of a log."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return f"(no {file})"
    return "\n".join(lines[-LAST_LINES:])


def _stored(paths: ClusterPaths, name: str) -> str:
    file = paths.state / name
    return file.read_text() if file.exists() else ""


def _store(paths: ClusterPaths, name: str, value: str) -> None:
    (paths.state / name).write_text(value)


__all__ = ["ClusterError", "UnitStatus", "boot_id", "down", "start", "unit_statuses", "up"]

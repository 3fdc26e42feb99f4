"""`python -m local.cluster up | down | status | load | kubectl | forward`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from local.cluster.api import KUBECTL_CACHE, Kubectl, cache_beside
from local.cluster.forwarder import into_cluster, serve
from local.cluster.lifecycle import ClusterError, down, load, make_listener, up
from local.cluster.processes import read_record
from local.cluster.settings import DEFAULT_NAMESPACE, ClusterPaths, this_clone
from local.cluster.status import show
from local.setup.errors import SetupError
from local.setup.progress import console
from local.setup.toolchain import find_cluster_binaries


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    raising = commands.add_parser("up", help="bring the cluster up and import images")
    raising.add_argument("archives", nargs="*", type=Path, help="OCI archives to import besides the system's own")
    commands.add_parser("down", help="remove every process, mount, namespace and file of the cluster")
    commands.add_parser("status", help="what runs, since when, at which version; exit status 3 where nothing does")
    loading = commands.add_parser("load", help="import images into the running cluster; pods of changed ones restart")
    loading.add_argument("archives", nargs="+", type=Path, help="OCI archives")
    commands.add_parser("kubectl", help="kubectl against the cluster; every word after it is kubectl's")
    forwarding = commands.add_parser("forward", help="a loopback port for a Service, until interrupted")
    forwarding.add_argument("service", help="NAME or NAMESPACE/NAME")
    forwarding.add_argument("port", type=int)
    forwarding.add_argument("--local-port", type=int, default=0, help="0: any free one")
    # argparse would take kubectl's first option for its own.
    options = parser.parse_args(arguments[:1] if arguments[:1] == ["kubectl"] else arguments)
    options.rest = arguments[1:]
    try:
        return run(options, this_clone())
    except KeyboardInterrupt:
        return 130
    except (ClusterError, SetupError, TimeoutError, RuntimeError, OSError, ValueError) as error:
        console.print("[red]error:[/red]", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        return 1


def run(options: argparse.Namespace, paths: ClusterPaths) -> int:
    """Do what was asked of the cluster at `paths`; returns the exit status."""
    match options.command:
        case "up":
            up(paths, options.archives)
            console.print(f"cluster ready; KUBECONFIG={paths.kubeconfig}", markup=False, soft_wrap=True)
        case "load":
            load(paths, options.archives)
        case "down":
            console.print("removed" if down(paths) else "there was no cluster")
        case "status":
            return show(paths)
        case "forward":
            forward(paths, options.service, options.port, options.local_port)
        case "kubectl":
            program = find_cluster_binaries()["kubectl"]
            environment = os.environ | {KUBECTL_CACHE: str(cache_beside(paths.kubeconfig))}
            command = [str(program), "--kubeconfig", str(paths.kubeconfig), *options.rest]
            os.execve(program, command, environment)  # noqa: S606 - no shell is wanted
    return 0


def forward(paths: ClusterPaths, service: str, port: int, local_port: int) -> None:
    """Serve a Service's port on the host's loopback. Returns never; raises ClusterError."""
    record = read_record(paths.record)
    if record is None or not record.alive:
        raise ClusterError("the cluster is not running: `make up` starts it")
    namespace, _, name = service.rpartition("/")
    kubectl = Kubectl(find_cluster_binaries()["kubectl"], paths.kubeconfig)
    found = kubectl.get("service", "--namespace", namespace or DEFAULT_NAMESPACE, name)
    address = str(found["spec"]["clusterIP"])
    if address in {"None", ""}:
        raise ClusterError(f"{service} has no address of its own (it is headless): use `kubectl port-forward`")
    with make_listener(local_port) as listener:
        got = listener.getsockname()[1]
        if local_port not in {0, got}:
            raise ClusterError(f"port {local_port} of 127.0.0.1 is taken: give another with --local-port")
        console.print(f"{service}:{port} is at 127.0.0.1:{got}; Ctrl-C ends it")
        asyncio.run(serve(listener, into_cluster(record.pid, address, port)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

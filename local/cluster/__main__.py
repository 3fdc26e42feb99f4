"""`python -m local.cluster up | down | status | load | kubectl | forward`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from local.cluster.forwarder import into_cluster, serve
from local.cluster.lifecycle import ClusterError, down, make_listener, up
from local.cluster.processes import read_record
from local.cluster.settings import DEFAULT_NAMESPACE, this_clone
from local.setup.progress import console
from local.setup.toolchain import ToolchainError, find_cluster_binaries


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    raising = commands.add_parser("up", help="bring the cluster up and import images")
    raising.add_argument("archives", nargs="*", type=Path, help="OCI archives to import besides the system's own")
    commands.add_parser("down", help="remove every process, mount, namespace and file of the cluster")
    commands.add_parser("status", help="what runs, since when, at which version")
    calling = commands.add_parser("kubectl", help="kubectl against the cluster")
    calling.add_argument("rest", nargs=argparse.REMAINDER)
    forwarding = commands.add_parser("forward", help="a loopback port for a Service, until interrupted")
    forwarding.add_argument("service", help="NAME or NAMESPACE/NAME")
    forwarding.add_argument("port", type=int)
    forwarding.add_argument("--local-port", type=int, default=0, help="0: any free one")
    options = parser.parse_args(arguments)
    paths = this_clone()
    try:
        match options.command:
            case "up":
                up(paths, options.archives)
                console.print(f"cluster ready; KUBECONFIG={paths.kubeconfig}")
            case "down":
                console.print("removed" if down(paths) else "there was no cluster")
            case "kubectl":
                program = find_cluster_binaries()["kubectl"]
                os.execv(program, [str(program), "--kubeconfig", str(paths.kubeconfig), *options.rest])
    except (ClusterError, ToolchainError, TimeoutError, RuntimeError, OSError) as error:
        console.print(f"[red]error:[/red] {error}", markup=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

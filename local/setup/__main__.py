"""`python -m local.setup [tools | cluster | tests | down]`: from a fresh clone to a cluster and the stack `local`.

Without a word it does it all. What is there already is used; a second run takes seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from local.cluster import lifecycle
from local.cluster.lifecycle import ClusterError
from local.cluster.settings import ROOT, this_clone
from local.setup import browser, foreign, packages, pulumi_cli, stack, toolchain
from local.setup.errors import SetupError
from local.setup.images import archives
from local.setup.progress import console
from local.setup.versions import CLUSTER_GROUPS, KUBERNETES

CONTEXT = "CROSSOVER_KUBE_CONTEXT"
"""Names a context of the user's own kubeconfig: then no local cluster is started."""


def tools(context: str | None) -> None:
    """Programs, Pulumi with its plugins, `.crossover/env`, and the stack."""
    paths = stack.PulumiPaths(ROOT)
    if context is None:
        packages.ensure(packages.CLUSTER)
        programs = toolchain.ensure(CLUSTER_GROUPS)
        stack.link(programs["kubectl"], paths.bin / "kubectl")
    else:
        foreign.adopt(context, this_clone().kubeconfig)
        stack.link(foreign.kubectl() or toolchain.ensure([KUBERNETES])["kubectl"], paths.bin / "kubectl")
    found = pulumi_cli.find(paths.bin)
    console.print(f"  pulumi: {found.program} ({found.origin})", markup=False, soft_wrap=True)
    said = stack.install_plugins(found.program, paths)
    origins = [line for line in said.splitlines() if ": " in line and "/" not in line]
    console.print(f"  plugins: {', '.join(origins)}")
    stack.write_command(paths)
    values = stack.variables(paths, this_clone().kubeconfig, context)
    stack.write_env(paths, values)
    stack.select_stack(paths, values)


def cluster(context: str | None) -> None:
    """Images, and a cluster that has them."""
    files = archives()
    if context is None:
        lifecycle.up(this_clone(), files)
    else:
        foreign.load(context, files)


def remove(context: str | None) -> int:
    """Remove the local cluster, and what Pulumi remembers of it. A user's own cluster is not touched."""
    if context is not None:
        console.print(f"{context} is yours: `. .crossover/env; pulumi destroy` takes the backend off it")
        return 1
    had_cluster = lifecycle.down(this_clone())
    paths = stack.PulumiPaths(ROOT)
    had_stack = stack.forget(paths, stack.variables(paths, this_clone().kubeconfig, None))
    console.print("removed" if had_cluster or had_stack else "there was nothing to remove")
    return 0


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.setup", description=__doc__)
    parser.add_argument(
        "part",
        nargs="?",
        choices=["all", "tools", "cluster", "tests", "down"],
        default="all",
        help="tools: all but images and cluster; tests: what only the tests need; down: remove",
    )
    part = parser.parse_args(arguments).part
    context = os.environ.get(CONTEXT) or None
    began = time.monotonic()
    try:
        if part == "down":
            return remove(context)
        if part == "tests":
            packages.ensure(packages.TESTS)
            browser.ensure()
        if part in {"all", "tools"}:
            tools(context)
        if part in {"all", "cluster"}:
            cluster(context)
    except KeyboardInterrupt:
        console.print("interrupted; run the same again, it goes on where it stopped")
        return 130
    except (SetupError, ClusterError, TimeoutError, RuntimeError, OSError) as error:
        console.print("[red]error:[/red]", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        return 1
    console.print(f"{part}: ready in {time.monotonic() - began:.0f} s. For this shell: . .crossover/env", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

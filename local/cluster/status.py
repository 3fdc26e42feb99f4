"""How the cluster is, for people: processes, node, pods, volumes."""

from __future__ import annotations

import time

from rich.table import Table

from local.cluster.api import JsonObject, Kubectl, condition
from local.cluster.lifecycle import unit_statuses
from local.cluster.processes import read_record
from local.cluster.settings import NODE_NAME, ClusterPaths
from local.setup.progress import console
from local.setup.toolchain import find_cluster_binaries
from local.setup.versions import KUBERNETES_VERSION

NOT_RUNNING = 3
"""The exit status where there is no cluster, as service managers have it."""


def show(paths: ClusterPaths) -> int:
    """Print it all; 0 where everything is well, 1 where something is not, 3 where nothing runs."""
    record = read_record(paths.record)
    if record is None or not record.alive:
        left = " Its state is kept: `make up` brings it back, `make down` removes it." if paths.state.exists() else ""
        console.print(f"the local cluster is not running.{left}")
        return NOT_RUNNING
    console.print(f"Kubernetes {KUBERNETES_VERSION} at https://127.0.0.1:{record.port}, up {span(record.since)}; "
                  f"KUBECONFIG={paths.kubeconfig}", soft_wrap=True)  # fmt: skip
    table = Table("process", "pid", "up", "starts", "last end", box=None)
    units = unit_statuses(paths)
    for unit in units:
        table.add_row(
            unit.name,
            str(unit.pid) if unit.pid else "[red]down[/red]",
            span(unit.since) if unit.pid else "",
            str(unit.starts),
            unit.last_exit,
        )
    console.print(table)
    kubectl = Kubectl(find_cluster_binaries()["kubectl"], paths.kubeconfig)
    if not kubectl.succeeds("get", "--raw", "/readyz"):
        console.print(f"[red]the API does not answer[/red]; see {paths.logs}/kube-apiserver.log")
        return 1
    ready = condition(kubectl.get("node", NODE_NAME), "Ready")
    console.print("the node is Ready" if ready else f"[red]the node is not Ready[/red]; see {paths.logs}/kubelet.log")
    pods = kubectl.get("pods", "--all-namespaces")["items"]
    console.print(pod_table(pods))
    claims = kubectl.get("persistentvolumeclaims", "--all-namespaces")["items"]
    bound = sum(claim["status"].get("phase") == "Bound" for claim in claims)
    console.print(f"{bound} of {len(claims)} volume claims bound")
    return 0 if ready and all(unit.pid for unit in units) else 1


def pod_table(pods: list[JsonObject]) -> Table:
    """A row a pod, like `kubectl get pods`."""
    table = Table("namespace", "pod", "ready", "phase", "restarts", box=None)
    for pod in pods:
        metadata, state = pod["metadata"], pod.get("status") or {}
        statuses = state.get("containerStatuses") or []
        ready = sum(bool(status["ready"]) for status in statuses)
        restarts = sum(int(status["restartCount"]) for status in statuses)
        ok = state.get("phase") == "Succeeded" or (statuses and ready == len(statuses))
        row = (metadata["namespace"], metadata["name"], f"{ready}/{len(pod['spec']['containers'])}")
        table.add_row(*row, str(state.get("phase", "?")), str(restarts), style="" if ok else "yellow")
    return table


def span(since: float) -> str:
    """How long ago that was: 42s, 12m, 3h05m."""
    seconds = max(0, int(time.time() - since))
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    return f"{minutes}m" if minutes < 120 else f"{minutes // 60}h{minutes % 60:02d}m"

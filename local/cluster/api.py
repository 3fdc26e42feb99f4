"""kubectl against the local cluster, and waiting for what it says."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]
POLL_SECONDS = 0.25
KUBECTL_CACHE = "KUBECACHEDIR"
"""Names the folder of kubectl's cache; without it the user's ~/.kube gets one."""


def cache_beside(kubeconfig: Path) -> Path:
    """Where kubectl keeps what it learnt of the cluster of `kubeconfig`: removed with the cluster."""
    return kubeconfig.parent / "cluster" / "kubectl-cache"


class Kubectl:
    """The kubectl that was built with the cluster, with the administrator's kubeconfig."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self.program = program
        self.kubeconfig = kubeconfig

    def run(self, *arguments: str, input: str | None = None) -> str:
        """Its output. Raises RuntimeError with its words where it fails."""
        result = self._call(*arguments, input=input)
        if result.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Whether it ends with 0."""
        return self._call(*arguments).returncode == 0

    def get(self, *arguments: str) -> JsonObject:
        """`kubectl get ... -o json`, read."""
        found: JsonObject = json.loads(self.run("get", *arguments, "-o", "json"))
        return found

    def _call(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), "--request-timeout=10s", *arguments]
        environment = os.environ | {KUBECTL_CACHE: str(cache_beside(self.kubeconfig))}
        return subprocess.run(command, input=input, env=environment, capture_output=True, text=True, check=False)


def condition(item: JsonObject, kind: str) -> bool:
    """Whether `item` has the condition `kind` with status True."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)


def wait_until(holds: Callable[[], bool], deadline_seconds: float, failure: Callable[[], str]) -> None:
    """Poll `holds` until it does.

    Raises TimeoutError with `failure()` where it does not within `deadline_seconds`.
    """
    deadline = time.monotonic() + deadline_seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(failure())
        time.sleep(POLL_SECONDS)

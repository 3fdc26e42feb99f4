"""Runs a Job made after the pattern of a component's Transition, and follows what it says."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

from adapters.routes.base import RouteError, RouteMissing
from adapters.routes.rest import call
from contracts.names import LABEL_TRANSITION
from contracts.stages import Component

_POLL_SECONDS = 0.5
_CONTROLLED_LABELS = tuple(
    prefix + name for prefix in ("", "batch.kubernetes.io/") for name in ("controller-uid", "job-name")
)


class JobFailed(RouteError):
    """A Job that could not be run to its end."""


def after_pattern(job: dict[str, Any], name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A Job like `job`, under another name, whose container runs with `arguments`; gone 10 minutes after its end."""
    spec = copy.deepcopy(job["spec"])
    for key in ("selector", "manualSelector", "suspend"):
        spec.pop(key, None)
    template = spec["template"]
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    for key in _CONTROLLED_LABELS:
        labels.pop(key, None)
    template["spec"]["containers"][0]["args"] = list(arguments)
    spec |= {"backoffLimit": 0, "ttlSecondsAfterFinished": 600}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": name}, "spec": spec}


class KubernetesJobs:
    """Jobs of one namespace, with the caller's own rights. `api` is a client from `connect`."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def run_like_transition(
        self, component: Component, arguments: Sequence[str], say: Callable[[str], None], timeout: float = 300.0
    ) -> bool:
        """Run what the Transition of `component` runs, but with `arguments`; whether it exited with 0.

        `say` gets its output once it ended. Raises RouteMissing where there is no Transition, JobFailed
        where it did not end within `timeout` s, RouteUnavailable.
        """
        found = self._call("GET", self._jobs, query=[("labelSelector", f"{LABEL_TRANSITION}={component.slug}")])
        if not found["items"]:
            raise RouteMissing(f"{component.value} has no Transition here: pulumi up makes it")
        pattern = max(found["items"], key=lambda job: str(job["metadata"]["creationTimestamp"]))
        made = self._call("POST", self._jobs, body=after_pattern(pattern, f"{component.slug}-check-", arguments))
        name = made["metadata"]["name"]
        try:
            done = self._wait(name, timeout)
            say(self._output(name))
            return done
        finally:
            self._call("DELETE", f"{self._jobs}/{name}", query=[("propagationPolicy", "Background")])

    def _wait(self, name: str, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self._call("GET", f"{self._jobs}/{name}").get("status", {})
            for condition in status.get("conditions") or []:
                if condition["status"] == "True" and condition["type"] in {"Complete", "Failed"}:
                    return bool(condition["type"] == "Complete")
            time.sleep(_POLL_SECONDS)  # polling with a deadline
        raise JobFailed(f"Job {name} did not end within {timeout:g} s: kubectl describe job {name} says why")

    def _output(self, name: str) -> str:
        pods = self._call("GET", self._pods, query=[("labelSelector", f"batch.kubernetes.io/job-name={name}")])["items"]
        if not pods:
            return f"Job {name} left no pod"
        path = f"{self._pods}/{pods[0]['metadata']['name']}/log"
        return call(self._api, "GET", path).content.decode(errors="replace").rstrip()

    def _call(self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None) -> Any:
        return call(self._api, method, path, query=query, body=body).object

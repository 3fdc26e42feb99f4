"""Runs a Job made after the pattern of a component's Transition, and follows what it says."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

from adapters.routes.base import RouteError, RouteMissing
from adapters.routes.rest import call
from contracts.names import BUS_CLIENT_NAME, LABEL_TRANSITION
from contracts.registry import LABEL_ADAPTER
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


def as_client(job: dict[str, Any], name: str, command: Sequence[str]) -> dict[str, Any]:
    """A Job with the image and settings of the Transition's `job`, that runs `command` as a client of the event bus:
    with an adapter's rights and credentials, so that a seal holds for it as for any service."""
    made = after_pattern(job, name, command[1:])
    template = made["spec"]["template"]
    template["metadata"]["labels"] = {"app": name.rstrip("-"), LABEL_ADAPTER: Component.EVENT_BUS.slug}
    pod = template["spec"]
    pod.pop("serviceAccount", None)
    pod["serviceAccountName"] = BUS_CLIENT_NAME
    reference = {"name": BUS_CLIENT_NAME}
    pod["containers"][0] |= {
        "command": list(command[:1]),
        "envFrom": [{"configMapRef": reference}, {"secretRef": reference}],
    }
    return made


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
        job = after_pattern(self.transition(component), f"{component.slug}-check-", arguments)
        code, output = self.run(job, timeout)
        say(output)
        return code == 0

    def run_beside(
        self, component: Component, name: str, command: Sequence[str], timeout: float = 300.0
    ) -> tuple[int, str]:
        """Run `command` with the image, rights and settings of the Transition of `component`, in a pod of a Job whose
        name begins with `name`; its exit status and its output. Raises as `run_like_transition` does."""
        job = after_pattern(self.transition(component), f"{name}-", command[1:])
        job["spec"]["template"]["spec"]["containers"][0]["command"] = list(command[:1])
        return self.run(job, timeout)

    def run_as_client(self, name: str, command: Sequence[str], timeout: float = 300.0) -> tuple[int, str]:
        """Run `command` as a client of the event bus, in a pod of a Job whose name begins with `name`; its exit
        status and its output. Raises as `run_like_transition` does."""
        return self.run(as_client(self.transition(Component.EVENT_BUS), f"{name}-", command), timeout)

    def transition(self, component: Component) -> dict[str, Any]:
        """The Job of the newest Transition of `component`. Raises RouteMissing, RouteUnavailable."""
        found = self._call("GET", self._jobs, query=[("labelSelector", f"{LABEL_TRANSITION}={component.slug}")])
        if not found["items"]:
            raise RouteMissing(f"{component.value} has no Transition here: pulumi up makes it")
        newest: dict[str, Any] = max(found["items"], key=lambda job: str(job["metadata"]["creationTimestamp"]))
        return newest

    def begin(self, job: dict[str, Any]) -> str:
        """Make `job`; its name. Raises RouteUnavailable."""
        return str(self._call("POST", self._jobs, body=job)["metadata"]["name"])

    def remove(self, name: str) -> None:
        """Delete the Job, and its pod. Raises RouteUnavailable."""
        self._call("DELETE", f"{self._jobs}/{name}", query=[("propagationPolicy", "Background")])

    def pod_of(self, name: str) -> str:
        """The name of the Job's pod. Raises RouteMissing, RouteUnavailable."""
        return str(self._pod(name)["metadata"]["name"])

    def said(self, name: str, container: str) -> tuple[str, str]:
        """The phase of the Job's pod, and what its container wrote so far: nothing before it runs."""
        pod = self._pod(name)
        phase = str(pod.get("status", {}).get("phase", ""))
        states = pod.get("status", {}).get("containerStatuses") or []
        started = any(one["name"] == container and "waiting" not in one.get("state", {}) for one in states)
        if not started:
            return phase, ""
        path = f"{self._pods}/{pod['metadata']['name']}/log"
        content = call(self._api, "GET", path, query=[("container", container)]).content
        return phase, content.decode(errors="replace")

    def _pod(self, name: str) -> dict[str, Any]:
        pods = self._call("GET", self._pods, query=[("labelSelector", f"batch.kubernetes.io/job-name={name}")])["items"]
        if not pods:
            raise RouteMissing(f"Job {name} has no pod: kubectl describe job {name} says why")
        found: dict[str, Any] = pods[0]
        return found

    def run(self, job: dict[str, Any], timeout: float) -> tuple[int, str]:
        """Run `job` to its end and remove it; its exit status and its output. Raises as `run_like_transition` does."""
        name = self.begin(job)
        try:
            done = self._wait(name, timeout)
            return self._ended(name, done)
        finally:
            self.remove(name)

    def _wait(self, name: str, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self._call("GET", f"{self._jobs}/{name}").get("status", {})
            for condition in status.get("conditions") or []:
                if condition["status"] == "True" and condition["type"] in {"Complete", "Failed"}:
                    return bool(condition["type"] == "Complete")
            time.sleep(_POLL_SECONDS)  # polling with a deadline
        raise JobFailed(f"Job {name} did not end within {timeout:g} s: kubectl describe job {name} says why")

    def _ended(self, name: str, done: bool) -> tuple[int, str]:
        """The exit status of the Job's container, 1 where it is not told, and what it wrote."""
        pods = self._call("GET", self._pods, query=[("labelSelector", f"batch.kubernetes.io/job-name={name}")])["items"]
        if not pods:
            return int(not done), f"Job {name} left no pod"
        path = f"{self._pods}/{pods[0]['metadata']['name']}/log"
        output = call(self._api, "GET", path).content.decode(errors="replace").rstrip()
        if done:
            return 0, output
        for container in pods[0].get("status", {}).get("containerStatuses") or []:
            code = container.get("state", {}).get("terminated", {}).get("exitCode")
            if code:
                return int(code), output
        return 1, output

    def _call(self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: Any = None) -> Any:
        return call(self._api, method, path, query=query, body=body).object

"""The Job of a sweep: made after the pattern of the backtesting service's live pod, followed, and taken away.

Its pods have the service's image, resources, security, and strategies of the user's own, and neither its volume, its
probes, its rights nor any secret of it: they ask nothing of the Kubernetes API, and reach the service alone
(components/backtesting.py).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.backtesting.sweeps.progress import Progress, numbers_in
from adapters.routes.base import RouteConflict, RouteError, RouteMissing
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.rest import call
from contracts import names
from contracts.sweeps import EXIT_REFUSED, Sweep

COMMAND = ("python", "-m", "services.backtesting_service.sweeping")
TRIES_AGAIN = 3
"""Of one piece, not counting those that an eviction ended."""
KEPT_SECONDS = 7 * 86_400
"""How long a Job that has ended can be looked at."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_OF_THE_SERVICE = frozenset(
    {
        names.ENV_ROUTES, names.ENV_RESULTS_PATH, names.ENV_BACKTESTING_WORKERS, names.ENV_BACKTESTING_SECONDS,
        names.ENV_BACKTESTING_MIB, names.ENV_DATA_PATH, names.ENV_POD_NAME, names.ENV_POD_UID,
    }
)  # fmt: skip
_OF_A_SERVICE = ("readinessProbe", "livenessProbe", "startupProbe", "ports", "lifecycle", "args", "envFrom")
_HARMLESS = ("emptyDir", "configMap")
"""Volumes that hold nobody's results and no secret: room of the pod's own, and the user's strategies."""


class NoSweep(RouteError):
    """There is no Job of a sweep by that name."""


def pod_template(deployment: Mapping[str, Any], arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """A pod like the service's, that runs COMMAND with `arguments` and ends. What it could lose is left out: of volumes
    all but _HARMLESS, and variables that are read from elsewhere."""
    spec = copy.deepcopy(deployment["spec"]["template"]["spec"])
    spec["volumes"] = [one for one in spec.get("volumes", []) if any(kind in one for kind in _HARMLESS)]
    kept_volumes = {volume["name"] for volume in spec["volumes"]}
    (container,) = spec["containers"]
    for key in _OF_A_SERVICE:
        container.pop(key, None)
    for key in ("serviceAccount", "serviceAccountName"):
        spec.pop(key, None)
    url = f"http://{names.BACKTESTING_NAME}:{names.HTTP_PORT}"
    told = {names.ENV_BACKTESTING_URL: url, **env}
    own = [{"name": name, "value": value} for name, value in told.items()]
    plain = [one for one in container.get("env", []) if "valueFrom" not in one]
    kept = [one for one in plain if one["name"] not in _OF_THE_SERVICE | told.keys()]
    container |= {
        "name": "sweep",
        "command": list(COMMAND),
        "args": list(arguments),
        "env": [*kept, *own],
        "volumeMounts": [mount for mount in container.get("volumeMounts", []) if mount["name"] in kept_volumes],
    }
    spec |= {"restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5}
    labels = {"app": names.BACKTEST_SWEEP_NAME, "app.kubernetes.io/name": names.BACKTEST_SWEEP_NAME}
    return {"metadata": {"labels": labels}, "spec": spec}


def sweep_job(
    deployment: Mapping[str, Any],
    sweep: Sweep,
    name: str,
    *,
    parallelism: int,
    queue: str | None = None,
    max_failed: int | None = None,
) -> dict[str, Any]:
    """The Indexed Job that does every piece of `sweep`. `queue`: of Kueue, which then says when it begins;
    `max_failed`: after so many pieces that failed for good the rest is given up; None: never."""
    labels = {"app": names.BACKTEST_SWEEP_NAME, names.LABEL_SWEEP: sweep.id}
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": sweep.indexes,
        "parallelism": min(parallelism, sweep.indexes),
        "backoffLimitPerIndex": TRIES_AGAIN,
        "podFailurePolicy": {
            "rules": [
                # Evicted, preempted, or its node drained: no fault of the piece, and it counts as no try.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailIndex",
                    "onExitCodes": {"containerName": "sweep", "operator": "In", "values": [EXIT_REFUSED]},
                },
            ]
        },
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "template": pod_template(deployment, ["run", "--sweep", sweep.id], {}),
    }
    if max_failed is not None:
        spec["maxFailedIndexes"] = max_failed
    if queue is not None:
        labels[QUEUE_LABEL] = queue
        spec["suspend"] = True
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec}


def asking_job(deployment: Mapping[str, Any], arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """A Job that asks the service once."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{names.BACKTEST_SWEEP_NAME}-asks-"},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 600,
            "ttlSecondsAfterFinished": 600,
            "template": pod_template(deployment, arguments, env),
        },
    }


@dataclass(frozen=True, slots=True)
class SweepJob:
    """A Job of a sweep as it stands. `state`: queued, running, done, failed (some pieces, or all that was left)."""

    name: str
    sweep_id: str
    state: str
    completed: frozenset[int]
    failed: frozenset[int]
    active: int
    progress: Progress
    why: str = ""

    @property
    def ended(self) -> bool:
        """Whether it does nothing any more."""
        return self.state in ("done", "failed")


def standing(job: Mapping[str, Any], now: datetime) -> SweepJob:
    """What a Job's own status says of the sweep."""
    spec, status, metadata = job["spec"], job.get("status", {}), job["metadata"]
    conditions = {one["type"]: one for one in status.get("conditions") or [] if one["status"] == "True"}
    completed, failed = numbers_in(status.get("completedIndexes", "")), numbers_in(status.get("failedIndexes", ""))
    ended = conditions.get("Complete") or conditions.get("Failed")
    state = "done" if "Complete" in conditions else "failed" if "Failed" in conditions else "running"
    if state == "running" and spec.get("suspend"):
        state = "queued"
    began = _time(status.get("startTime")) or now
    until = (_time(ended.get("lastTransitionTime")) if ended else None) or now
    seconds = max(0.0, (until - began).total_seconds())
    progress = Progress(len(completed), int(spec["completions"]), 0, len(failed), seconds)
    why = str(ended.get("message") or ended.get("reason") or "") if ended and state == "failed" else ""
    return SweepJob(
        metadata["name"], metadata["labels"][names.LABEL_SWEEP], state, completed, failed, int(status.get("active", 0)),
        progress, why,
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return None if not text else datetime.fromisoformat(text)


class KubernetesSweeps:
    """The Jobs of sweeps of one namespace, with the caller's own rights. `api` is a client from `connect`. Every method
    raises RouteUnavailable."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api, self._jobs = api, KubernetesJobs(api, namespace)
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._service = f"/apis/apps/v1/namespaces/{namespace}/deployments/{names.BACKTESTING_NAME}"

    def ask(self, arguments: Sequence[str], env: Mapping[str, str], timeout: float = 300.0) -> tuple[int, str]:
        """Ask the backtesting service from a pod that may; its exit status and what it wrote. Raises RouteMissing where
        there is no service, JobFailed."""
        return self._jobs.run(asking_job(self._deployment(), arguments, env), timeout)

    def begin(
        self, sweep: Sweep, name: str, *, parallelism: int, queue: str | None = None, max_failed: int | None = None
    ) -> tuple[SweepJob, bool]:
        """The Job that does `sweep`, and whether it was made now: one that is under way goes on, whatever its name; one
        that has ended makes room. Raises NoSweep where another Job has the name, RouteMissing."""
        for known in self.of(sweep.id):
            if not known.ended:
                return known, False
        if (taken := self._found(name)) is not None:
            self._remove(self._sweep_of(taken, name, sweep.id).name)
        job = sweep_job(
            self._deployment(), sweep, name, parallelism=parallelism, queue=queue, max_failed=max_failed
        )  # fmt: skip
        try:
            made = call(self._api, "POST", self._path, body=job).object
        except RouteConflict:  # somebody else was faster
            return self._sweep_of(self._found(name) or {"metadata": {}}, name, sweep.id), False
        return standing(made, datetime.now(UTC)), True

    def of(self, sweep_id: str) -> list[SweepJob]:
        """The Jobs of a sweep."""
        query = [("labelSelector", f"{names.LABEL_SWEEP}={sweep_id}")]
        items = call(self._api, "GET", self._path, query=query).object["items"]
        return [standing(item, datetime.now(UTC)) for item in items]

    def find(self, name: str) -> SweepJob:
        """The sweep of that name. Raises NoSweep."""
        job = self._found(name)
        if job is None:
            raise NoSweep(f"there is no sweep {name} here: it was cancelled, or ended over a week ago")
        return self._sweep_of(job, name)

    def cancel(self, name: str) -> SweepJob:
        """End it, with its pods; pieces that are done stay. Raises NoSweep."""
        found = self.find(name)
        self._remove(name)
        return found

    def _sweep_of(self, job: Mapping[str, Any], name: str, sweep_id: str | None = None) -> SweepJob:
        label = job["metadata"].get("labels", {}).get(names.LABEL_SWEEP)
        if label is None or sweep_id not in (None, label):
            what = "is no sweep" if label is None else f"is sweep {label}, another one"
            raise NoSweep(f"Job {name} {what}: it is left as it is. Name another")
        return standing(job, datetime.now(UTC))

    def _found(self, name: str) -> Mapping[str, Any] | None:
        try:
            job: Mapping[str, Any] = call(self._api, "GET", f"{self._path}/{name}").object
        except RouteMissing:
            return None
        return job

    def _remove(self, name: str) -> None:
        self._jobs.remove(name)

    def _deployment(self) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = call(self._api, "GET", self._service).object
        except RouteMissing:
            raise RouteMissing(f"there is no {names.BACKTESTING_NAME} here: pulumi up makes it") from None
        return found

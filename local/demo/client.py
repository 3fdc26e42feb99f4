"""A load that is a client of the backend like any service: a pod that acts, and beside it a judge of what it did.

It is made after the trading engine: its image, and its way to what the load is a client of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from contracts import names
from local.demo.commands import CommandFailed, Kubectl
from local.demo.load import LoadFailed
from local.demo.pod import JUDGE, NoTemplate
from local.setup.progress import step
from validation.load import verifying
from validation.result import Report

START_SECONDS: Final = 180.0
JUDGE_SECONDS: Final = 300.0
MAX_SECONDS: Final = 3600.0
"""A load that nobody stops ends by itself after this."""


def _nothing(run: str) -> Sequence[str]:
    del run
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What makes one such load another than the next. `module` is its program, which has the commands run, stop and
    verify; `variable` the engine's way there, or `address`, where the engine
    has none, what it is set to; `works` what its last line says once it works; `judging`, what the
    judge of a run is given beside its folder."""

    pod: str
    container: str
    module: str
    variable: str
    title: str
    works: str
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    policies: Sequence[Mapping[str, Any]] = ()
    judging: Callable[[str], Sequence[str]] = _nothing

    @property
    def folder(self) -> str:
        """Where its pod keeps what was written down."""
        return f"/{self.container}"


def policies_between(load_name: str, *servers: str) -> Sequence[Mapping[str, Any]]:
    """What lets the load `load_name` call `servers` over HTTP, and nobody else, where network policies are enforced."""
    load = {"podSelector": {"matchLabels": {"app": load_name}}}
    among = {"key": "app", "operator": "In", "values": list(servers)}
    called = {"podSelector": {"matchExpressions": [among]}}
    ports = [{"port": names.HTTP_PORT, "protocol": "TCP"}]
    rules: dict[str, dict[str, Any]] = {
        load_name: {**load, "policyTypes": ["Egress"], "egress": [{"to": [called], "ports": ports}]},
        f"{load_name}-calls": {**called, "policyTypes": ["Ingress"], "ingress": [{"from": [load], "ports": ports}]},
    }
    return [
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}
        for name, spec in rules.items()
    ]


def manifest(kind: Kind, deployment: Mapping[str, Any], *, run: str, rate: float) -> dict[str, Any]:
    """The pod of a run, after the trading engine's `deployment`. Raises NoTemplate."""
    spec = deployment["spec"]["template"]["spec"]
    engine = next(c for c in spec["containers"] if c["name"] == names.TRADING_ENGINE_NAME)
    environment = [entry for entry in engine.get("env", []) if entry["name"] == kind.variable]
    if kind.address:
        environment = [{"name": kind.variable, "value": kind.address}]
    if not environment:
        raise NoTemplate(f"deployment {names.TRADING_ENGINE_NAME} does not set {kind.variable}: there is no way there")
    shared = {
        "image": engine["image"],
        "imagePullPolicy": engine.get("imagePullPolicy", "IfNotPresent"),
        "env": environment,
        "securityContext": engine.get("securityContext", {}),
        "volumeMounts": [{"name": "kept", "mountPath": kind.folder}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
    }
    options = ["--folder", f"{kind.folder}/{run}", "--run", run, "--rate", f"{rate:g}", "--seconds", f"{MAX_SECONDS:g}"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": kind.pod, "labels": {"app": kind.pod, **kind.labels}},
        "spec": {
            "restartPolicy": "Never",  # a run that was cut off proves nothing, whoever goes on
            "terminationGracePeriodSeconds": 10,
            "serviceAccountName": spec.get("serviceAccountName", "default"),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": spec.get("securityContext", {}),
            "imagePullSecrets": spec.get("imagePullSecrets", []),
            "containers": [
                _container(shared, kind.container, [kind.module, "run", *options], cpu="250m"),
                _container(shared, JUDGE, ["validation.load", "keep"], cpu="20m"),
            ],
            "volumes": [
                {"name": "kept", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    }


def _container(shared: Mapping[str, Any], name: str, arguments: list[str], *, cpu: str) -> dict[str, Any]:
    return {
        **shared,
        "name": name,
        "command": ["python", "-m", *arguments],
        "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"memory": "768Mi"}},
    }


class Client:
    """One run of a load, in its pod. `rate` a second."""

    def __init__(self, kind: Kind, kubectl: Kubectl, run: str, rate: float) -> None:
        self._kind = kind
        self._kubectl = kubectl
        self.run = run
        self.rate = rate

    def start(self) -> None:
        """Start the pod and wait until it works. Raises LoadFailed, NoTemplate."""
        self.remove()
        engine = self._kubectl.get("deployment", names.TRADING_ENGINE_NAME)
        if engine is None:
            raise LoadFailed(f"there is no deployment {names.TRADING_ENGINE_NAME}: run `pulumi up` first")
        made = manifest(self._kind, engine, run=self.run, rate=self.rate)
        self._kubectl.apply({"apiVersion": "v1", "kind": "List", "items": [*self._kind.policies, made]})
        deadline = time.monotonic() + START_SECONDS
        with step(self._kind.title) as shown:
            while self._kind.works not in (said := self.said()):
                shown.say(said or "waiting for its first line")
                state = self._state()
                if time.monotonic() > deadline or "terminated" in state:
                    raise LoadFailed(f"{self._kind.pod} did not work within {START_SECONDS:g} s: {said or state}")
                time.sleep(1.0)  # kubectl logs announces nothing

    def hold(self, seconds: float, title: str) -> None:
        """Let it run for `seconds`. Raises LoadFailed where it ended by itself."""
        until = time.monotonic() + seconds
        with step(title) as shown:
            while (left := until - time.monotonic()) > 0:
                shown.say(self.said())
                if "terminated" in self._state():
                    raise LoadFailed(f"{self._kind.pod} ended by itself: {self.said()}")
                time.sleep(min(5.0, left))  # the time that the load shall run

    def stop(self) -> None:
        """End it; what is under way is finished."""
        folder = f"{self._kind.folder}/{self.run}"
        self._kubectl.run(*self._in_judge, "python", "-m", self._kind.module, "stop", "--folder", folder)

    def judge(self, windows: Mapping[str, tuple[int, int]], min_rate: float) -> dict[str, Report]:
        """The reports of the run by name. Raises LoadFailed where there are none."""
        spans = [part for name, (start, end) in windows.items() for part in ("--window", f"{name}={start}:{end}")]
        command = ["python", "-m", self._kind.module, "verify", "--folder", f"{self._kind.folder}/{self.run}"]
        options = ["--json", "--min-rate", f"{min_rate:g}", *self._kind.judging(self.run), *spans]
        with step(f"{self._kind.pod} is judged"):
            try:
                line = self._kubectl.json_line(*self._in_judge, *command, *options, timeout=JUDGE_SECONDS)
                return verifying.from_json(line)
            except (CommandFailed, ValueError) as error:
                raise LoadFailed(f"{self._kind.pod} could not be judged: {error}\n{self.said()}") from error

    def said(self) -> str:
        """The load's last line."""
        return self._kubectl.run("logs", self._kind.pod, "-c", self._kind.container, "--tail=1", check=False).strip()

    def remove(self) -> None:
        """Delete the pod and what it wrote down."""
        self._kubectl.run("delete", "pod", self._kind.pod, "--ignore-not-found", "--wait=true", timeout=120)
        made = [f"networkpolicy/{policy['metadata']['name']}" for policy in self._kind.policies]
        if made:
            self._kubectl.run("delete", "--ignore-not-found", *made)

    def _state(self) -> str:
        found = self._kubectl.get("pod", self._kind.pod) or {}
        statuses = found.get("status", {}).get("containerStatuses", [])
        return str([status.get("state") for status in statuses if status.get("name") == self._kind.container])

    @property
    def _in_judge(self) -> tuple[str, ...]:
        return ("exec", self._kind.pod, "-c", JUDGE, "--")

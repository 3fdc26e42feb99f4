"""The bank as the demonstration handles it: a pod that transfers through the services' own address, and its judge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from contracts import names
from local.demo.commands import CommandFailed, Kubectl
from local.demo.load import LoadFailed
from local.demo.pod import JUDGE
from local.setup.progress import step
from validation.load import verifying
from validation.result import Report

POD_NAME: Final = "database-load"
BANK: Final = "bank"
FOLDER: Final = "/bank"
START_SECONDS: Final = 180.0
JUDGE_SECONDS: Final = 300.0
MAX_SECONDS: Final = 3600.0
"""A load that nobody stops ends by itself after this."""
_IN_JUDGE: Final = ("exec", POD_NAME, "-c", JUDGE, "--")


def manifest(deployment: Mapping[str, Any], *, run: str, rate: float) -> dict[str, Any]:
    """The pod of a run, after the trading engine's `deployment`: its image, and its way to the database."""
    template = deployment["spec"]["template"]
    spec = template["spec"]
    engine = next(c for c in spec["containers"] if c["name"] == names.TRADING_ENGINE_NAME)
    shared = {
        "image": engine["image"],
        "imagePullPolicy": engine.get("imagePullPolicy", "IfNotPresent"),
        "env": [entry for entry in engine.get("env", []) if entry["name"] == names.ENV_DATABASE_URL],
        "securityContext": engine.get("securityContext", {}),
        "volumeMounts": [{"name": "bank", "mountPath": FOLDER}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
    }
    options = ["--folder", f"{FOLDER}/{run}", "--run", run, "--rate", f"{rate:g}", "--seconds", f"{MAX_SECONDS:g}"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD_NAME, "labels": {"app": POD_NAME, names.LABEL_DATABASE_CLIENT: "true"}},
        "spec": {
            "restartPolicy": "Never",  # a run that was cut off proves nothing, whoever goes on
            "terminationGracePeriodSeconds": 10,
            "serviceAccountName": spec.get("serviceAccountName", "default"),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": spec.get("securityContext", {}),
            "imagePullSecrets": spec.get("imagePullSecrets", []),
            "containers": [
                _container(shared, BANK, ["validation.bank", "run", *options], cpu="250m"),
                _container(shared, JUDGE, ["validation.load", "keep"], cpu="20m"),
            ],
            "volumes": [
                {"name": "bank", "emptyDir": {"sizeLimit": "1Gi"}},
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


class Bank:
    """One run, in its pod. `rate` in transfers a second."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float) -> None:
        self._kubectl = kubectl
        self.run = run
        self.rate = rate

    def start(self) -> None:
        """Start the pod and wait until it transfers. Raises LoadFailed."""
        self.remove()
        engine = self._kubectl.get("deployment", names.TRADING_ENGINE_NAME)
        if engine is None:
            raise LoadFailed(f"there is no deployment {names.TRADING_ENGINE_NAME}: run `pulumi up` first")
        self._kubectl.apply(manifest(engine, run=self.run, rate=self.rate))
        deadline = time.monotonic() + START_SECONDS
        with step("the bank opens: transfers through the services' own address") as shown:
            while "acknowledged" not in (said := self.said()):
                shown.say(said or "waiting for its first transfers")
                if time.monotonic() > deadline:
                    raise LoadFailed(f"the bank did not open within {START_SECONDS:g} s: {said or self._state()}")
                time.sleep(1.0)  # kubectl logs announces nothing

    def hold(self, seconds: float, title: str) -> None:
        """Let it run for `seconds`. Raises LoadFailed where it ended by itself."""
        until = time.monotonic() + seconds
        with step(title) as shown:
            while (left := until - time.monotonic()) > 0:
                shown.say(self.said())
                if "terminated" in self._state():
                    raise LoadFailed(f"the bank ended by itself: {self.said()}")
                time.sleep(min(5.0, left))  # the time that the load shall run

    def stop(self) -> None:
        """End the transfers."""
        self._execute("python", "-m", "validation.bank", "stop", "--folder", f"{FOLDER}/{self.run}")

    def judge(self, windows: Mapping[str, tuple[int, int]], min_rate: float) -> dict[str, Report]:
        """The reports of the run by name. Raises LoadFailed where there are none."""
        spans = [part for name, (start, end) in windows.items() for part in ("--window", f"{name}={start}:{end}")]
        command = ["python", "-m", "validation.bank", "verify", "--folder", f"{FOLDER}/{self.run}", "--run", self.run]
        with step("the bank's books are compared"):
            try:
                wanted = (*command, "--json", "--min-rate", f"{min_rate:g}", *spans)
                return verifying.from_json(self._kubectl.json_line(*_IN_JUDGE, *wanted, timeout=JUDGE_SECONDS))
            except (CommandFailed, ValueError) as error:
                raise LoadFailed(f"the bank could not be judged: {error}\n{self.said()}") from error

    def said(self) -> str:
        """The bank's last line."""
        return self._kubectl.run("logs", POD_NAME, "-c", BANK, "--tail=1", check=False).strip()

    def remove(self) -> None:
        """Delete the pod and its books."""
        self._kubectl.run("delete", "pod", POD_NAME, "--ignore-not-found", "--wait=true", timeout=120)

    def _state(self) -> str:
        found = self._kubectl.get("pod", POD_NAME) or {}
        statuses = found.get("status", {}).get("containerStatuses", [])
        return str([status.get("state") for status in statuses if status.get("name") == BANK])

    def _execute(self, *command: str) -> str:
        return self._kubectl.run(*_IN_JUDGE, *command)

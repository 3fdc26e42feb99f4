"""The load as the demonstration handles it: start, watch, stop, judge, remove."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from contracts import names
from local.demo import pod
from local.demo.commands import CommandFailed, Kubectl
from local.setup.progress import Step, step
from validation.load import verifying
from validation.result import Report

START_SECONDS = 300.0
DRAIN_SECONDS = 180.0
_IN_JUDGE = ("exec", pod.POD_NAME, "-c", pod.JUDGE, "--")
MAX_SECONDS = 3600.0
"""A load that nobody stops ends by itself after this."""


class LoadFailed(RuntimeError):
    """The load could not be started, or ended by itself: why, and what its containers said."""


class Load:
    """One run of the load, in its pod. `rate` in events/s."""

    def __init__(self, kubectl: Kubectl, run: str, rate: float) -> None:
        self._kubectl = kubectl
        self.run = run
        self.rate = rate

    def start(self) -> None:
        """Start the pod and wait until it publishes. Raises LoadFailed."""
        remove(self._kubectl)
        engine = self._kubectl.get("deployment", names.TRADING_ENGINE_NAME)
        if engine is None:
            raise LoadFailed(f"there is no deployment {names.TRADING_ENGINE_NAME}: run `pulumi up` first")
        made = pod.manifest(engine, run=self.run, rate=self.rate, seconds=MAX_SECONDS)
        self._kubectl.apply({"apiVersion": "v1", "kind": "List", "items": [*pod.policies(), made]})
        with step("the load starts: one publisher, three consumer groups") as shown:
            self._await(lambda log: "publishing" in log, START_SECONDS, shown)

    def hold(self, seconds: float, title: str) -> None:
        """Let the load run for `seconds`. Raises LoadFailed where it ended by itself."""
        until = time.monotonic() + seconds
        with step(title) as shown:
            while (left := until - time.monotonic()) > 0:
                shown.say(self.progress())
                self.check()
                time.sleep(min(5.0, left))  # the time that the load shall run

    def progress(self) -> str:
        """The publisher's last line."""
        log = self._kubectl.run("logs", pod.POD_NAME, "-c", pod.PUBLISHER, "--tail=1", check=False)
        return log.strip()

    def check(self) -> None:
        """Raises LoadFailed where a container of the load has ended."""
        found = self._kubectl.get("pod", pod.POD_NAME)
        ended = [s["name"] for s in _statuses(found) if "terminated" in s.get("state", {})] if found else ["all of it"]
        if ended:
            raise LoadFailed(f"the load ended by itself ({', '.join(ended)}): {self.said()}")

    def stop(self) -> None:
        """End the publisher; the consumers go on until they have seen everything."""
        self._execute("python", "-m", "validation.load", "stop", "--folder", f"{pod.FOLDER}/{self.run}")

    def judge(self, windows: Mapping[str, tuple[int, int]], min_rate: float) -> dict[str, Report]:
        """The reports of the run by name. Raises LoadFailed where there are none."""
        command = pod.judging(self.run, min_rate=min_rate, windows=windows, wait=DRAIN_SECONDS)
        with step("the ledgers are compared"):
            try:
                line = self._kubectl.json_line(*_IN_JUDGE, *command, timeout=2 * DRAIN_SECONDS + 120)
                return verifying.from_json(line)
            except (CommandFailed, ValueError) as error:
                raise LoadFailed(f"the ledgers could not be judged: {error}\n{self.said()}") from error

    def remove(self) -> None:
        """Delete the pod and its ledgers."""
        remove(self._kubectl)

    def _execute(self, *command: str) -> str:
        return self._kubectl.run(*_IN_JUDGE, *command)

    def _await(self, true: Any, seconds: float, shown: Step) -> None:
        deadline = time.monotonic() + seconds
        while True:
            log = self._kubectl.run("logs", pod.POD_NAME, "-c", pod.PUBLISHER, "--tail=50", check=False)
            if true(log):
                return
            found = self._kubectl.get("pod", pod.POD_NAME)
            shown.say(", ".join(_reasons(found)) or "waiting for its consumers to be ready")
            if any("terminated" in s.get("state", {}) for s in _statuses(found)) or time.monotonic() > deadline:
                raise LoadFailed(f"the load did not start within {seconds:g} s: {self.said()}")
            time.sleep(1.0)  # kubectl logs announces nothing

    def said(self) -> str:
        """The last lines of each container."""
        said = []
        for name in (pod.PUBLISHER, *pod.GROUPS):
            log = self._kubectl.run("logs", pod.POD_NAME, "-c", name, "--tail=5", check=False).strip()
            said.append(f"{name}: {log or '(nothing)'}")
        return "\n" + "\n".join(said)


def remove(kubectl: Kubectl) -> None:
    """Delete the load's pod, if there is one, and wait until it is gone."""
    kubectl.run("delete", "pod", pod.POD_NAME, "--ignore-not-found", "--wait=true", timeout=120)
    made = [f"networkpolicy/{policy['metadata']['name']}" for policy in pod.policies()]
    kubectl.run("delete", "--ignore-not-found", *made)


def _statuses(found: Any) -> list[dict[str, Any]]:
    return list(found.get("status", {}).get("containerStatuses", [])) if found else []


def _reasons(found: Any) -> list[str]:
    """Why containers wait, as Kubernetes says it."""
    waiting = (status.get("state", {}).get("waiting", {}).get("reason") for status in _statuses(found))
    return sorted({reason for reason in waiting if reason})


def new_run() -> str:
    """The mark of a new run."""
    return f"demo-{time.time_ns() // 1_000_000_000:x}"

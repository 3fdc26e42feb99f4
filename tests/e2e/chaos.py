"""What hurts a switch on the local cluster: killed Jobs, killed servers, an API that stands still, a killed CLI."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from contracts import names
from contracts.routes import Route
from contracts.stages import Stage
from cutover.plan import Step
from local.cluster.namespaces import cgroup_members
from local.cluster.settings import ClusterPaths
from tests.e2e.journey import COMPONENT, Stack

POLL_SECONDS = 0.05
_JOB = "test-transition"
_PROGRAM = "-m cutover --component"
_RUNS = re.compile(r"^  (\w+) +\w[\w ]* +[\d.]+ s ", re.MULTILINE)
"""A line of a run that tells of a step which ended."""


def await_true(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `holds()`; fails the test where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)  # kubectl and /proc are polled, with a deadline


def transition_job(stack: Stack, stage: Stage) -> dict[str, Any]:
    """The Job of the stack's own Transition, made to bring the component to `stage` and under a name of its own."""
    jobs = stack.kubectl.get("jobs", "-l", f"crossover.dev/component={COMPONENT.slug}") or {"items": []}
    assert jobs["items"], "there is no Transition Job to copy: run pulumi up"
    template = jobs["items"][-1]["spec"]["template"]
    template["metadata"]["labels"] = {
        name: value
        for name, value in template["metadata"]["labels"].items()
        if "controller-uid" not in name and "job-name" not in name
    }
    arguments = template["spec"]["containers"][0]["args"]
    arguments[arguments.index("--stage") + 1] = stage.value
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": _JOB, "namespace": names.NAMESPACE},
        "spec": {"backoffLimit": 0, "template": template},
    }


def steps_ended(log: str) -> list[str]:
    """The steps of which a run's log tells that they ended, in order."""
    known = {step.value for step in Step}
    return [name for name in _RUNS.findall(log) if name in known]


class Run:
    """A run of the cutover beside Pulumi, that a test may cut off."""

    def __init__(self, stack: Stack, paths: ClusterPaths, stage: Stage) -> None:
        self._stack = stack
        self._paths = paths
        self.remove()
        stack.kubectl.apply(transition_job(stack, stage))

    def log(self) -> str:
        """What it said so far."""
        return self._stack.kubectl.run("logs", f"job/{_JOB}", "--tail=-1", check=False)

    @property
    def over(self) -> bool:
        """Whether it ended, well or not."""
        found = self._stack.kubectl.get("job", _JOB)
        conditions = (found or {}).get("status", {}).get("conditions", [])
        return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)

    def until_after(self, step: Step | None, seconds: float = 120.0) -> bool:
        """Wait until `step` has ended, or, without one, until it says anything; False where the run ended first."""

        def there() -> bool:
            log = self.log()
            return bool(log.strip()) if step is None else step.value in steps_ended(log)

        await_true(lambda: there() or self.over, seconds, f"{step} of a run:\n{self.log()}")
        return there()

    def kill(self) -> None:
        """SIGKILL, with no time to undo anything; returns once its Job has failed."""
        with contextlib.suppress(ProcessLookupError):
            kill_server(self._paths, f"{_PROGRAM} {COMPONENT.value}")
        self.await_end()

    def await_end(self, seconds: float = 240.0) -> str:
        """Wait for its end, whatever that is; its log."""
        await_true(lambda: self.over, seconds, "the end of a run")
        return self.log()

    def remove(self) -> None:
        """Delete the Job and its pod at once."""
        self._stack.kubectl.run("delete", "job", _JOB, "--ignore-not-found", "--cascade=orphan")
        self._stack.kubectl.run(
            "delete", "pod", "-l", f"job-name={_JOB}", "--ignore-not-found", "--force", "--grace-period=0", timeout=90
        )


def process_of(paths: ClusterPaths, words: str) -> int:
    """The process of the cluster's pods whose command line contains `words`, as the host numbers it."""
    found = []
    for pid in cgroup_members(paths.name):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words in line:
                found.append(pid)
    assert found, f"no process of the cluster has {words!r} in its command line"
    return max(found)


def kill_server(paths: ClusterPaths, words: str) -> None:
    """SIGKILL a server in its container; the kubelet starts it again."""
    os.kill(process_of(paths, words), signal.SIGKILL)


@contextlib.contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """These processes stand still for as long as the block lasts; their sockets stay open."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def killed_up(stack: Stack, moment: Callable[[str], bool], seconds: float = 300.0) -> str:
    """`pulumi up`, killed with all its plugins as `kill -9` does once a line of its output is the `moment`; its output.
    The lock on the state that it leaves is taken off, as a user does with `pulumi cancel`."""
    command = [stack.pulumi.program, "up", "--yes", "--skip-preview", "--stack", "local", "--non-interactive"]
    process = subprocess.Popen(
        [*command, "--color", "never"], cwd=stack.root, env=stack.env, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    said: list[str] = []
    deadline = time.monotonic() + seconds
    try:
        for line in process.stdout or ():
            said.append(line)
            if moment(line):
                break
            assert time.monotonic() < deadline, "the moment to kill never came:\n" + "".join(said)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    subprocess.run(
        [stack.pulumi.program, "cancel", "--yes", "--stack", "local", "--non-interactive"],
        cwd=stack.root, env=stack.env, capture_output=True, check=False,
    )  # fmt: skip
    return "".join(said)


def settled(route: Route, stage: Stage) -> bool:
    """Whether `route` says that the component is at `stage` and nothing is under way."""
    return route.stage is stage and route.fence is None and route.progress is None

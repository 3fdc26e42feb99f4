"""What hurts a switch on the local cluster: killed Jobs, killed servers, an API that stands still, a killed CLI."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from contracts import names
from contracts.routes import Route
from contracts.stages import Stage
from cutover.plan import Step
from local.cluster.namespaces import cgroup_members
from local.cluster.settings import ClusterPaths
from tests.e2e.journey import Stack

POLL_SECONDS = 0.05
_LABEL = "crossover.dev/test-run"
_MARK = "a test acts before"
HOLD_SECONDS = 3.0
_ACTING = f'''
import os, runpy, sys, time
from cutover import component_steps

act, before = sys.argv[1:3]
del sys.argv[1:3]
made = component_steps.steps_of


def hurt(*arguments, **named):
    found = made(*arguments, **named)
    for step, method in found.steps.items():
        if step.value == before:
            found.steps[step] = lambda transition: now(method, transition)
            break
    return found


def now(method, transition):
    print("{_MARK}", before, flush=True)
    if act == "die":
        os._exit(137)
    time.sleep({HOLD_SECONDS})
    return method(transition)


component_steps.steps_of = hurt
runpy.run_module("cutover", run_name="__main__", alter_sys=True)
'''
"""The cutover, but for what it does right before a step: it ends as by SIGKILL, with no time to undo anything, or
stands still. So a test meets each step for certain, however short it is."""


def await_true(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `holds()`; fails the test where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)  # kubectl and /proc are polled, with a deadline


@contextmanager
def gone(stack: Stack, statefulset: str) -> Iterator[None]:
    """A server is gone at once, and does not come back while the block lasts. Its volume stays."""
    name = f"statefulset/{statefulset}"
    replicas = (stack.kubectl.get("statefulset", statefulset) or {})["spec"]["replicas"]
    stack.kubectl.run("scale", name, "--replicas=0")
    stack.kubectl.run("delete", "pod", "-l", f"app={statefulset}", "--force", "--grace-period=0", timeout=90)
    try:
        yield
    finally:
        stack.kubectl.run("scale", name, f"--replicas={replicas}")
        stack.kubectl.run("rollout", "status", name, "--timeout=240s", timeout=260)


def transition_job(stack: Stack, name: str, stage: Stage, act: str, before: Step) -> dict[str, Any]:
    """The Job of the stack's own Transition, made to bring the component to `stage`, to `act` right before a step, and
    under another name."""
    jobs = stack.kubectl.get("jobs", "-l", f"{names.LABEL_TRANSITION}={stack.component.slug}") or {"items": []}
    assert jobs["items"], "there is no Transition Job to copy: run pulumi up"
    template = jobs["items"][-1]["spec"]["template"]
    template["metadata"]["labels"] = {
        name: value
        for name, value in template["metadata"]["labels"].items()
        if "controller-uid" not in name and "job-name" not in name
    }
    container = template["spec"]["containers"][0]
    assert container["command"] == ["python", "-m", "cutover"]
    container["command"] = ["python", "-c", _ACTING, act, before.value]
    arguments = container["args"]
    arguments[arguments.index("--stage") + 1] = stage.value
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": names.NAMESPACE, "labels": {_LABEL: "true"}},
        "spec": {"backoffLimit": 0, "template": template},
    }


class Run:
    """A run of the cutover beside Pulumi, that dies right before a step, or stands still there for HOLD_SECONDS."""

    def __init__(self, stack: Stack, stage: Stage, act: Literal["die", "hold"], before: Step) -> None:
        self._stack = stack
        self._before = before
        self._name = f"test-run-{before.value.replace('_', '-')}-{uuid.uuid4().hex[:6]}"
        stack.kubectl.apply(transition_job(stack, self._name, stage, act, before))

    def log(self) -> str:
        """What it said so far."""
        return self._stack.kubectl.run("logs", f"job/{self._name}", "--tail=-1", check=False)

    @property
    def there(self) -> bool:
        """Whether it came to the step."""
        return f"{_MARK} {self._before.value}" in self.log()

    def await_there(self, seconds: float = 120.0) -> None:
        """Wait until it comes to the step."""
        await_true(lambda: self.there or self._over(), seconds, f"a run before {self._before.value}")
        assert self.there, f"it did not come to {self._before.value}:\n{self.log()}"

    def await_end(self, seconds: float = 240.0) -> None:
        """Wait for its end, whatever that is."""
        await_true(self._over, seconds, f"the end of a run before {self._before.value}")

    def await_death(self) -> None:
        """Wait until it has died before the step."""
        self.await_end()
        assert self.there, f"it did not come to {self._before.value}:\n{self.log()}"

    def _over(self) -> bool:
        found = self._stack.kubectl.get("job", self._name)
        conditions = (found or {}).get("status", {}).get("conditions", [])
        return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def remove_runs(stack: Stack) -> None:
    """Delete the Jobs of all runs, and their pods."""
    stack.kubectl.run("delete", "job", "-l", f"{_LABEL}=true", "--cascade=foreground", timeout=120)


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

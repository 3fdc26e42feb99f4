"""What the journey tests share: the demonstration's own parts, on the stack `local`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from contracts import names
from contracts.registry import ANNOTATION_EPOCH, ANNOTATION_VERSION, LABEL_ADAPTER, PROTOCOL_VERSION
from contracts.routes import ROUTE_KEY, Route, route_name
from contracts.stages import Component, Stage
from local.demo.bank import Bank
from local.demo.chat import Chats
from local.demo.client import Client
from local.demo.commands import CommandFailed, Finished, Kubectl, Pulumi, load_environment
from local.demo.load import Load, new_run
from local.demo.probes import Probes
from validation.load.verifying import WHOLE
from validation.result import Report

COMPONENT = Component.EVENT_BUS
EMERGENCY_STEPS = ("survey", "break_off", "flee")
"""Of those of every component, what somebody waits for."""
RATE = 500.0
"""Events a second: enough that a gap of milliseconds would show, and that other tests have a machine too."""


@dataclass
class Stack:
    """The stack `local` as a user has it: the plain CLI, kubectl, and the live route."""

    root: Path
    lines: list[str] = field(default_factory=list)
    component: Component = COMPONENT

    def __post_init__(self) -> None:
        self.env = load_environment(self.root)
        self.pulumi = Pulumi(self.root, self.env, self.lines.append)
        self.kubectl = Kubectl(self.env, names.NAMESPACE)

    def of(self, component: Component) -> Stack:
        """The same stack, seen from another component."""
        return Stack(self.root, self.lines, component)

    def route(self) -> tuple[Route, str]:
        """The live route and its resourceVersion."""
        found = self.kubectl.get("configmap", route_name(self.component))
        assert found is not None, "there is no route"
        return Route.model_validate_json(found["data"][ROUTE_KEY]), found["metadata"]["resourceVersion"]

    def ask_for(self, stage: Stage) -> None:
        """Set the wanted stage in stack config."""
        self.pulumi.set_stage(self.component.value, stage.value)

    def bring_to(self, stage: Stage) -> None:
        """Set the stage, update, and see the route say so."""
        self.ask_for(stage)
        self.pulumi.up()
        assert self.route()[0].stage is stage

    def failing_up(self) -> str:
        """The output of a `pulumi up` that must fail."""
        try:
            finished = self.pulumi.up()
        except CommandFailed as error:
            return error.output
        raise AssertionError(f"pulumi up ended well, and should not have:\n{finished.output}")

    def interrupted_up(self, ready: Callable[[], bool], seconds: float = 180.0) -> str:
        """Start `pulumi up`, interrupt it as Ctrl-C does once `ready()`, and let it end. Its output."""
        command = [self.pulumi.program, "up", "--yes", "--skip-preview", "--stack", "local", "--non-interactive"]
        process = subprocess.Popen(
            [*command, "--color", "never"], cwd=self.root, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + seconds
            while not ready():
                assert process.poll() is None, f"pulumi up ended before it was interrupted: {process.communicate()[0]}"
                assert time.monotonic() < deadline, "the moment to interrupt never came"
                time.sleep(0.1)  # the Job and the route are polled, with a deadline
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        assert process.returncode != 0, f"an interrupted pulumi up said that it ended well:\n{output}"
        return output

    def crossover(self, *arguments: str, status: int = 0) -> str:
        """The output of the command, which must end with that exit status."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=self.root, env=self.env, text=True, capture_output=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == status, f"crossover {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def end_emergency(self) -> None:
        """Whatever became of a test, the next one's config asks for none."""
        self.pulumi.unset(f"crossover:{self.component.value}.emergency")

    @contextmanager
    def load(self, rate: float = RATE) -> Iterator[Load]:
        """Load on the bus, `rate` events/s, for as long as the block lasts; its pod is removed in any case."""
        load = Load(self.kubectl, new_run(), rate)
        try:
            load.start()
            yield load
        finally:
            load.remove()

    @contextmanager
    def bank(self, rate: float) -> Iterator[Bank]:
        """A bank that transfers, `rate` a second, for as long as the block lasts; its pod is removed in any case."""
        bank = Bank(self.kubectl, new_run(), rate)
        try:
            bank.start()
            yield bank
        finally:
            bank.remove()

    @contextmanager
    def chats(self, rate: float) -> Iterator[Chats]:
        """Conversations, `rate` calls a second, for as long as the block lasts; their pod is removed in any case."""
        chats = Chats(self.kubectl, new_run(), rate)
        try:
            chats.start()
            yield chats
        finally:
            chats.remove()

    @contextmanager
    def probes(self) -> Iterator[Probes]:
        """Each service is asked each 50 ms for as long as the block lasts; the pod is removed in any case."""
        probes = Probes(self.kubectl, new_run())
        try:
            probes.start()
            yield probes
        finally:
            probes.remove()

    @contextmanager
    def adapter_that_never_answers(self, name: str) -> Iterator[None]:
        """An adapter's record that stays live and never acknowledges an epoch: what the cutover sees of a
        process that is stuck, while something still renews its Lease."""
        renewed = datetime.now(UTC) + timedelta(hours=1)
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": f"adapter-{self.component.slug}-{name}",
                "labels": {LABEL_ADAPTER: self.component.slug},
                "annotations": {ANNOTATION_EPOCH: "0", ANNOTATION_VERSION: str(PROTOCOL_VERSION)},
            },
            "spec": {"holderIdentity": name, "renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
        }
        self.kubectl.apply(lease)
        try:
            yield
        finally:
            self.kubectl.run("delete", "lease", lease["metadata"]["name"], "--ignore-not-found")  # type: ignore[index]

    def running_jobs(self) -> list[str]:
        """Jobs with a pod that runs."""
        found: Any = self.kubectl.get("jobs") or {"items": []}
        return [job["metadata"]["name"] for job in found["items"] if job.get("status", {}).get("ready", 0)]


class Windows:
    """From when to when something was done, by its name, in ns since 1970 UTC."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[int, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """The one of a block."""
        began = time.time_ns()
        yield
        self.spans[name] = began, time.time_ns()


def clean(load: Load) -> Report:
    """End `load`; its report, which must hold: nothing lost, doubled, reordered, changed, and no error."""
    load.stop()
    report = load.judge({}, load.rate)[WHOLE]
    problems = [f"{check.name}: {check.found} {check.detail}" for check in report.failures()]
    assert not problems, "\n".join([*problems, load.said()])
    assert report.figures["acknowledged"] > 0
    return report


def clean_client(client: Client, windows: Mapping[str, tuple[int, int]] | None = None) -> dict[str, Report]:
    """End the load of `client`; its reports, which must hold: nothing lost, changed, broken or made up, no error."""
    client.stop()
    reports = client.judge(windows or {}, client.rate * 0.5)
    problems = [f"{name}: {check.name}: {check.found} {check.detail}"
                for name, report in reports.items() for check in report.failures()]  # fmt: skip
    assert not problems, "\n".join([*problems, client.said()])
    return reports


def seconds_of_emergency(said: str) -> float:
    """How long the steps of an emergency took, by what the run told of them."""
    found = dict(re.findall(rf"\b({'|'.join(EMERGENCY_STEPS)}) +holds +([\d.]+) s", said))
    assert set(found) == set(EMERGENCY_STEPS), said
    return sum(float(seconds) for seconds in found.values())


def figures_of(finished: Finished) -> str:
    """The last lines of an update, where it counts what it did."""
    return "\n".join(finished.output.splitlines()[-8:])

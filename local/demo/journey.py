"""The demonstration, step by step: each step is a command that a user could type."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts import names
from contracts.routes import ROUTE_KEY, Route, route_name
from contracts.stages import STAGE_TABLE, Component, Stage
from local.demo import figures, load, pod, trading
from local.demo.commands import CommandFailed, Kubectl, Pulumi, load_environment, stream
from local.demo.figures import Switch
from local.setup.progress import console, step
from validation.load import marks
from validation.result import Report

COMPONENT: Final = Component.EVENT_BUS
REPORT: Final = Path("reports") / "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the demonstration is to do. `around`: seconds of load before and after each switch; rates in
    events/s: offered, and what must have been offered for the proof to count."""

    around: float = 60.0
    rate: float = 1050.0
    min_rate: float = 1000.0
    end: Stage = Stage.SHADOW
    report: Path = REPORT


class Journey:
    """One run of the demonstration on the repository at `root`."""

    def __init__(self, root: Path, wishes: Wishes, line: Callable[[str], None]) -> None:
        self._root = root
        self._wishes = wishes
        self._line = line
        env = load_environment(root)
        self._pulumi = Pulumi(root, env, line)
        self._kubectl = Kubectl(env, names.NAMESPACE)
        self._load: load.Load | None = None
        self._switches: list[Switch] = []

    def run(self) -> dict[str, Any]:
        """All of it; what stands in reports/demo.json. Raises where it could not even begin to prove."""
        self._deploy()
        trading.await_trading(self._kubectl)
        self._load = load.Load(self._kubectl, load.new_run(), self._wishes.rate)
        self._load.start()
        problem = ""
        try:
            self._load.hold(self._wishes.around, f"{self._wishes.around:g} s of load before the first switch")
            self._move()
        except (CommandFailed, load.LoadFailed) as error:
            problem = str(error)
        return self._prove(problem)

    def _deploy(self) -> None:
        """The stack at the stage where it was left, or at mvp where there is none yet."""
        stage = self._stage()
        self._pulumi.set_stage(COMPONENT.value, (stage or Stage.MVP).value)
        self._pulumi.up()

    def _move(self) -> None:
        stage = self._stage()
        if stage is not None and stage is not Stage.MVP:
            self._switch(stage, Stage.MVP)
        self._switch(Stage.MVP, Stage.SCALE)
        self._switch(Stage.SCALE, Stage.SHADOW)
        if self._wishes.end is Stage.MVP:
            self._switch(Stage.SHADOW, Stage.MVP)

    def _switch(self, origin: Stage, goal: Stage) -> None:
        """One stage set, one `pulumi up`, and load on both sides of it. Raises CommandFailed."""
        console.rule(f"{COMPONENT.value}: {origin.value} → {goal.value}")
        self._pulumi.set_stage(COMPONENT.value, goal.value)
        self._pulumi.preview()
        started, failure = time.time_ns(), ""
        try:
            self._pulumi.up()
        except CommandFailed as error:
            failure = _verdict(error)
            raise
        finally:
            switch = Switch(
                component=COMPONENT.value, origin=origin.value, goal=goal.value,
                started=started, ended=time.time_ns(), failure=failure,
            )  # fmt: skip
            self._switches.append(switch)
        self._confirm(goal)
        if self._load is not None:
            serving = STAGE_TABLE[goal].serves.value
            self._load.hold(self._wishes.around, f"{self._wishes.around:g} s of load on the {serving} backend")

    def _confirm(self, goal: Stage) -> None:
        """The live route must say what `pulumi up` said. Raises LoadFailed where it does not."""
        found = self._stage()
        if found is not goal:
            said = found.value if found else "nothing"
            raise load.LoadFailed(f"`pulumi up` ended well, but the route says {said}, not {goal.value}")

    def _stage(self) -> Stage | None:
        """The stage of the live route; None where there is none."""
        found = self._kubectl.get("configmap", route_name(COMPONENT))
        text = (found or {}).get("data", {}).get(ROUTE_KEY, "")
        return Route.model_validate_json(text).stage if text else None

    def _prove(self, problem: str) -> dict[str, Any]:
        reports: dict[str, Report] = {}
        if self._load is not None:
            try:
                self._load.stop()
                windows = {switch.name: switch.window(self._wishes.around) for switch in self._switches}
                reports = self._load.judge(windows, self._wishes.min_rate)
            except (CommandFailed, load.LoadFailed) as error:
                problem = f"{problem}\n{error}".strip()
        facts = {
            "id": self._load.run if self._load else None,
            "rate": self._wishes.rate,
            "keys": marks.KEYS,
            "groups": len(pod.GROUPS),
            "seconds_around": self._wishes.around,
        }
        body = figures.document(self._switches, reports, facts, problem)
        figures.write(self._root / self._wishes.report, body)
        return body

    def tidy(self) -> None:
        """End the load, if it runs, so that its groups are not left behind, and remove its pod."""
        if self._load is None:
            return
        running, self._load = self._load, None
        try:
            running.stop()
            running.judge({}, 0.0)
        except (CommandFailed, load.LoadFailed) as error:
            self._line(f"the load did not end in order: {error}")
        running.remove()

    def close(self) -> None:
        """Remove the load's pod after a run that ended by itself."""
        if self._load is not None:
            self._load.remove()
            self._load = None


def set_up(root: Path, env: dict[str, str], line: Callable[[str], None]) -> None:
    """Tools, images, cluster and stack: what is there already is used. Raises CommandFailed."""
    with step("set-up"):
        stream([sys.executable, "-m", "local.setup"], cwd=root, env=env, line=line)


def _verdict(error: CommandFailed) -> str:
    """The lines of a failed `pulumi up` that say why; its last lines where none does."""
    lines = error.output.splitlines()
    for number, text in enumerate(lines):
        if "VERDICT" in text:
            return " ".join(part.strip() for part in lines[number : number + 2])
    return " ".join(text.strip() for text in lines[-5:])

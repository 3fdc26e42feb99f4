"""Moving one component as a user does: one stage set, one `pulumi up`."""

from __future__ import annotations

import time
from collections.abc import Callable

from contracts.routes import ROUTE_KEY, Route, route_name
from contracts.stages import STAGE_TABLE, Component, Stage
from local.demo.commands import CommandFailed, Kubectl, Pulumi
from local.demo.figures import Switch
from local.demo.load import LoadFailed
from local.setup.progress import console

Hold = Callable[[float, str], None]
"""Lets a load run for so many seconds, under a title. Raises LoadFailed."""


class Mover:
    """Moves `component`, with `around` seconds of load before and after each switch; `previewed`: each is shown by
    `pulumi preview` first."""

    def __init__(
        self, component: Component, pulumi: Pulumi, kubectl: Kubectl, around: float, *, previewed: bool = True
    ) -> None:
        self.component = component
        self._previewed = previewed
        self.switches: list[Switch] = []
        self._pulumi = pulumi
        self._kubectl = kubectl
        self._around = around

    def stage(self) -> Stage | None:
        """The stage of the live route; None where there is none."""
        found = self._kubectl.get("configmap", route_name(self.component))
        text = (found or {}).get("data", {}).get(ROUTE_KEY, "")
        return Route.model_validate_json(text).stage if text else None

    def ask(self, stage: Stage) -> None:
        """Set the stage in stack config."""
        self._pulumi.set_stage(self.component.value, stage.value)

    def move(self, hold: Hold, end: Stage) -> None:
        """Forward and back, from wherever it is; at last to `end`, if that is mvp. Raises CommandFailed."""
        hold(self._around, f"{self._around:g} s of load before the first switch")
        stage = self.stage()
        if stage is not None and stage is not Stage.MVP:
            self._switch(stage, Stage.MVP, hold)
        self._switch(Stage.MVP, Stage.SCALE, hold)
        self._switch(Stage.SCALE, Stage.SHADOW, hold)
        if end is Stage.MVP:
            self._switch(Stage.SHADOW, Stage.MVP, hold)

    @property
    def windows(self) -> dict[str, tuple[int, int]]:
        """By name of a switch, from when to when its load is judged."""
        return {switch.name: switch.window(self._around) for switch in self.switches}

    def _switch(self, origin: Stage, goal: Stage, hold: Hold) -> None:
        console.rule(f"{self.component.value}: {origin.value} → {goal.value}")
        self.ask(goal)
        if self._previewed:
            self._pulumi.preview()
        started, failure = time.time_ns(), ""
        try:
            self._pulumi.up()
        except CommandFailed as error:
            failure = _verdict(error)
            raise
        finally:
            switch = Switch(
                component=self.component.value, origin=origin.value, goal=goal.value,
                started=started, ended=time.time_ns(), failure=failure,
            )  # fmt: skip
            self.switches.append(switch)
        self._confirm(goal)
        serving = STAGE_TABLE[goal].serves.value
        hold(self._around, f"{self._around:g} s of load on the {serving} backend")

    def _confirm(self, goal: Stage) -> None:
        """The live route must say what `pulumi up` said. Raises LoadFailed where it does not."""
        found = self.stage()
        if found is not goal:
            said = found.value if found else "nothing"
            raise LoadFailed(f"`pulumi up` ended well, but the route says {said}, not {goal.value}")


def _verdict(error: CommandFailed) -> str:
    """The lines of a failed `pulumi up` that say why; its last lines where none does."""
    lines = error.output.splitlines()
    for number, text in enumerate(lines):
        if "VERDICT" in text:
            return " ".join(part.strip() for part in lines[number : number + 2])
    return " ".join(text.strip() for text in lines[-5:])

"""The plan of a component's journey: pure functions over its table (cutover/tables.py).

A transition is a row: the steps that lead from a stage to its neighbour. A wanted stage further
away is reached through all the rows between. Anything that is not in the table raises.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from contracts.routes import Route
from contracts.stages import STAGE_TABLE, Component, Side, Stage
from cutover.tables import TABLES, TRANSITIONS, Step, Table

WATCH_FAILED = "watch_failed"
"""In progress: a switch was opened, its post-checks failed, and it could not be switched back."""
_LINE = (Stage.MVP, Stage.SHADOW, Stage.SCALE, Stage.COMPLETE)


class ImpossiblePlan(Exception):
    """A journey that the table does not know."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table, as part of a plan."""

    origin: Stage | None
    goal: Stage
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """`shadow -> scale`, for people and for verdicts."""
        return f"{self.origin.value if self.origin else 'nothing'} -> {self.goal.value}"

    @property
    def switches(self) -> bool:
        """Whether it changes the backend that serves."""
        return Step.OPEN in self.steps or self.flees

    @property
    def goes_back(self) -> bool:
        """Whether the old backend comes to serve again."""
        if self.origin is None:
            return False
        return STAGE_TABLE[self.origin].serves is Side.NEW and STAGE_TABLE[self.goal].serves is Side.OLD

    @property
    def flees(self) -> bool:
        """Whether the backend that serves is not asked anything."""
        return Step.FLEE in self.steps


StepMethod = Callable[[Transition], str]
"""Does one step; returns a line that says what was found. Raises what cutover/errors.py draws."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to happen: first `undo` of a switch that was cut off, or what is left of one that was opened and not
    confirmed (`watched`), then the transitions in order."""

    undo: bool
    watched: Transition | None
    transitions: tuple[Transition, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing has to be done."""
        return not (self.undo or self.watched or self.transitions)


def path(origin: Stage | None, goal: Stage, component: Component = Component.EVENT_BUS) -> tuple[Transition, ...]:
    """The transitions from `origin` to `goal`, neighbour by neighbour; from nothing, by way of mvp where the table
    has no row that is shorter. Raises ImpossiblePlan."""
    table = _table(component)
    if origin == goal:
        return ()
    if origin is None:
        if (None, goal) in table.rows:
            return (_row(table, None, goal),)
        return (_row(table, None, Stage.MVP), *path(Stage.MVP, goal, component))
    here, there = _LINE.index(origin), _LINE.index(goal)
    step = 1 if there > here else -1
    stops = [_LINE[i] for i in range(here, there + step, step)]
    return tuple(_row(table, a, b) for a, b in itertools.pairwise(stops))


def in_step(route: Route) -> bool:
    """Whether there is another side to compare with: the mirror says so, where there is something to copy."""
    if route.component in (Component.LLM_SERVICE, Component.BACKTESTING):
        return STAGE_TABLE[route.stage].follows is not None
    return route.mirror is not None


def transitions(
    route: Route | None, wanted: Stage, *, emergency: bool = False, component: Component = Component.EVENT_BUS
) -> tuple[Transition, ...]:
    """The rows that lead from `route` to `wanted`, neighbour by neighbour; where something is stranded, nothing goes
    before its delivery, but for an `emergency`, which only has to be away. Raises ImpossiblePlan."""
    if route is None:
        return path(None, wanted, component)
    table = _table(route.component)
    if emergency and not table.emergencies:
        raise ImpossiblePlan(
            f"{route.component.value} has no emergency: going back asks the backend that is left nothing in any case"
        )
    if emergency and wanted not in (Stage.MVP, Stage.SHADOW):
        raise ImpossiblePlan(f"an emergency flees to the old backend, which does not serve at {wanted.value}")
    if emergency and route.stage is Stage.COMPLETE:
        raise ImpossiblePlan(
            f"at {route.stage.value} there is no other backend to flee to: {route.active} alone is left"
        )
    found: list[Transition] = []
    stranded = route.stranded is not None
    for row in path(route.stage, wanted, route.component):
        flight = table.emergencies.get((row.origin, row.goal)) if emergency else None
        if stranded and flight is None:
            found.append(_settlement(table, row.origin))
            stranded = False
        found.append(row if flight is None else Transition(row.origin, row.goal, flight))
        stranded = stranded or flight is not None
    if stranded and not emergency:
        found.append(_settlement(table, route.stage))
    return tuple(found)


def _settlement(table: Table, stage: Stage | None) -> Transition:
    if stage is None or (stage, stage) not in table.settlements:
        raise ImpossiblePlan(f"something is stranded at {stage}, where nothing can be")
    return Transition(stage, stage, table.settlements[stage, stage])


def _table(component: Component) -> Table:
    try:
        return TABLES[component]
    except KeyError:
        raise ImpossiblePlan(f"{component.value} cannot be moved by this version") from None


def _row(table: Table, origin: Stage | None, goal: Stage) -> Transition:
    try:
        return Transition(origin, goal, table.rows[origin, goal])
    except KeyError:
        raise ImpossiblePlan(f"there is no transition from {origin} to {goal}") from None


def plan(
    route: Route | None, wanted: Stage, *, emergency: bool = False, component: Component = Component.EVENT_BUS
) -> Plan:
    """What leads from the recorded `route` (None: nothing was ever written) to `wanted`.

    OPEN is the one write that changes who serves, so a route with a fence was cut off before it
    and is undone; a route whose progress says WATCH was cut off after it and is watched to the end. So is one that
    says WATCH_FAILED, but where another stage is wanted: that has checks of its own. Not so where traffic has to flee:
    that fences anew whatever was cut off.
    """
    if route is None:
        return Plan(False, None, path(None, wanted, component))
    todo = transitions(route, wanted, emergency=emergency)
    if any(transition.flees for transition in todo):
        return Plan(False, None, todo)
    return Plan(route.fence is not None, _watched(route, wanted), todo)


def _watched(route: Route, wanted: Stage) -> Transition | None:
    """What comes after the opening, of a switch that was cut off behind it or could not be switched back; None where
    none was."""
    progress = route.progress
    if progress is None or not (
        progress.step == Step.WATCH or (progress.step == WATCH_FAILED and wanted is route.stage)
    ):
        return None
    row = TABLES[route.component].rows.get((progress.from_stage, route.stage), ())
    after = row[row.index(Step.OPEN) + 1 :] if Step.OPEN in row else (Step.WATCH,)
    return Transition(progress.from_stage, route.stage, after)


__all__ = [
    "TRANSITIONS", "WATCH_FAILED", "ImpossiblePlan", "Plan", "Step", "StepMethod", "Transition", "in_step", "path",
    "plan", "transitions",
]  # fmt: skip

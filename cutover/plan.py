"""The plan of a component's journey: one table of transitions, and pure functions over it.

A transition is a row: the steps that lead from a stage to its neighbour. A wanted stage further
away is reached through all the rows between. Anything that is not in the table raises.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

from contracts.routes import Route
from contracts.stages import Component, Stage


class Step(StrEnum):
    """What a transition is made of, each named by what it achieves."""

    PREFLIGHT = "preflight"
    PREPARE = "prepare"
    ESTABLISH = "establish"
    START_MIRROR = "start_mirror"
    BACKFILL = "backfill"
    COMPARE = "compare"
    PROVE_WAY_BACK = "prove_way_back"
    FENCE = "fence"
    SEAL = "seal"
    DRAIN = "drain"
    CHECK = "check"
    OPEN = "open"
    WATCH = "watch"
    FINISH_GROUPS = "finish_groups"
    RETIRE = "retire"
    SURVEY = "survey"
    BREAK_OFF = "break_off"
    FLEE = "flee"
    COUNT = "count"
    SWEEP = "sweep"
    RECORD = "record"
    ADD_TOPICS = "add_topics"


MEANINGS: dict[Step, str] = {
    Step.PREFLIGHT: "backends answer; rights, limits and room fit; nothing is gone unread; adapters are alive",
    Step.PREPARE: "topics, functions and rights exist on the new backend",
    Step.ESTABLISH: "the first route is written",
    Step.START_MIRROR: "the mirror is told to copy",
    Step.BACKFILL: "the retained history has been copied",
    Step.COMPARE: "both logs hold the same events in the same order",
    Step.PROVE_WAY_BACK: "the mirror of the way back can write",
    Step.FENCE: "every live adapter holds its events and has acknowledged the next epoch",
    Step.SEAL: "the backend that serves refuses writers and stands still",
    Step.DRAIN: "the other backend has all that was acknowledged",
    Step.CHECK: "the last comparison, inside the pause",
    Step.OPEN: "the route names the other backend, in one write",
    Step.WATCH: "post-checks under traffic; a failure switches back",
    Step.FINISH_GROUPS: "every consumer group has finished what only the leaving backend serves",
    Step.RETIRE: "the leaving backend is taken out of the route",
    Step.RECORD: "the stage is recorded",
    Step.ADD_TOPICS: "topics that are new in config exist, are in the route, and are mirrored",
    Step.SURVEY: "the backend that serves is not seen to be well",
    Step.BREAK_OFF: "no copy comes any more; adapters hold and have acknowledged the next epoch, as far as they answer",
    Step.FLEE: "the route names the other backend, in one write; the dead one was asked nothing",
    Step.COUNT: "what only the dead backend holds is told",
    Step.SWEEP: "what only the other backend held has been delivered, once",
}

_SWITCH = (
    Step.PREFLIGHT,
    Step.PROVE_WAY_BACK,
    Step.COMPARE,  # right before the pause, which then has only a little left to compare
    Step.FENCE,
    Step.SEAL,
    Step.DRAIN,
    Step.CHECK,
    Step.OPEN,
    Step.WATCH,
)
_JOIN = (Step.PREFLIGHT, Step.PREPARE, Step.START_MIRROR, Step.BACKFILL, Step.COMPARE, Step.RECORD)
_LEAVE = (Step.PREFLIGHT, Step.FINISH_GROUPS, Step.RETIRE)

TRANSITIONS: dict[tuple[Stage | None, Stage], tuple[Step, ...]] = {
    (None, Stage.MVP): (Step.PREFLIGHT, Step.ESTABLISH),
    (None, Stage.SHADOW): (Step.PREFLIGHT, Step.ESTABLISH),
    (None, Stage.SCALE): (Step.PREFLIGHT, Step.ESTABLISH),
    (None, Stage.COMPLETE): (Step.PREFLIGHT, Step.ESTABLISH),
    (Stage.MVP, Stage.SHADOW): _JOIN,
    (Stage.SHADOW, Stage.SCALE): _SWITCH,
    (Stage.SCALE, Stage.SHADOW): _SWITCH,
    (Stage.SCALE, Stage.COMPLETE): _LEAVE,
    (Stage.SHADOW, Stage.MVP): _LEAVE,
    (Stage.COMPLETE, Stage.SCALE): _JOIN,
}

ADDITION = (Step.ADD_TOPICS,)
"""What a run does before its transitions, at any stage, where config names topics that the route does not have."""

EMERGENCIES: dict[tuple[Stage | None, Stage], tuple[Step, ...]] = {
    (Stage.SCALE, Stage.SHADOW): (Step.SURVEY, Step.BREAK_OFF, Step.FLEE, Step.COUNT),
}
"""In place of a row above where the backend that serves is dead, by the operator's word: nothing waits for it."""

SETTLEMENTS: dict[tuple[Stage | None, Stage], tuple[Step, ...]] = {
    (Stage.SHADOW, Stage.SHADOW): (
        Step.SWEEP,  # first, for whatever else is wrong, what was acknowledged must come
        Step.PREFLIGHT,
        Step.PREPARE,
        Step.START_MIRROR,
        Step.BACKFILL,
        Step.COMPARE,
        Step.RECORD,
    ),
}
"""What must come before anything else once traffic fled: the dead backend, back again, gives what only it held, and
is brought into step."""

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
    def switches(self) -> bool:
        """Whether it changes the backend that serves."""
        return Step.OPEN in self.steps or self.flees

    @property
    def flees(self) -> bool:
        """Whether the backend that serves is not asked anything."""
        return Step.FLEE in self.steps


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to happen: first `undo` of a switch that was cut off, or `resume_watch` of one that
    was opened and not confirmed, then the transitions in order."""

    undo: bool
    resume_watch: bool
    transitions: tuple[Transition, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing has to be done."""
        return not (self.undo or self.resume_watch or self.transitions)


def path(origin: Stage | None, goal: Stage) -> tuple[Transition, ...]:
    """The transitions from `origin` to `goal`, neighbour by neighbour. Raises ImpossiblePlan."""
    if origin == goal:
        return ()
    if origin is None:
        return (_row(None, goal),)
    here, there = _LINE.index(origin), _LINE.index(goal)
    step = 1 if there > here else -1
    stops = [_LINE[i] for i in range(here, there + step, step)]
    return tuple(_row(a, b) for a, b in itertools.pairwise(stops))


def transitions(route: Route | None, wanted: Stage, *, emergency: bool = False) -> tuple[Transition, ...]:
    """The rows that lead from `route` to `wanted`, neighbour by neighbour; where something is stranded, nothing goes
    before its delivery, but for an `emergency`, which only has to be away. Raises ImpossiblePlan."""
    if route is None:
        return path(None, wanted)
    if emergency and wanted not in (Stage.MVP, Stage.SHADOW):
        raise ImpossiblePlan(f"an emergency flees to the old backend, which does not serve at {wanted.value}")
    if emergency and route.stage is Stage.COMPLETE:
        raise ImpossiblePlan(
            f"at {route.stage.value} there is no other backend to flee to: {route.active} alone is left"
        )
    found: list[Transition] = []
    stranded = route.stranded is not None
    for row in path(route.stage, wanted):
        flight = EMERGENCIES.get((row.origin, row.goal)) if emergency else None
        if stranded and flight is None:
            found.append(_settlement(row.origin))
            stranded = False
        found.append(row if flight is None else Transition(row.origin, row.goal, flight))
        stranded = stranded or flight is not None
    if stranded and not emergency:
        found.append(_settlement(route.stage))
    return tuple(found)


def _settlement(stage: Stage | None) -> Transition:
    if stage is None or (stage, stage) not in SETTLEMENTS:
        raise ImpossiblePlan(f"something is stranded at {stage}, where nothing can be")
    return Transition(stage, stage, SETTLEMENTS[stage, stage])


def _row(origin: Stage | None, goal: Stage) -> Transition:
    try:
        return Transition(origin, goal, TRANSITIONS[origin, goal])
    except KeyError:
        raise ImpossiblePlan(f"there is no transition from {origin} to {goal}") from None


def plan(route: Route | None, wanted: Stage, *, emergency: bool = False) -> Plan:
    """What leads from the recorded `route` (None: nothing was ever written) to `wanted`.

    OPEN is the one write that changes who serves, so a route with a fence was cut off before it
    and is undone; a route whose progress says WATCH was cut off after it and is watched to the end. Not so where
    traffic has to flee: that fences anew whatever was cut off.
    """
    if route is None:
        return Plan(False, False, path(None, wanted))
    todo = transitions(route, wanted, emergency=emergency)
    if any(transition.flees for transition in todo):
        return Plan(False, False, todo)
    watching = route.progress is not None and route.progress.step == Step.WATCH
    return Plan(route.fence is not None, watching, todo)


def described(todo: Plan, component: Component, wanted: Stage) -> list[str]:
    """The plan for people: a line a transition and a line a step."""
    if todo.empty:
        return [f"{component.value} is at {wanted.value}: nothing to do"]
    lines = ["undo a switch that was cut off before it opened"] if todo.undo else []
    if todo.resume_watch:
        lines.append("watch a switch to its end that was cut off while it was watched")
    for transition in todo.transitions:
        lines.append(f"{transition.origin.value if transition.origin else 'nothing'} -> {transition.goal.value}")
        lines += [f"  {step.value:<16} {MEANINGS[step]}" for step in transition.steps]
    return lines

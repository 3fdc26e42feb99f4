"""The steps that a run will take, from the live route and what config asks for, for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import names
from contracts.backtest_moving import BacktestMoving
from contracts.backtest_moving import InvalidMoving as InvalidBacktestMoving
from contracts.llm_moving import InvalidMoving, LlmMoving
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover.backtesting.due import due as backtests_due
from cutover.database.due import due
from cutover.errors import StepFailed
from cutover.fitting import added_topics
from cutover.llm_service.due import due as llm_due
from cutover.plan import Plan, Transition, plan
from cutover.tables import ADDITION, Step, meaning


@dataclass(frozen=True, slots=True)
class Wishes:
    """What config asks for beside a stage. `topics`: of the event bus, dead-letter topics included; `tied`: of the
    database, whether commits at the new side wait for the old one; `moving`: of the language models; `backtests`: of
    backtests."""

    topics: Collection[str] = ()
    tied: bool = False
    moving: LlmMoving = field(default_factory=LlmMoving)
    backtests: BacktestMoving = field(default_factory=BacktestMoving)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Wishes:
        """From a component's entry in stack config. Raises StepFailed where it cannot be used."""
        topics = entry.get("topics")
        named = tuple(map(str, topics)) if isinstance(topics, list) else names.TOPICS
        tied = entry.get("rollback_loss") == "none"
        return cls(names.all_topics(named), tied, _moving(entry), _backtests(entry))


def _moving(entry: Mapping[str, Any]) -> LlmMoving:
    told = {key: entry[key] for key in ("canary_percent", "sample_percent") if key in entry}
    try:
        return LlmMoving.parse(json.dumps(told))
    except InvalidMoving as error:
        raise StepFailed(f"crossover:llm_service cannot be used: {error}", "pulumi preview names the fix") from error


def _backtests(entry: Mapping[str, Any]) -> BacktestMoving:
    told = {key: entry[key] for key in ("sample_percent",) if key in entry}
    try:
        return BacktestMoving.parse(json.dumps(told))
    except InvalidBacktestMoving as error:
        raise StepFailed(f"crossover:backtesting cannot be used: {error}", "pulumi preview names the fix") from error


def preview(
    route: Route | None, component: Component, wanted: Stage, wishes: Wishes, *, emergency: bool = False
) -> list[str]:
    """A line a transition and a line a step. Raises ImpossiblePlan, and StepFailed where config does not fit."""
    todo = plan(route, wanted, emergency=emergency, component=component)
    first = _first(route, wanted, wishes, todo, emergency)
    if todo.empty and not first:
        return [f"{component.value} is at {wanted.value}: nothing to do"]
    lines = ["undo a switch that was cut off before it opened"] if todo.undo else []
    for transition in first:
        lines += _told(component, transition)
    if todo.watched:
        lines.append("watch a switch to its end that was cut off while it was watched")
        lines += _told(component, todo.watched)
    for transition in todo.transitions:
        lines += _told(component, transition)
    return lines


def steps_in(lines: Collection[str]) -> list[Step]:
    """The steps that are listed, in their order."""
    return [Step(line.split()[0]) for line in lines if line.startswith("  ")]


def _told(component: Component, transition: Transition) -> list[str]:
    return [transition.name, *(f"  {step.value:<16} {meaning(component, step)}" for step in transition.steps)]


def _first(route: Route | None, wanted: Stage, wishes: Wishes, todo: Plan, emergency: bool) -> tuple[Transition, ...]:
    """What a run does before its journey, for config alone: see Runner."""
    if route is None or any(transition.flees for transition in todo.transitions):
        return ()
    steps: tuple[Step, ...]
    if route.component is Component.EVENT_BUS:
        steps = ADDITION if added_topics(route, wishes.topics) else ()
    elif route.component is Component.LLM_SERVICE:
        steps = llm_due(route, wanted, wishes.moving)
    elif route.component is Component.BACKTESTING:
        steps = backtests_due(route, wanted, wishes.backtests)
    else:
        settles = route.stranded is not None and not emergency
        steps = () if settles else due(route, wanted, tied=wishes.tied)
    return (Transition(route.stage, route.stage, steps),) if steps else ()

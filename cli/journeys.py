"""Moving every component: forward one after the other, each behind its gate; back all at once. Decisions are pure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from adapters.routes.base import RouteStore
from cli.stack import Stack, Wish
from contracts.routes import Route
from contracts.stages import STAGE_TABLE, Component, Side, Stage
from cutover.tables import TABLES

ORDER = tuple(component for component in Component if component in TABLES)
"""The event bus first, that all others can be heard on what stays; the engine of backtests, which nobody waits for,
last."""

Outcome = Literal["there", "moved", "failed", "left"]
"""There before, moved now, tried and not there, or not tried."""


class Leg(BaseModel):
    """What became of one component. `origin`: its live stage before, None where it had no route; `wanted`: what config
    asked for then."""

    model_config = ConfigDict(frozen=True)

    component: Component
    origin: Stage | None
    wanted: Stage
    goal: Stage
    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A component as config and its live route have it."""

    component: Component
    wanted: Stage
    route: Route | None

    @property
    def stage(self) -> Stage | None:
        """The live one."""
        return self.route.stage if self.route is not None else None

    def rests_at(self, stage: Stage) -> bool:
        """Whether it is there, config asks for that, and nothing is under way or left behind."""
        route = self.route
        if route is None or route.stage is not stage or self.wanted is not stage:
            return False
        return route.fence is None and route.progress is None and not route.stranded


def look(wanted: Mapping[Component, Stage], store: RouteStore) -> list[Seen]:
    """Each component, in ORDER. Raises RouteError where the cluster does not answer; no route at all is none."""
    return [Seen(component, wanted[component], store.read(component).route) for component in ORDER]


def beyond(seen: Sequence[Seen], goal: Stage) -> list[Seen]:
    """Those that have come further than `goal` already: moving them there would be a way back."""
    line = list(Stage)
    return [one for one in seen if one.stage is not None and line.index(one.stage) > line.index(goal)]


def to_move(seen: Sequence[Seen], goal: Stage) -> list[Seen]:
    """Those that have to be moved on to `goal`, in order."""
    ahead = {one.component for one in beyond(seen, goal)}
    return [one for one in seen if one.component not in ahead and not one.rests_at(goal)]


def ways_back(seen: Sequence[Seen], *, retire: bool, emergency: bool) -> dict[Component, Wish]:
    """What config shall ask for so that every component is on its MVP backend again. An emergency only where the new
    side serves and the component knows one: whoever is back already has nothing to flee from."""
    made: dict[Component, Wish] = {}
    for one in seen:
        goal = Stage.MVP if retire or one.stage in (None, Stage.MVP) else Stage.SHADOW
        serves_new = one.stage is not None and STAGE_TABLE[one.stage].serves is Side.NEW
        if one.rests_at(goal):
            continue
        flees = emergency and serves_new and bool(TABLES[one.component].emergencies)
        made[one.component] = Wish(goal, emergency=flees)
    return made


def migrate(
    stack: Stack,
    seen: Sequence[Seen],
    goal: Stage,
    *,
    allowed: Callable[[Component], str | None],
    say: Callable[[str], None],
    again: Callable[[], Sequence[Seen]],
) -> list[Leg]:
    """Move what is left of `seen`, one update a component. It stops at the first that does not get there, or that is
    not `allowed` (why not): those behind it stay untouched."""
    left = {one.component for one in to_move(seen, goal)}
    legs: list[Leg] = []
    stopped = ""
    for one in seen:
        if one.component not in left:
            legs.append(_leg(one, goal, "there"))
            continue
        stopped = stopped or allowed(one.component) or ""
        if stopped:
            legs.append(_leg(one, goal, "left", detail=stopped))
            continue
        say(f"{one.component.value}: {one.stage.value if one.stage else 'nothing'} => {goal.value}")
        began = time.monotonic()
        stack.ask_for({one.component: Wish(goal)})
        code = stack.up()
        now = next(each for each in again() if each.component is one.component)
        done = code == 0 and now.stage is goal
        detail = "" if done else _why(now)
        legs.append(_leg(one, goal, "moved" if done else "failed", time.monotonic() - began, detail))
        if not done:
            stopped = f"{one.component.value} did not get there"
    return legs


def roll_back(
    stack: Stack, seen: Sequence[Seen], wishes: Mapping[Component, Wish], again: Callable[[], Sequence[Seen]]
) -> list[Leg]:
    """Have config ask for all of `wishes`, in one update: what does not depend on one another goes back at once, and
    one that fails keeps no other from it. Where an emergency was refused, for the new side serves after all, a second
    update takes the ordinary way."""
    began = time.monotonic()
    after = {one.component: one for one in seen}

    def update(asked: Mapping[Component, Wish]) -> None:
        if asked:
            stack.ask_for(asked)
            stack.up(go_on=True)
            after.update((one.component, one) for one in again())

    update(wishes)
    update({c: Wish(wish.stage) for c, wish in wishes.items() if wish.emergency and after[c].stage is not wish.stage})
    seconds = time.monotonic() - began
    legs: list[Leg] = []
    for one in seen:
        wish = wishes.get(one.component)
        if wish is None:
            legs.append(_leg(one, one.wanted, "there"))
            continue
        now = after[one.component]
        done = now.stage is wish.stage and now.route is not None and now.route.fence is None
        detail = "" if done else _why(now)
        legs.append(_leg(one, wish.stage, "moved" if done else "failed", seconds, detail))
    return legs


def _leg(one: Seen, goal: Stage, outcome: Outcome, seconds: float = 0.0, detail: str = "") -> Leg:
    return Leg(
        component=one.component, origin=one.stage, wanted=one.wanted, goal=goal, outcome=outcome,
        seconds=round(seconds, 1), detail=detail,
    )  # fmt: skip


def _why(now: Seen) -> str:
    """What the route tells of a component that did not get where it was to go."""
    if now.route is None:
        return "it has no route"
    last = now.route.history[-1] if now.route.history else None
    told = f": {last.detail.partition(chr(10))[0]}" if last is not None and last.outcome != "holds" else ""
    return f"{now.route.active} serves at {now.route.stage.value}{told}"


def told(legs: Sequence[Leg], stack: str) -> str:
    """What became of all, for machines."""
    return json.dumps({"stack": stack, "legs": [leg.model_dump(mode="json") for leg in legs]})

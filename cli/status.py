"""What `crossover status` shows: for each component what is wanted, what is, and what was last said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from adapters.routes.base import AdapterRegistry, RouteError, RouteMissing, RouteStore
from contracts.registry import AdapterRecord
from contracts.routes import Route, Stranded
from contracts.stages import Component, Stage, other_backend, serving_backend
from cutover.database.reached import told
from cutover.tables import TABLES

MOVABLE = tuple(TABLES)
"""The components that this version can move; the others stay at mvp and have no route."""

State = Literal["in step", "out of step", "switching", "not deployed", "unknown"]


class ComponentStatus(BaseModel):
    """One row. `lag` is in events, by topic and consumer group; `since` is RFC 3339 UTC."""

    model_config = ConfigDict(frozen=True)

    component: Component
    wanted: Stage
    active: Stage | None
    serves: str
    epoch: int | None
    state: State
    adapters: int
    lag: dict[str, int]
    last_verdict: str
    since: str
    note: str = ""


def gather(wanted: Mapping[Component, Stage], store: RouteStore, registry: AdapterRegistry) -> list[ComponentStatus]:
    """The status of every component, from the live routes and adapters. Never raises RouteError."""
    return [_of(component, wanted[component], store, registry) for component in Component]


def _of(component: Component, wanted: Stage, store: RouteStore, registry: AdapterRegistry) -> ComponentStatus:
    if component not in MOVABLE:
        return judge(component, wanted, None, (), fixed=True)
    try:
        route = store.read(component).route
        return judge(component, wanted, route, [r for r in registry.records(component) if r.live])
    except RouteMissing:
        return judge(component, wanted, None, ())
    except RouteError as error:
        return judge(component, wanted, None, (), problem=str(error))


def judge(
    component: Component,
    wanted: Stage,
    route: Route | None,
    adapters: Sequence[AdapterRecord],
    *,
    fixed: bool = False,
    problem: str = "",
) -> ComponentStatus:
    """One row from what was read. `fixed`: this component cannot move yet and is always at mvp."""
    lag: dict[str, int] = {}
    for record in adapters:
        for name, count in record.lag.items():
            lag[name] = max(count, lag.get(name, 0))
    last = route.history[-1] if route and route.history else None
    active = route.stage if route else Stage.MVP if fixed else None
    return ComponentStatus(
        component=component,
        wanted=wanted,
        active=active,
        serves=route.active if route else serving_backend(component, Stage.MVP) if fixed else "-",
        epoch=route.epoch if route else None,
        state=_state(wanted, route, active, problem),
        adapters=len(adapters),
        lag=lag,
        last_verdict=f"{last.outcome} ({last.to_stage.value})" if last else "-",
        since=last.at if last else "",
        note=problem or _note(wanted, route, last.detail if last and last.outcome != "holds" else ""),
    )


def _state(wanted: Stage, route: Route | None, active: Stage | None, problem: str) -> State:
    if problem:
        return "unknown"
    if route is not None and (route.fence is not None or route.progress is not None):
        return "switching"
    if route is not None and route.stranded:
        return "out of step"
    if active is None:
        return "not deployed"
    return "in step" if active is wanted else "out of step"


def _note(wanted: Stage, route: Route | None, detail: str) -> str:
    if route is not None and route.fence is not None:
        return f"a fence stands since {route.fence.since}, held by {route.fence.holder}"
    if route is not None and route.stranded:
        return _left_behind(route.stranded) if route.component is Component.DATABASE else _stranded(route.stranded)
    if route is not None and route.stage is not wanted:
        return detail or f"config asks for {wanted.value}: run pulumi up"
    if route is not None and route.component is Component.DATABASE and route.stage is Stage.SCALE:
        return _rollback_loss(route)
    if route is not None and route.component is Component.LLM_SERVICE:
        return _traffic(route)
    return ""


def _traffic(route: Route) -> str:
    """How calls are shared out, where not all go to the side that serves alone."""
    other = other_backend(route.component, route.active)
    told = []
    if route.share is not None:
        told.append(f"canary: {route.active} answers {route.share} % of the conversations, {other} the rest")
    if route.sample:
        told.append(f"{route.sample:g} % of the calls are sent to the side that does not answer, too")
    return "; ".join(told)


def _rollback_loss(route: Route) -> str:
    """What would be lost with the side that serves. How much it is now, only the servers know."""
    if route.tied_since is not None:
        return f"rollback loss: none; commits wait for the other side since {route.tied_since}"
    return "rollback loss: bounded; how much it would be now: crossover validate database"


def _left_behind(stranded: Mapping[str, Stranded]) -> str:
    """What only the database has from which traffic fled, and what to do."""
    tail = next(iter(stranded.values()))
    if tail.swept:
        return f"{told(tail)}: kept in crossover.stranded. {tail.backend} is not in step yet: run pulumi up"
    return (
        f"traffic fled from {tail.backend}: {told(tail)}. Once it is back: "
        "pulumi config rm --path crossover:database.emergency && pulumi up"
    )


def _stranded(stranded: Mapping[str, Stranded]) -> str:
    """What only the backend holds from which traffic fled, by topic, and what to do."""
    held = [
        f"{topic} {'at least ' if tail.at_least else ''}{tail.count}"
        + (f" (first {tail.first}, last {tail.last})" if tail.count else "")
        for topic, tail in stranded.items()
        if not tail.swept
    ]
    backend = next(iter(stranded.values())).backend
    if not held:
        return f"what was stranded in {backend} has been delivered; {backend} is not in step yet: run pulumi up"
    return (
        f"traffic fled from {backend}. Acknowledged events that are known to be there only: {', '.join(held)}. Once "
        f"{backend} is back: pulumi config rm --path crossover:event_bus.emergency && pulumi up"
    )


def table(rows: Sequence[ComponentStatus], stack: str) -> Table:
    """The rows for people."""
    # Narrow enough for a terminal of 80 columns: only the last column may wrap.
    made = Table(title=f"stack {stack}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in ("component", "wanted", "active", "serves", "epoch", "state", "adapters", "lag", "last verdict"):
        right = column in {"epoch", "adapters", "lag"}
        made.add_column(column, justify="right" if right else "left", no_wrap=column != "last verdict")
    for row in rows:
        colour = {"in step": "green", "switching": "yellow", "not deployed": "dim"}.get(row.state, "red")
        made.add_row(
            row.component.value,
            row.wanted.value,
            row.active.value if row.active else "-",
            row.serves,
            str(row.epoch) if row.epoch is not None else "-",
            f"[{colour}]{row.state}[/]",
            str(row.adapters) if row.epoch is not None else "-",
            str(sum(row.lag.values())) if row.lag else "-",
            row.last_verdict,
        )
    return made

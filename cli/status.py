"""What `crossover status` shows: for each component what is wanted, what is, and what was last said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from adapters.routes.base import AdapterRegistry, Bulletins, RouteError, RouteMissing, RouteStore
from contracts import names
from contracts.registry import AdapterRecord
from contracts.routes import Route, Stranded
from contracts.stages import Component, Stage, other_backend, serving_backend
from cutover.carrier.telling import Carried, read
from cutover.database.preflight.situation import size
from cutover.database.reached import told
from cutover.plan import WATCH_FAILED, in_step
from cutover.tables import TABLES
from validation.verdicts import KeptVerdict

MOVABLE = tuple(TABLES)
"""The components that this version can move; the others stay at mvp and have no route."""

State = Literal["in step", "out of step", "switching", "not deployed", "unknown"]


class ComponentStatus(BaseModel):
    """One row. `lag` is in events, by topic and consumer group; `since` is RFC 3339 UTC. `carried`: by source, how far
    the database's carrier is; `compared`: the last comparison of both sides, `comparison` the same for people."""

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
    carried: dict[str, Carried] = Field(default_factory=dict)
    compared: KeptVerdict | None = None
    comparison: str = ""


def gather(
    wanted: Mapping[Component, Stage],
    store: RouteStore,
    registry: AdapterRegistry,
    bulletins: Bulletins | None = None,
    limits: Mapping[Component, float] | None = None,
) -> list[ComponentStatus]:
    """The status of every component, from the live routes, adapters and carrier. `limits`: hours, by component, beyond
    which a comparison is stale. Never raises RouteError."""
    return [
        _of(component, wanted[component], store, registry, bulletins, (limits or {}).get(component))
        for component in Component
    ]


def _of(
    component: Component,
    wanted: Stage,
    store: RouteStore,
    registry: AdapterRegistry,
    bulletins: Bulletins | None,
    limit: float | None,
) -> ComponentStatus:
    if component not in MOVABLE:
        return judge(component, wanted, None, (), fixed=True)
    try:
        route = store.read(component).route
        adapters = [r for r in registry.records(component) if r.live]
        carried = read(bulletins.posted(component)) if bulletins is not None else {}
        return judge(component, wanted, route, adapters, carried=carried, limit=hours(limit))
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
    carried: Mapping[str, Carried] | None = None,
    limit: timedelta | None = None,
    now: datetime | None = None,
) -> ComponentStatus:
    """One row from what was read. `fixed`: this component cannot move yet and is always at mvp; `limit`: how old a
    comparison may be."""
    lag: dict[str, int] = {}
    for record in adapters:
        for name, count in record.lag.items():
            lag[name] = max(count, lag.get(name, 0))
    last = route.history[-1] if route and route.history else None
    active = route.stage if route else Stage.MVP if fixed else None
    compared = KeptVerdict.read(route.verdict) if route and in_step(route) else None
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
        carried=dict(carried or {}) if route and route.mirror else {},
        compared=compared,
        comparison=_compared(route, compared, limit or hours(None), now or datetime.now(UTC)),
    )


def hours(limit: float | None) -> timedelta:
    """How old a comparison may be, where config says `limit`."""
    return timedelta(hours=names.DEFAULT_VERDICT_HOURS if limit is None else limit)


def _compared(route: Route | None, kept: KeptVerdict | None, limit: timedelta, now: datetime) -> str:
    """The last comparison, of sides that are kept in step; empty where none are."""
    if route is None or not in_step(route):
        return ""
    if kept is None:
        return "no comparison that can be read is kept" if route.verdict else "both sides were not compared yet"
    return f"comparison {kept.told(now, limit)}" + (
        f" ({kept.detail})" if kept.detail and not kept.outcome.passed else ""
    )


def _state(wanted: Stage, route: Route | None, active: Stage | None, problem: str) -> State:
    if problem:
        return "unknown"
    if route is not None and route.fence is None and _unproven(route):
        return "out of step"
    if route is not None and (route.fence is not None or route.progress is not None):
        return "switching"
    if route is not None and route.stranded:
        return "out of step"
    if active is None:
        return "not deployed"
    return "in step" if active is wanted else "out of step"


def _unproven(route: Route) -> bool:
    return route.progress is not None and route.progress.step == WATCH_FAILED


def _note(wanted: Stage, route: Route | None, detail: str) -> str:
    if route is None:
        return ""
    if route.fence is not None:
        return f"a fence stands since {route.fence.since}, held by {route.fence.holder}"
    if route.stranded:
        return _left_behind(route.stranded) if route.component is Component.DATABASE else _stranded(route.stranded)
    if _unproven(route):
        return f"post-checks failed and it could not be switched back: run pulumi up. {detail}"
    if route.stage is not wanted:
        return detail or f"config asks for {wanted.value}: run pulumi up"
    return _in_place(route)


def _in_place(route: Route) -> str:
    """What there is to say where nothing is to be done."""
    if route.component is Component.DATABASE and route.stage is Stage.SCALE:
        return _rollback_loss(route)
    if route.component is Component.BACKTESTING and route.sample:
        return f"{route.sample:g} % of the runs are done by {other_backend(route.component, route.active)}, too"
    return _traffic(route) if route.component is Component.LLM_SERVICE else ""


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


def lines(row: ComponentStatus) -> list[str]:
    """What the table has no room for."""
    found = [f"{group} is {count} events behind" for group, count in sorted(row.lag.items())]
    found += [_carried(source, told) for source, told in sorted(row.carried.items())]
    found += [text for text in (row.comparison, row.note) if text]
    return [f"{row.component.value}: {text}" for text in found]


def _carried(source: str, told: Carried) -> str:
    other = other_backend(Component.DATABASE, source)
    text = f"{source} to {other}"
    if told.behind_seconds is not None:
        text += f" {told.behind_seconds:.1f} s behind"
    if told.lag_bytes is not None:
        room = "no limit" if told.safe_bytes is None else f"{size(told.safe_bytes)} until it is lost"
        text += f", {size(told.lag_bytes)} of WAL; the slot has {room}"
    text += f"; {told.held} transactions held" if told.held else ""
    text += f"; stands still: {told.error}" if told.error else ""
    return text + (f"; NOT carried, for they are new: {told.unfollowed}: run pulumi up" if told.unfollowed else "")


def _behind(row: ComponentStatus) -> str:
    """The lag of the side that follows: events, or seconds."""
    if row.lag:
        return str(sum(row.lag.values()))
    told = row.carried.get(row.serves)
    return f"{told.behind_seconds:.1f} s" if told is not None and told.behind_seconds is not None else "-"


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
            _behind(row),
            row.last_verdict,
        )
    return made

"""What `crossover doctor` makes of what it was told: a Check a question, each with its fix. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from adapters.known import Fact, Unknown
from adapters.routes.workloads import Deployed
from contracts import names
from contracts.audit import Broken
from contracts.backups import BackupNote
from contracts.registry import AdapterRecord
from contracts.routes import Route
from contracts.stages import STAGE_TABLE, Component, Side, Stage, backend_of
from cutover.carrier.telling import Carried
from cutover.plan import in_step
from cutover.tables import TABLES
from validation.result import Check
from validation.verdicts import KeptVerdict

BESIDE = {
    Component.EVENT_BUS: (names.MIRROR_NAME,),
    Component.DATABASE: (names.POOLER_NAME, names.CARRIER_NAME),
    Component.LLM_SERVICE: (names.LLM_ORCHESTRATOR_NAME,),
    Component.BACKTESTING: (names.BACKTESTING_NAME,),
}
"""The Deployments on which a component's moving rests; of the language models config names more, our own."""
_ALWAYS = frozenset({names.POOLER_NAME, names.LLM_ORCHESTRATOR_NAME, names.BACKTESTING_NAME})
"""Those that run at every stage; our own models where they are deployed, the others where both sides are kept in
step."""
_UP = "pulumi up"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What config wants of a component, and what the cluster tells of it. `job`: the last Transition's. `present`: pods
    that may hold an adapter. `limit`: how old a comparison may be. Of the database: `backup`, the note on the last one,
    and `backup_hours`, how old it may be; None where config lets that pass."""

    component: Component
    wanted: Stage
    emergency: bool
    limit: timedelta
    route: Fact[Route | None]
    job: Fact[dict[str, Any]]
    adapters: Fact[Sequence[AdapterRecord]]
    present: Fact[frozenset[str]]
    deployments: dict[str, Fact[Deployed]] = field(default_factory=dict)
    carried: Fact[dict[str, Carried]] = field(default_factory=dict)
    backup: Fact[BackupNote | None] = None
    backup_hours: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What the audit log tells of itself. `lacking`: of how much that routes tell it knows nothing, by component;
    `waits`: what this machine has to tell it still, and in which file."""

    entries: int
    broken: Broken | None = None
    lacking: Mapping[Component, int] = field(default_factory=dict)
    waits: tuple[int, str] = (0, "")


def audit(at: Fact[Audited]) -> Check:
    """The audit log is whole, and has all that routes tell of."""
    name, expected = "audit log", "whole, with all that routes tell of"
    if isinstance(at, Unknown):
        fix = "See that its namespace is there, and that you may list ConfigMaps in it: docs/audit.md"
        return Check.unknown(name, expected=expected, why=at.why, fix=fix)
    if at.broken is not None:
        fix = "docs/audit.md, A chain that is broken"
        return Check.that(name, False, expected=expected, found=f"BROKEN at {at.broken}", fix=fix)
    wrong = [f"{count} of {component.value} are lacking" for component, count in at.lacking.items() if count]
    fixes = [f"crossover validate {component.value}" for component, count in at.lacking.items() if count]
    waiting, file = at.waits
    if waiting:
        wrong.append(f"{waiting} wait in {file}")
        fixes.append("the next crossover migrate or rollback that reaches the log appends what waits")
    found = "; ".join([f"{at.entries} entries", *wrong])
    return Check.that(name, not wrong, expected=expected, found=found, fix="; ".join(fixes))


def version(name: str, told: Fact[str], least: str, fix: str) -> Check:
    """A tool is there, and new enough; `least` "": any will do."""
    expected = f"on PATH, at least {least}" if least else "on PATH"
    if isinstance(told, Unknown):
        return Check.that(name, False, expected=expected, found=told.why, fix=fix)
    return Check.that(name, _numbers(told) >= _numbers(least), expected=expected, found=told, fix=fix)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def component(at: Asked, now: datetime) -> Iterator[Check]:
    """All that is asked of one component. Where its route cannot be read, only that is told."""
    name = f"{at.component.value}: route"
    expected = f"at {at.wanted.value}, as config asks"
    if isinstance(at.route, Unknown):
        yield Check.unknown(name, expected=expected, why=at.route.why, fix="See that the API server answers")
        return
    route = at.route
    found = "nothing was ever written" if route is None else f"{route.stage.value}, {route.active} serves"
    reached = route is not None and route.stage is at.wanted
    yield Check.that(name, reached, expected=expected, found=found, fix=f"{_UP}; crossover status says what failed")
    yield _transition(at)
    flees = bool(TABLES[at.component].emergencies)
    if flees:
        yield _emergency(at)
    if route is None:
        return
    yield _cut_off(at, route)
    if flees:
        yield _stranded(at, route)
    yield _adapters(at)
    for deployment, told in at.deployments.items():
        if _runs_at(route, deployment):
            yield _deployment(at, deployment, told)
    if in_step(route) and (flees or route.verdict is not None):  # models are judged as late as they are to serve
        yield _comparison(at, route, now)
        yield from _carrier(at)
    if at.component is Component.DATABASE and route.active == backend_of(at.component, Side.OLD):
        yield _backup(at, now)


def _emergency(at: Asked) -> Check:
    return Check.that(
        f"{at.component.value}: emergency", not at.emergency, expected="not in config",
        found="in config" if at.emergency else "no", fix="Once the dead side is back: pulumi config rm --path "
        f"crossover:{at.component.value}.emergency && {_UP}",
    )  # fmt: skip


def _transition(at: Asked) -> Check:
    name, expected = f"{at.component.value}: transition", f"its Job for {at.wanted.value} ended well"
    if isinstance(at.job, Unknown):
        return Check.unknown(name, expected=expected, why=at.job.why, fix=_UP)
    title = at.job["metadata"].get("name", "")
    stage = at.job["spec"]["template"].get("metadata", {}).get("labels", {}).get("crossover.dev/stage", "")
    conditions = at.job.get("status", {}).get("conditions") or []
    ended = {one["type"] for one in conditions if one["status"] == "True"}
    if "Failed" in ended:
        return Check.that(
            name,
            False,
            expected=expected,
            found=f"{title} failed",
            fix=f"kubectl logs job/{title} says why; then {_UP}",
        )
    if stage and stage != at.wanted.value:
        return Check.that(name, False, expected=expected, found=f"the last was for {stage}", fix=_UP)
    return Check.that(
        name, True, expected=expected, found=f"{title} ended well" if "Complete" in ended else f"{title} runs"
    )


def _runs(job: Fact[dict[str, Any]]) -> bool:
    return not isinstance(job, Unknown) and not any(
        one["status"] == "True" and one["type"] in {"Complete", "Failed"}
        for one in job.get("status", {}).get("conditions") or []
    )


def _cut_off(at: Asked, route: Route) -> Check:
    name, expected = f"{at.component.value}: fence", "no switch was cut off"
    found = "none stands"
    if route.fence is not None:
        found = f"a fence stands since {route.fence.since}, held by {route.fence.holder}: callers wait"
    elif route.progress is not None:
        found = (
            f"a switch to {route.progress.to_stage.value} stands at {route.progress.step} since {route.progress.since}"
        )
    fine = (route.fence is None and route.progress is None) or _runs(at.job)
    return Check.that(name, fine, expected=expected, found=found, fix=f"{_UP}: it undoes it, or goes on")


def _stranded(at: Asked, route: Route) -> Check:
    held = [f"{topic} in {tail.backend}" for topic, tail in (route.stranded or {}).items()]
    return Check.that(
        f"{at.component.value}: stranded", not held, expected="nothing is at the other side only",
        found=", ".join(held) or "nothing", fix="Bring that side back; crossover status says how to go on",
    )  # fmt: skip


def _adapters(at: Asked) -> Check:
    name, expected = f"{at.component.value}: adapters", "at least one, and none silent whose pod is there"
    fix = "See their pods' logs: a fence waits for them, and a switch would be undone"
    unknown = next((fact.why for fact in (at.adapters, at.present) if isinstance(fact, Unknown)), "")
    if isinstance(at.adapters, Unknown) or isinstance(at.present, Unknown):
        return Check.unknown(name, expected=expected, why=unknown, fix=fix)
    silent = [
        f"{one.name} (silent for {one.age_seconds:.0f} s)" for one in at.adapters
        if not one.live and any(one.name == pod or one.name.startswith(f"{pod}.") for pod in at.present)
    ]  # fmt: skip
    live = [one for one in at.adapters if one.live]
    troubles = [f"{one.name}: {one.status['trouble']}" for one in live if one.status.get("trouble")]
    found = "; ".join([*silent, *troubles][:_SHOWN]) or f"{len(live)} report"
    fine = bool(live) and not silent and not troubles
    return Check.that(name, fine, expected=expected, found=found, fix=fix)


def _runs_at(route: Route, deployment: str) -> bool:
    row = STAGE_TABLE[route.stage]
    if deployment in _ALWAYS:
        return True
    return Side.NEW in row.deployed if route.component is Component.LLM_SERVICE else row.follows is not None


def _deployment(at: Asked, deployment: str, told: Fact[Deployed]) -> Check:
    name, expected = f"{at.component.value}: {deployment}", "all of its pods are ready"
    fix = f"kubectl describe deployment/{deployment} and kubectl logs deployment/{deployment} say why"
    if isinstance(told, Unknown):
        return Check.unknown(name, expected=expected, why=told.why, fix=_UP)
    found = f"{told.ready} of {told.wanted} ready"
    return Check.that(name, 0 < told.wanted <= told.ready, expected=expected, found=found, fix=fix)


def _comparison(at: Asked, route: Route, now: datetime) -> Check:
    expected = f"one that holds, at most {at.limit / timedelta(hours=1):g} h old"
    kept = KeptVerdict.read(route.verdict)
    fine = kept is not None and kept.outcome.passed and kept.fresh(now, at.limit)
    found = "none" if kept is None else kept.told(now, at.limit)
    detail = kept.detail if kept is not None and not kept.outcome.passed else ""
    return Check.that(
        f"{at.component.value}: comparison", fine, expected=expected, found=found, detail=detail,
        fix=f"crossover validate {at.component.value}",
    )  # fmt: skip


def _carrier(at: Asked) -> Iterator[Check]:
    if at.component is not Component.DATABASE:
        return
    name, expected = f"{at.component.value}: carried", "both directions go on, hold nothing, and have all tables"
    fix = f"crossover strays database lists what is held; else kubectl logs deployment/{names.CARRIER_NAME}"
    if isinstance(at.carried, Unknown) or not at.carried:
        why = at.carried.why if isinstance(at.carried, Unknown) else "the carrier tells nothing"
        yield Check.unknown(name, expected=expected, why=why, fix=fix)
        return
    wrong = [f"from {source}: {told.error}" for source, told in at.carried.items() if told.error]
    wrong += [f"from {source}: {told.held} transactions held" for source, told in at.carried.items() if told.held]
    new = [
        f"from {source}, for they are new and wait for pulumi up: {told.unfollowed}"
        for source, told in at.carried.items()
        if told.unfollowed
    ]
    wrong += new
    behind = [f"from {source} {told.behind_seconds or 0:.1f} s behind" for source, told in at.carried.items()]
    yield Check.that(name, not wrong, expected=expected, found="; ".join(wrong or behind), fix=fix)


def _backup(at: Asked, now: datetime) -> Check:
    """The next move asks for one."""
    name, fix = f"{at.component.value}: backup", "crossover backup --to FOLDER"
    if at.backup_hours is None:
        return Check.that(name, True, expected="one of the side that serves", found="none needed: config accepts that")
    expected = f"one of the side that serves, at most {at.backup_hours:g} h old: the next move asks for it"
    if isinstance(at.backup, Unknown):
        return Check.unknown(name, expected=expected, why=at.backup.why, fix=fix)
    if at.backup is None:
        return Check.that(name, False, expected=expected, found="none is noted", fix=fix)
    hours = at.backup.hours(now)
    fine = hours <= at.backup_hours and at.backup.side == backend_of(Component.DATABASE, Side.OLD)
    return Check.that(name, fine, expected=expected, found=f"of {at.backup.side}, {hours:.1f} h old", fix=fix)

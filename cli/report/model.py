"""What the report of a migration shows, from what was gathered. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cli.report.measured import Demonstration
from cli.status import ComponentStatus, lines
from contracts.audit import Broken, Entry, Kind, canonical, moment, plain
from contracts.routes import Route
from contracts.stages import Component, Stage
from validation.verdicts import KeptVerdict

REPORT_VERSION = 1
"""Raised where the embedded JSON changes in a way that a reader must know of."""
GOOD = frozenset({"holds"})
_ARRIVED = frozenset({"holds", "switched back", "fled, not counted"})
"""Outcomes of a move that ended at its goal."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StepTime(_Part):
    """One step of a move."""

    transition: str
    step: str
    outcome: str
    seconds: float


class Move(_Part):
    """A transition: when it began and ended, RFC 3339 UTC; `ended` is empty where nobody tells of its end. `source`
    tells from where it is known: the route knows what the audit log lacks."""

    component: Component
    began: str
    ended: str = ""
    origin: str
    goal: str
    outcome: str
    epoch: int | None = None
    seconds: float | None = None
    by: str = ""
    detail: str = ""
    steps: tuple[StepTime, ...] = ()
    source: Literal["audit log", "route"] = "audit log"

    @property
    def good(self) -> bool:
        """Whether it did what it was to do."""
        return self.outcome in GOOD


class Said(_Part):
    """What somebody did or said, beside moves."""

    at: str
    component: str
    kind: str
    by: str
    detail: str


class Change(_Part):
    """What config asked for first, as far as the audit log goes back, and last; by how many changes, and whose was the
    last."""

    component: Component
    first: str
    last: str
    changes: int
    at: str
    by: str


class LastRun(_Part):
    """The newest Job of a Transition, by its own report; `problem`: why there is none."""

    job: str = ""
    image: str = ""
    verdict: str = ""
    message: str = ""
    unaudited: str = ""
    steps: tuple[StepTime, ...] = ()
    problem: str = ""


class Standing(_Part):
    """A component now. `notes`: lag, comparison and whatever else there is to say."""

    component: Component
    wanted: Stage
    stage: Stage | None
    serves: str
    epoch: int | None
    state: str
    notes: tuple[str, ...] = ()
    compared: KeptVerdict | None = None
    run: LastRun = LastRun()


class Audited(_Part):
    """The audit log: whether it is whole; None: it could not be read, `trouble` says why."""

    entries: int = 0
    last_hash: str = ""
    whole: bool | None = None
    trouble: str = ""


class MigrationReport(_Part):
    """All of it."""

    version: int = REPORT_VERSION
    stack: str
    made_at: str
    made_by: str
    standings: tuple[Standing, ...]
    moves: tuple[Move, ...]
    said: tuple[Said, ...]
    changes: tuple[Change, ...]
    audit: Audited
    demonstration: Demonstration | None = None
    versions: dict[str, str]

    @property
    def data(self) -> str:
        """Canonical JSON: what the page embeds, and its digest is over."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """sha256 over `data`."""
        return hashlib.sha256(self.data.encode()).hexdigest()

    @property
    def gaps(self) -> list[str]:
        """What could not be had, or is not as it should be."""
        told = [(one.component.value, text) for one in self.standings for text in (one.run.problem, one.run.unaudited)]
        found = [f"{component}: {text}" for component, text in told if text]
        found += [
            f"{one.component.value}: its route cannot be read" for one in self.standings if one.state == "unknown"
        ]
        return found + ([f"audit log: {self.audit.trouble}"] if not self.audit.whole else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What was asked for. `log`: the lines of the audit log, or why there are none; `runs`: by component."""

    stack: str
    by: str
    now: datetime
    rows: Sequence[ComponentStatus]
    routes: Mapping[Component, Route]
    log: Sequence[tuple[str, str]] | str
    broken: Broken | None = None
    runs: Mapping[Component, LastRun] = field(default_factory=dict)
    demonstration: Demonstration | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def build(found: Gathered, only: Iterable[Component] = ()) -> MigrationReport:
    """The report on `only` these components; none: all."""
    of = set(only) or set(Component)
    entries = readable(found.log) if not isinstance(found.log, str) else []
    told = [one for one in entries if one.component in {"", *(component.value for component in of)}]
    demonstration = found.demonstration.only(of) if found.demonstration is not None else None
    made = MigrationReport(
        stack=found.stack,
        made_at=moment(found.now),
        made_by=found.by,
        standings=tuple(_standing(row, found.runs) for row in found.rows if row.component in of),
        moves=tuple(moves(told, [route for component, route in found.routes.items() if component in of])),
        said=tuple(said(told)),
        changes=tuple(changes(told)),
        audit=_audited(found, entries),
        demonstration=demonstration,
        versions=dict(found.versions),
    )
    # Bounded, and without what looks like a password, before anything is shown of it.
    return MigrationReport.model_validate(plain(made.model_dump(mode="json")))


def readable(log: Sequence[tuple[str, str]]) -> list[Entry]:
    """Its entries, up to the first that cannot be read: what follows a break is not to be trusted to be an order."""
    found: list[Entry] = []
    for _, line in log:
        try:
            found.append(Entry.read(line))
        except ValueError:
            break
    return found


def _audited(found: Gathered, entries: Sequence[Entry]) -> Audited:
    if isinstance(found.log, str):
        return Audited(trouble=found.log)
    last = entries[-1].hash if entries else ""
    if found.broken is not None:
        return Audited(entries=len(entries), last_hash=last, whole=False, trouble=f"BROKEN at {found.broken}")
    return Audited(entries=len(entries), last_hash=last, whole=True)


def _standing(row: ComponentStatus, runs: Mapping[Component, LastRun]) -> Standing:
    prefix = f"{row.component.value}: "
    return Standing(
        component=row.component, wanted=row.wanted, stage=row.active, serves=row.serves, epoch=row.epoch,
        state=row.state, notes=tuple(line.removeprefix(prefix) for line in lines(row)), compared=row.compared,
        run=runs.get(row.component, LastRun()),
    )  # fmt: skip


def moves(entries: Sequence[Entry], routes: Sequence[Route]) -> list[Move]:
    """Every transition, in the order in which they began: those of the audit log, what only a route tells, and those
    whose end nobody tells."""
    ended = {(entry.component, entry.happened): entry for entry in entries if entry.kind == Kind.ENDED}
    found = [made for entry in ended.values() if (made := _ended(entry)) is not None]
    for route in routes:
        for past in route.history:
            if (route.component.value, past.at) not in ended:
                data = {**past.model_dump(mode="json"), "from": past.from_stage, "to": past.to_stage}
                found.append(_move(route.component, past.at, data, "", "route"))
    found += _unended(entries)
    return sorted(found, key=lambda one: (one.began, one.ended))


def _ended(entry: Entry) -> Move | None:
    try:
        return _move(Component(entry.component), entry.happened, entry.data, entry.actor, "audit log")
    except ValueError:  # of a component, or in a form, that this version does not know
        return None


def _move(
    component: Component, at: str, data: Mapping[str, Any], by: str, source: Literal["audit log", "route"]
) -> Move:
    seconds = data.get("seconds")
    seconds = float(seconds) if isinstance(seconds, int | float) else None
    began = moment(datetime.fromisoformat(at) - timedelta(seconds=seconds or 0.0))
    return Move(
        component=component, began=began, ended=at, origin=str(data.get("from") or "nothing"), goal=str(data["to"]),
        outcome=str(data["outcome"]), epoch=data.get("epoch"), seconds=seconds, by=by,
        detail=str(data.get("detail") or ""), steps=steps_of(data.get("steps")), source=source,
    )  # fmt: skip


def steps_of(told: Any) -> tuple[StepTime, ...]:
    """What an entry, or a Job's report, tells of steps; nothing where that is in no form that is known."""
    try:
        return tuple(StepTime.model_validate(one) for one in told or ())
    except (ValidationError, TypeError):
        return ()


def _unended(entries: Sequence[Entry]) -> list[Move]:
    """Transitions that began, and whose component tells nothing of an end before the next one began. One that is
    switched back ends by the way back."""
    found: list[Move] = []
    for component in Component:
        own = [one for one in entries if one.component == component.value and one.kind in (Kind.BEGUN, Kind.ENDED)]
        for one, after in zip(own, [*own[1:], None], strict=False):
            followed = after is not None and (after.kind == Kind.ENDED or bool(after.data.get("back")))
            if one.kind == Kind.BEGUN and not followed:
                found.append(_unended_move(component, one))
    return found


def _unended_move(component: Component, begun: Entry) -> Move:
    return Move(
        component=component,
        began=begun.happened,
        origin=str(begun.data.get("from") or "nothing"),
        goal=str(begun.data.get("to")),
        outcome="no end is told",
        epoch=begun.data.get("epoch"),
        by=begun.actor,
    )


def said(entries: Sequence[Entry]) -> list[Said]:
    """What people and their pipelines did and said, and what held them."""
    kinds = {
        Kind.CONFIG, Kind.APPROVED, Kind.REFUSED, Kind.HELD, Kind.OUTSIDE, Kind.CONFIRMED, Kind.REVOKED,
    }  # fmt: skip
    return [
        Said(at=one.happened, component=one.component, kind=one.kind, by=one.actor, detail=_said(one.data))
        for one in entries if one.kind in kinds
    ]  # fmt: skip


def _said(data: Mapping[str, Any]) -> str:
    way = f"{data['from']} -> {data['to']}" if "from" in data and "to" in data else ""
    emergency = "in an emergency" if data.get("emergency") else ""
    told = [way, emergency, *(str(data.get(name) or "") for name in ("asked", "item", "note", "reason", "detail"))]
    return "; ".join(part for part in told if part)


def changes(entries: Sequence[Entry]) -> list[Change]:
    """By component, what the command made of config."""
    made: list[Change] = []
    for component in Component:
        own = [one for one in entries if one.kind == Kind.CONFIG and one.component == component.value]
        if not own:
            continue
        first, last = own[0], own[-1]
        was, asked = str(first.data.get("from")), str(last.data.get("to"))
        told = {"changes": len(own), "at": last.happened, "by": last.actor}
        made.append(Change.model_validate({"component": component, "first": was, "last": asked, **told}))
    return made


@dataclass(frozen=True, slots=True)
class Band:
    """How long a component was at a stage."""

    start: datetime
    end: datetime
    stage: str


def bands(standing: Standing, of: Sequence[Move], start: datetime, now: datetime) -> list[Band]:
    """The stages of a component from `start` on: before its first move where that began, then by those that ended, and
    last where it is now."""
    over = sorted((move for move in of if move.ended), key=lambda move: move.ended)
    here = standing.stage.value if standing.stage is not None else ""
    times = [start, *(datetime.fromisoformat(move.ended) for move in over), now]
    stages = [over[0].origin if over else here]
    stages += [move.goal if move.outcome in _ARRIVED else move.origin for move in over]
    stages[-1] = here or stages[-1]
    found: list[Band] = []
    for since, until, stage in zip(times[:-1], times[1:], stages, strict=True):
        if found and found[-1].stage == stage:
            found[-1] = Band(found[-1].start, until, stage)
        elif until > since and stage in list(Stage):
            found.append(Band(since, until, stage))
    return found


def instant(text: str) -> datetime:
    """RFC 3339, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)

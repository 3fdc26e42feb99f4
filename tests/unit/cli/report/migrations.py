"""A migration as the audit log, routes and Jobs tell of it, for tests of the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.routes.audit import MemorySegments, SegmentedLog
from cli.report.model import Gathered, LastRun, StepTime
from cli.status import ComponentStatus, judge
from contracts.audit import Entry, Kind, moment
from contracts.routes import HistoryEntry, Mirror, Route
from contracts.stages import Component, Stage, serving_backend
from validation.result import Verdict
from validation.verdicts import KeptVerdict

BUS, DATABASE = Component.EVENT_BUS, Component.DATABASE
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Told:
    """An audit log that is written as it happened."""

    def __init__(self) -> None:
        self.now = NOON
        self.log = SegmentedLog(MemorySegments(), clock=lambda: self.now)

    def tell(self, minutes: float, kind: Kind, component: Component | None, actor: str, **data: Any) -> Entry:
        """Append what happened so many minutes after noon."""
        self.now = at(minutes)
        told = {"at": moment(self.now), **{key.rstrip("_"): value for key, value in data.items()}}
        return self.log.append(kind, component.value if component else "", actor, told)

    def move(self, minutes: float, origin: str, goal: str, outcome: str = "holds", **data: Any) -> HistoryEntry:
        """A move of the event bus that takes a minute; what its route keeps of it."""
        back = {"back": True} if outcome == "switched back" else {}
        self.tell(minutes, Kind.BEGUN, BUS, "Job t-1", from_=origin, to=goal, epoch=2, **back)
        steps = [
            {"transition": f"{origin} -> {goal}", "step": "fence", "outcome": "holds", "seconds": 0.034},
            {"transition": f"{origin} -> {goal}", "step": "watch", "outcome": outcome, "seconds": 10.5},
        ]
        told = {"epoch": 2, "outcome": outcome, "seconds": 60.0, "detail": "", "steps": steps} | data
        self.tell(minutes + 1, Kind.ENDED, BUS, "Job t-1", from_=origin, to=goal, **told)
        return HistoryEntry(
            at=moment(at(minutes + 1)), from_stage=Stage(origin), to_stage=Stage(goal), epoch=2, outcome=outcome,
            seconds=60.0,
        )  # fmt: skip


def whole() -> Told:
    """There, back because its post-checks failed, and there again; approved, held back and changed meanwhile."""
    told = Told()
    told.tell(0, Kind.HELD, None, "ann@desk", detail="FREEZE is there: quarter's end")
    told.tell(1, Kind.CONFIG, BUS, "ann@desk", from_="mvp", to="scale")
    told.move(2, "mvp", "shadow")
    told.tell(4, Kind.BEGUN, BUS, "Job t-1", from_="shadow", to="scale", epoch=2)
    told.move(5, "scale", "shadow", "switched back", detail="post-checks failed")
    told.tell(10, Kind.APPROVED, BUS, "bob@desk", asked="Move event_bus now?")
    told.tell(11, Kind.CONFIG, BUS, "bob@desk", from_="scale", to="scale")
    told.move(12, "shadow", "scale")
    return told


def route(stage: Stage = Stage.SCALE, *history: HistoryEntry, detail: str = "8 events equal") -> Route:
    kept = KeptVerdict(outcome=Verdict.HOLDS, at=at(12), active="redis", detail=detail)
    mirror = Mirror(source="kafka", target="redis", starts={}, target_starts={})
    return Route(
        component=BUS, stage=stage, active=serving_backend(BUS, stage), epoch=4, mirror=mirror,
        verdict=kept.to_json(), history=history,
    )  # fmt: skip


def rows(live: Route | None = None) -> list[ComponentStatus]:
    """The event bus at scale, the database at mvp."""
    bus = judge(BUS, Stage.SCALE, live or route(), (), now=at(20))
    return [bus, judge(DATABASE, Stage.MVP, None, ())]


def gathered(**changes: Any) -> Gathered:
    """All that was asked for, with `changes`."""
    run = LastRun(
        job="t-1", image="localhost/crossover/workload:local", verdict="holds",
        steps=(StepTime(transition="shadow -> scale", step="fence", outcome="holds", seconds=0.034),),
    )  # fmt: skip
    given: dict[str, Any] = {
        "stack": "live", "by": "ann@desk", "now": at(20), "rows": rows(), "routes": {BUS: route()},
        "log": whole().log.lines(), "runs": {BUS: run}, "versions": {"crossover": "0.1.0"},
    }  # fmt: skip
    return Gathered(**{**given, **changes})

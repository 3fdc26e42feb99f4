"""What a Transition may not ask for, from what it states. Pure: the time is given.

It states the stage that is wanted and, where `crossover attest` wrote it to stack config, what was seen of the live
stack: at which stage the component stood, what the last comparison said, and when the last backup was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

TRANSITION = "crossover:transition:Transition"
ORDER = ("mvp", "shadow", "scale", "complete")
ABSENT = "absent"
"""The stage of a component that has no route yet: there is nothing to be lost."""
AHEAD = timedelta(minutes=5)
"""How far the clock of who attested may be ahead."""


@dataclass(frozen=True, slots=True)
class Move:
    """What a Transition states. `seen`: the stage that `crossover attest` saw, None where nothing was attested;
    `verdict`: what the last comparison said. Limits in hours."""

    component: str
    wanted: str
    production: bool
    emergency: bool
    seen: str | None
    attested_at: datetime | None
    verdict: str | None
    verdict_at: datetime | None
    backup_at: datetime | None
    verdict_hours: float
    backup_hours: float

    @property
    def forward(self) -> bool:
        """Whether it goes on, from where it was seen. A way back is held by nothing here."""
        if self.seen is None:
            return self.wanted != ORDER[0]
        return self.seen != ABSENT and _place(self.wanted) > _place(self.seen)


def read(props: Mapping[str, Any]) -> Move:
    """The move that the inputs of a Transition state."""
    evidence: Mapping[str, Any] = props.get("evidence") or {}
    return Move(
        component=str(props.get("component")),
        wanted=str(props.get("stage")),
        production=props.get("environment") == "production",
        emergency=bool(props.get("emergency")),
        seen=evidence.get("stage"),
        attested_at=_moment(evidence.get("at")),
        verdict=evidence.get("verdict"),
        verdict_at=_moment(evidence.get("verdict_at")),
        backup_at=_moment(evidence.get("backup_at")),
        verdict_hours=float(props.get("verdict_hours", 24.0)),
        backup_hours=float(props.get("backup_hours", 24.0)),
    )


def complete_is_proven(move: Move, now: datetime) -> Iterator[str]:
    """Nothing is retired without a fresh comparison that holds."""
    if move.wanted != ORDER[-1] or not (move.forward or move.seen == ABSENT):
        return
    again = f"crossover validate {move.component}, then crossover attest"
    if move.verdict is None or move.verdict_at is None:
        yield f"no verdict of {move.component} is attested, and complete retires its old side for good: {again}"
    elif move.verdict != "holds":
        yield f"the last comparison of {move.component} says {move.verdict!r}: its old side would be lost. {again}"
    elif problem := _stale(move.verdict_at, move.verdict_hours, now):
        yield f"the last comparison of {move.component} is {problem}: {again}"


def no_stage_is_skipped(move: Move, now: datetime) -> Iterator[str]:
    """In production a component goes on by one stage at a time, from where it was seen to stand lately."""
    if not move.production or move.emergency or not move.forward:
        return
    if move.seen is None:
        yield (f"{move.component} is wanted at {move.wanted}, and where it stands was not attested: crossover attest")
        return
    if problem := _stale(move.attested_at, move.verdict_hours, now):
        yield f"where {move.component} stands was attested, and that is {problem}: crossover attest"
    if _place(move.wanted) - _place(move.seen) > 1:
        step = ORDER[_place(move.seen) + 1]
        yield (
            f"{move.component} stands at {move.seen} and is wanted at {move.wanted}: nobody would look at what lies "
            f"between. crossover migrate {move.component} --to {step}"
        )


def a_backup_is_fresh(move: Move, now: datetime) -> Iterator[str]:
    """In production nothing goes on without a backup that was made lately."""
    if not move.production or move.emergency or not move.forward or move.seen is None:
        return
    if problem := _stale(move.backup_at, move.backup_hours, now):
        what = "no backup is attested" if move.backup_at is None else f"the last backup is {problem}"
        fix = "crossover backup --to FOLDER, then crossover attest"
        yield f"{what}, and {move.component} is to go on to {move.wanted}: {fix}"


RULES = {
    "complete-is-proven": ("Nothing is retired without a fresh verdict.", complete_is_proven),
    "no-stage-is-skipped": ("In production no stage is skipped.", no_stage_is_skipped),
    "a-backup-is-fresh": ("In production nothing moves on without a fresh backup.", a_backup_is_fresh),
}
"""By name: the description, and the rule."""


def _place(stage: str) -> int:
    return ORDER.index(stage) if stage in ORDER else -1


def _stale(at: datetime | None, hours: float, now: datetime) -> str:
    """What is wrong with the age of something; empty where nothing is."""
    if at is None:
        return "of no known time"
    age = now - at
    if age < -AHEAD:
        return "of the future, so a clock is wrong"
    return "" if age <= timedelta(hours=hours) else f"{age / timedelta(hours=1):.1f} h old, the limit is {hours:g} h"


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)

"""What the console shows, from what was asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cli.audit import brief
from cli.report.model import Move, StepTime, moves
from cli.status import ComponentStatus, lines
from contracts.audit import Entry, plain
from contracts.stages import Component, other_backend
from cutover.tables import Step
from validation.result import Verdict

BEHIND_SECONDS, SLOT_BYTES, LAG_EVENTS = 60.0, 256 << 20, 10_000
"""Beyond the first and the last, and below the second, there is an alert: as in observability/alerts.yaml."""
RUN_LINES = 8
"""Of a run under way, so many of its last lines are shown."""
_SHARE = re.compile(r"^\s*(\d{1,3})%: ")
_LONGEST = 400


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Run(_Part):
    """A Transition's Job under way: what it wrote last. `share`: percent of a copy that is done, where it tells so."""

    job: str
    lines: tuple[str, ...]
    share: int | None = None


class Shown(_Part):
    """A component. `seen`: when it was last read, RFC 3339 UTC, empty where it never was; `trouble`: why it could not
    be read since. `paces`: how long what is behind takes to be in step."""

    status: ComponentStatus
    seen: str
    trouble: str = ""
    stall: str = ""
    paces: tuple[str, ...] = ()
    run: Run | None = None

    @property
    def notes(self) -> list[str]:
        """What status tells beside its table."""
        prefix = f"{self.status.component.value}: "
        return [line.removeprefix(prefix) for line in lines(self.status)]


class Line(_Part):
    """An entry of the audit log."""

    at: str
    component: str
    kind: str
    actor: str
    text: str


class Alert(_Part):
    """Something that somebody has to look at. `page`: now."""

    severity: Literal["page", "ticket"]
    component: str
    text: str


class Picture(_Part):
    """All of it. `at`: when it was put together; `troubles`: what could not be had, other than a component."""

    stack: str
    at: str
    components: tuple[Shown, ...]
    log: tuple[Line, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def alerts(self) -> list[Alert]:
        """What is not as it should be, the most urgent first."""
        found = [alert for shown in self.components for alert in alerts(shown)]
        return sorted(found, key=lambda alert: alert.severity != "page")

    @property
    def lost(self) -> str:
        """Why not one component can be read now; empty where one can."""
        told = [shown.trouble for shown in self.components]
        return told[0] if told and all(told) else ""


def alerts(shown: Shown) -> list[Alert]:
    """Those of one component, by what it was when it was read last."""
    row, found = shown.status, list[tuple[Literal["page", "ticket"], str]]()
    if shown.trouble:
        found.append(("page", f"cannot be read: {shown.trouble}"))
    if row.state == "out of step":
        active = row.active.value if row.active else "nothing"
        found.append(("page", f"out of step: {active} is active, config asks for {row.wanted.value}"))
    for source, told in row.carried.items():
        if told.error:
            found.append(("page", f"the carrier of {source} stands still: {told.error}"))
        if told.safe_bytes is not None and told.safe_bytes < SLOT_BYTES:
            found.append(("page", f"the slot at {source} is lost after {told.safe_bytes / 1e6:.0f} MB more of WAL"))
        if told.behind_seconds is not None and told.behind_seconds > BEHIND_SECONDS:
            other = other_backend(Component.DATABASE, source)
            found.append(("ticket", f"{other} is {told.behind_seconds:.0f} s behind {source}"))
        if told.unfollowed:
            found.append(("page", f"rows are not carried, for their tables are new: {told.unfollowed}"))
    behind = {group: count for group, count in row.lag.items() if count > LAG_EVENTS}
    found += [("ticket", f"{group} is {count} events behind") for group, count in sorted(behind.items())]
    failed = row.compared is not None and row.compared.outcome is not Verdict.HOLDS
    if failed or "stale" in row.comparison:
        found.append(("ticket", row.comparison))
    return [Alert(severity=severity, component=row.component.value, text=text) for severity, text in found]


def line_of(entry: Entry) -> Line:
    """An entry, for people: without what looks like a password, and bounded."""
    texts = (entry.happened, entry.component, entry.kind, entry.actor, brief(entry.data))
    at, component, kind, actor, text = (str(plain(one))[:_LONGEST] for one in texts)
    return Line(at=at, component=component, kind=kind, actor=actor, text=text)


def run_of(job: str, output: str) -> Run:
    """A run under way, from what it wrote so far."""
    written = [line for line in output.splitlines() if line.strip() and not line.startswith("{")][-RUN_LINES:]
    shares = [int(found[1]) for line in written if (found := _SHARE.match(line)) is not None]
    told = tuple(str(plain(line))[:_LONGEST] for line in written)
    return Run(job=job, lines=told, share=min(shares[-1], 100) if shares else None)


def stalls(entries: Sequence[Entry]) -> dict[Component, str]:
    """By component, how long its last switch held traffic. `entries`: oldest first."""
    found: dict[Component, str] = {}
    for move in moves(entries, ()):
        if (held := held_for(move.steps)) is not None:
            found[move.component] = _stall(move, held)
    return found


def _stall(move: Move, held: float) -> str:
    way = f"{move.origin} → {move.goal}"
    return (
        f"{way} held traffic for at most {held:.3g} s" if held >= 1 else f"{way} held traffic for {held * 1e3:.0f} ms"
    )


def held_for(steps: Sequence[StepTime]) -> float | None:
    """Seconds from the fence to the write that opens the other side, or to where that was given up; None where nothing
    was fenced."""
    held: float | None = None
    for step in steps:
        if step.step in {Step.FENCE, Step.BREAK_OFF}:
            held = 0.0
        if held is not None:
            held += step.seconds
            if step.step in {Step.OPEN, Step.FLEE}:
                return held
    return held


@dataclass(frozen=True, slots=True)
class Sample:
    """What was behind at a moment, in seconds of a monotonic clock: by its name, how much."""

    at: float
    behind: Mapping[str, float]


def behind(row: ComponentStatus) -> dict[str, float]:
    """What is to be caught up with: events by topic and group, bytes of WAL by side."""
    found = {group: float(count) for group, count in row.lag.items() if count}
    carried = row.carried.items()
    return found | {f"WAL of {side}": float(told.lag_bytes) for side, told in carried if told.lag_bytes}


def paces(samples: Sequence[Sample]) -> tuple[str, ...]:
    """How long each of what is behind takes at the pace of `samples`, oldest first; nothing where they span too little
    to tell."""
    if len(samples) < 2 or samples[-1].at - samples[0].at < 2:
        return ()
    first, last = samples[0], samples[-1]
    found = []
    for name, left in sorted(last.behind.items()):
        if (before := first.behind.get(name)) is None:
            continue
        rate = (before - left) / (last.at - first.at)
        if rate > 0:
            found.append(f"{name}: in step in {duration(left / rate)} at this pace")
        elif rate < 0:
            found.append(f"{name}: it grows")
    return tuple(found)


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

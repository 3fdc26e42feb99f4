"""What a run tells the audit log, and what the log lacks of what a route tells.

The log is written aside (adapters/routes/recording.py), and may be away: a run goes on without it. What ended stands in
the route's history, which a run writes anyway; the next run that reaches the log completes it by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.routes.audit import AuditLog
from adapters.routes.kubernetes_audit import KubernetesAudit
from adapters.routes.recording import Recorder
from contracts import names
from contracts.audit import Entry, Kind
from contracts.routes import HistoryEntry, Route
from validation.verdicts import KeptVerdict

_SLACK = timedelta(days=1)
"""How far the clocks of those who wrote entries may be apart."""


def recorder(env: Mapping[str, str], api: Any, owner: str) -> Recorder:
    """That of a pod of a Transition, or of one after its pattern. `owner`: whose run it is."""
    namespace = env.get(names.ENV_AUDIT_NAMESPACE) or names.AUDIT_NAMESPACE
    pod = env.get(names.ENV_POD_NAME, "")
    job = env.get(names.ENV_JOB_NAME, "")
    always = {"pod": pod, "owner": owner, "namespace": env.get(names.ENV_NAMESPACE, names.NAMESPACE)}
    return Recorder(lambda: KubernetesAudit(namespace, api), f"Job {job}" if job else f"pod {pod}", always)


def ended(entry: HistoryEntry) -> dict[str, Any]:
    """What the log says of a transition that ended."""
    return {
        "at": entry.at,
        "from": entry.from_stage.value if entry.from_stage is not None else None,
        "to": entry.to_stage.value,
        "epoch": entry.epoch,
        "outcome": entry.outcome,
        "detail": entry.detail,
        "seconds": entry.seconds,
    }


def verdict(kept: KeptVerdict) -> dict[str, Any]:
    """What the log says of a comparison."""
    return kept.model_dump(mode="json", exclude={"version"})


def lacking(route: Route, log: AuditLog) -> list[tuple[Kind, dict[str, Any]]]:
    """What `route` tells of what is over, and the log does not, oldest first, marked as told later. Raises
    RouteError."""
    wanted = [(Kind.ENDED, ended(entry)) for entry in route.history]
    if (kept := KeptVerdict.read(route.verdict)) is not None:
        wanted.append((Kind.VERDICT, verdict(kept)))
    wanted.sort(key=lambda one: _moment(one[1]["at"]))
    if not wanted:
        return []
    there = _told(log.latest(), route.component.value, _moment(wanted[0][1]["at"]) - _SLACK)
    return [(kind, {**data, "told_later": True}) for kind, data in wanted if (kind.value, data["at"]) not in there]


def complete(recorder: Recorder, route: Route) -> None:
    """Have what the log lacks of `route` appended."""
    recorder.add(lambda log: [recorder.noted(kind, route.component, data) for kind, data in lacking(route, log)])


def _told(entries: Iterator[Entry], component: str, since: datetime) -> set[tuple[str, str]]:
    """Kind and time of what entries since then say of `component`. They come newest first."""
    found: set[tuple[str, str]] = set()
    for entry in entries:
        if _moment(entry.at) < since:
            break
        if entry.component == component:
            found.add((entry.kind, entry.happened))
    return found


def _moment(at: str) -> datetime:
    return datetime.fromisoformat(at)


def close(recorder: Recorder, say: Callable[[str], None]) -> str:
    """Wait for a short while for what is not appended yet, and say what was not; empty where all was."""
    left = recorder.close()
    if recorder.complete:
        return ""
    told = (
        f"AUDIT: the audit log could not be written, {len(left)} entries of this run are not in it: "
        f"{recorder.trouble}. The move itself is not touched by it. What ended stands in the route: the next run that "
        "reaches the log appends it. crossover doctor tells what is lacking"
    )
    say(told)
    return told

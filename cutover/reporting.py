"""What a run tells: lines while it goes, a table and a machine-readable verdict at its end."""

from __future__ import annotations

import json
import os
from pathlib import Path

from contracts.stages import Component
from cutover.run import HOLDS, Outcome
from validation.result import Check

_TERMINATION_BYTES = 4000
"""Kubernetes keeps at most 4096 bytes of a container's termination message."""


def as_json(component: Component, outcome: Outcome) -> str:
    """The verdict as one line of JSON, versioned."""
    return json.dumps(
        {
            "version": 1,
            "component": component.value,
            "wanted": outcome.wanted.value,
            "stage": outcome.stage.value if outcome.stage else None,
            "verdict": outcome.verdict,
            "message": outcome.message,
            "unaudited": outcome.unaudited,
            "steps": [{**r.told, "items": [_item(check) for check in r.checks]} for r in outcome.records],
        }
    )


def _item(check: Check) -> dict[str, str]:
    """An item with its verdict; what it takes to mend it only where there is something to mend."""
    told = {"name": check.name, "verdict": check.outcome.value, "found": check.found}
    if not check.outcome.passed:
        told |= {"expected": check.expected, "detail": check.detail, "fix": check.fix}
    return told


def summary(component: Component, outcome: Outcome) -> str:
    """The verdict in a few lines for people."""
    stage = outcome.stage.value if outcome.stage else "not established"
    unaudited = f"\n{outcome.unaudited}" if outcome.unaudited else ""
    if outcome.reached:
        return f"VERDICT holds: {component.value} is at {stage}{unaudited}"
    failed = next((r for r in reversed(outcome.records) if r.outcome != HOLDS), None)
    where = f" at {failed.step} ({failed.transition})" if failed else ""
    return (
        f"VERDICT {outcome.verdict}: {component.value} stays at {stage}, wanted {outcome.wanted.value}\n"
        f"  failed{where}: {outcome.message}{unaudited}"
    )


def leave_termination_message(text: str, path: str | None = None) -> None:
    """Leave `text` where Kubernetes picks it up; nothing happens outside a pod."""
    target = Path(path or os.environ.get("TERMINATION_LOG", "/dev/termination-log"))
    if target.exists():
        target.write_text(text[:_TERMINATION_BYTES])

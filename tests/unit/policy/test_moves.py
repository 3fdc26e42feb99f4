"""What a Transition may not ask for: nothing retired unproven, no stage skipped, nothing moved without a backup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from policy import moves
from policy.moves import ORDER

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).isoformat()


def stated(wanted: str, seen: str | None = "mvp", *, environment: str = "production", **changes: Any) -> dict[str, Any]:
    evidence = {"at": ago(1), "stage": seen, "verdict": "holds", "verdict_at": ago(1), "backup_at": ago(1)}
    props: dict[str, Any] = {
        "component": "event_bus", "stage": wanted, "environment": environment, "verdict_hours": 24, "backup_hours": 24,
    }  # fmt: skip
    if changes.pop("emergency", False):
        props["emergency"] = True
    return props | ({} if seen is None else {"evidence": evidence | changes})


def broken(props: dict[str, Any]) -> dict[str, str]:
    found = {name: " ".join(check(moves.read(props), NOW)) for name, (_, check) in moves.RULES.items()}
    return {name: told for name, told in found.items() if told}


@pytest.mark.parametrize(("seen", "wanted"), list(product(ORDER, ORDER)))
def test_in_production_a_component_goes_on_by_one_stage_and_back_by_any(seen: str, wanted: str) -> None:
    skips = ORDER.index(wanted) - ORDER.index(seen) > 1
    assert set(broken(stated(wanted, seen))) == ({"no-stage-is-skipped"} if skips else set())
    assert broken(stated(wanted, seen, environment="development")) == {}


def test_a_stage_that_is_skipped_is_told_with_the_next_one() -> None:
    assert "--to shadow" in broken(stated("scale", "mvp"))["no-stage-is-skipped"]


def test_a_way_back_needs_nothing_and_neither_does_an_emergency() -> None:
    old: dict[str, Any] = {"at": ago(900), "verdict_at": ago(900), "backup_at": None}
    assert broken(stated("shadow", "complete", **old)) == {}
    assert broken(stated("shadow", "scale", emergency=True, **old)) == {}
    assert broken(stated("scale", "scale", **old)) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backup_at": None}, "no backup is attested"),
        ({"backup_at": ago(25)}, "25.0 h old"),
        ({"backup_at": ago(-1)}, "clock is wrong"),
        ({"backup_at": "yesterday"}, "no backup is attested"),
    ],
)
def test_nothing_goes_on_in_production_without_a_fresh_backup(changes: dict[str, Any], told: str) -> None:
    found = broken(stated("shadow", **changes))
    assert set(found) == {"a-backup-is-fresh"}
    assert told in found["a-backup-is-fresh"]
    assert broken(stated("shadow", environment="development", **changes)) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"verdict": None}, "no verdict"),
        ({"verdict_at": None}, "no verdict"),
        ({"verdict": "does_not_hold"}, "does_not_hold"),
        ({"verdict": "could_not_check"}, "could_not_check"),
        ({"verdict_at": ago(24.5)}, "24.5 h old"),
    ],
)
@pytest.mark.parametrize("environment", ["production", "development"])
def test_nothing_is_retired_without_a_fresh_verdict_anywhere(
    changes: dict[str, Any], told: str, environment: str
) -> None:
    found = broken(stated("complete", "scale", environment=environment, **changes))
    assert set(found) == {"complete-is-proven"}
    assert told in found["complete-is-proven"]
    assert "crossover validate event_bus" in found["complete-is-proven"]


def test_what_was_not_attested_may_begin_at_mvp_only() -> None:
    assert broken(stated("mvp", None)) == {}
    assert "crossover attest" in broken(stated("shadow", None))["no-stage-is-skipped"]
    assert set(broken(stated("complete", None, environment="development"))) == {"complete-is-proven"}


def test_old_evidence_of_where_it_stands_is_none() -> None:
    assert "25.0 h old" in broken(stated("shadow", at=ago(25)))["no-stage-is-skipped"]


def test_a_stack_that_is_made_begins_at_any_stage_but_complete() -> None:
    for wanted in ORDER[:-1]:
        assert broken(stated(wanted, moves.ABSENT, verdict=None, backup_at=None)) == {}
    assert set(broken(stated("complete", moves.ABSENT, verdict=None))) == {"complete-is-proven"}

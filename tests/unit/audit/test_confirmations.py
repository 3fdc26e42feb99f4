"""Who said yes to what, as the audit log has it: for which stack, until when, and taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.routes.audit import MemoryAudit
from contracts.audit import Kind
from contracts.confirmations import (
    QUESTIONS,
    Confirmed,
    InvalidQuestion,
    confirmation,
    confirmed,
    questions_of,
    revocation,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def yes(log: MemoryAudit, item: str, at: datetime = NOW, *, stack: str = "x", note: str = "", by: str = "ann") -> None:
    log.append(Kind.CONFIRMED, "", by, confirmation(item, "Is it?", note, stack=stack, at=at, days=7))


def no(log: MemoryAudit, item: str, *, stack: str = "x") -> None:
    log.append(Kind.REVOKED, "", "bob", revocation(item, "", stack=stack, at=NOW))


def test_a_yes_has_its_name_its_time_and_its_end() -> None:
    log = MemoryAudit()
    yes(log, "window", note="CHG-7")
    found = confirmed(log.entries(), "x")["window"]
    assert found == Confirmed("ann", NOW, NOW + timedelta(days=7), "CHG-7")
    assert found.told() == "ann at 2026-05-01 12:00 UTC, until 2026-05-08 12:00 UTC: CHG-7"


def test_the_last_word_counts_and_each_stack_has_its_own() -> None:
    log = MemoryAudit()
    yes(log, "window")
    yes(log, "on-call", stack="y")
    assert set(confirmed(log.entries(), "x")) == {"window"}
    no(log, "window", stack="y")
    assert set(confirmed(log.entries(), "x")) == {"window"}
    no(log, "window")
    assert confirmed(log.entries(), "x") == {}
    yes(log, "window", NOW + timedelta(days=1), by="cid")
    assert confirmed(log.entries(), "x")["window"].by == "cid"


@pytest.mark.parametrize("until", [None, "soon", "2026-05-08T12:00:00"])
def test_a_yes_that_cannot_be_read_is_none_and_takes_the_one_before_it_away(until: str | None) -> None:
    log = MemoryAudit()
    yes(log, "window")
    data = confirmation("window", "Is it?", "", stack="x", at=NOW, days=7) | {"until": until}
    log.append(Kind.CONFIRMED, "", "ann", data)
    assert confirmed(log.entries(), "x") == {}


def test_config_adds_changes_and_takes_out_questions() -> None:
    assert questions_of({}) == dict(QUESTIONS)
    found = questions_of({"change-ticket": "Approved?", "window": "Agreed with trading?", "on-call": ""})
    assert list(found) == ["stakeholders", "window", "rollback-criteria", "change-ticket"]
    assert found["window"] == "Agreed with trading?"


@pytest.mark.parametrize("given", [{"Change Ticket": "Approved?"}, {"": "x"}, {"ticket": 7}])
def test_a_question_that_cannot_be_asked_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidQuestion):
        questions_of(given)

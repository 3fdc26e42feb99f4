"""What only people can answer before a migration: the questions, and who said yes, as the audit log has it. Pure.

A yes stands for some days and for one stack, until it is revoked: what was agreed for one weekend says nothing of the
next quarter's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts.audit import Entry, Kind, moment

DEFAULT_CONFIRM_DAYS = 7.0
QUESTIONS: Mapping[str, str] = {
    "stakeholders": "Do all whom the migration may touch know of it: when it is, what they may notice, whom to ask?",
    "window": "Is the maintenance window agreed with those who own the systems that call this backend?",
    "on-call": "Is it named who watches the migration and who decides, and are they reachable all through it?",
    "rollback-criteria": "Is it agreed, in figures, what ends in a rollback, and who says so?",
}
"""By item; config adds others, puts another text, or takes one out by an empty one."""
_ITEM = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class InvalidQuestion(ValueError):
    """A question that cannot be asked; its text says why."""


def questions_of(given: Mapping[str, Any]) -> dict[str, str]:
    """All that is asked where config has `given`. Raises InvalidQuestion."""
    for item, text in given.items():
        if not _ITEM.fullmatch(item):
            raise InvalidQuestion(f"{item!r} is no name of an item: small letters, digits and dashes, 40 at most")
        if not isinstance(text, str):
            raise InvalidQuestion(f"the question of {item} is no text")
    return {item: text for item, text in {**QUESTIONS, **given}.items() if text.strip()}


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A yes: whose, since when and until when; `note`, what they said beside it."""

    by: str
    since: datetime
    until: datetime
    note: str = ""

    def told(self) -> str:
        """For people."""
        note = f": {self.note}" if self.note else ""
        return f"{self.by} at {self.since:%Y-%m-%d %H:%M} UTC, until {self.until:%Y-%m-%d %H:%M} UTC{note}"


def confirmation(item: str, question: str, note: str, *, stack: str, at: datetime, days: float) -> dict[str, Any]:
    """What the audit log gets for a yes."""
    told = {"item": item, "question": question, "stack": stack, "at": moment(at), "until": moment(_after(at, days))}
    return told | ({"note": note} if note else {})


def revocation(item: str, note: str, *, stack: str, at: datetime) -> dict[str, Any]:
    """What the audit log gets for a yes that is taken back."""
    return {"item": item, "stack": stack, "at": moment(at)} | ({"note": note} if note else {})


def confirmed(entries: Iterable[Entry], stack: str) -> dict[str, Confirmed]:
    """What was last said of each item for `stack`, where that was a yes; it may have expired. `entries` are oldest
    first. One that cannot be read takes away what was said before: it may have been a revocation."""
    found: dict[str, Confirmed] = {}
    for entry in entries:
        if entry.kind not in (Kind.CONFIRMED, Kind.REVOKED) or entry.data.get("stack") != stack:
            continue
        item = str(entry.data.get("item"))
        found.pop(item, None)
        if entry.kind == Kind.CONFIRMED and (yes := _read(entry)) is not None:
            found[item] = yes
    return found


def _read(entry: Entry) -> Confirmed | None:
    try:
        since, until = (datetime.fromisoformat(text) for text in (entry.happened, str(entry.data["until"])))
    except (KeyError, ValueError):
        return None
    if since.tzinfo is None or until.tzinfo is None:
        return None
    return Confirmed(entry.actor, since, until, str(entry.data.get("note", "")))


def _after(at: datetime, days: float) -> datetime:
    return at + timedelta(days=days)

"""A verdict on a database that is kept: what was compared, when, at which positions. It expires.

A switch asks for a fresh one. One that is too old, of another schema, or that cannot be read, is none: it counts as
what could not be checked.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from validation.result import Check, Verdict

VERDICT_VERSION = 1
"""Raised where the JSON form changes in a way that a reader must know of."""
LIMIT = timedelta(hours=24)
_AHEAD = timedelta(minutes=5)
"""How far the clock of who wrote may be ahead of who reads."""
Subject = Literal["rows", "structure"]
_LSN = r"^[0-9A-F]+/[0-9A-F]+$"


class UnreadableVerdict(ValueError):
    """A text that this version cannot read: it stands for no verdict at all."""


class KeptVerdict(BaseModel):
    """`at`: when the first of it was seen, so nothing in it is older. `source` and `target`: the WAL positions of both
    sides then. `fingerprint`: the digest of the source's schema. `tables` and `rows` were compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERDICT_VERSION
    subject: Subject
    outcome: Verdict
    at: AwareDatetime
    source: str = Field(pattern=_LSN)
    target: str = Field(pattern=_LSN)
    fingerprint: str = ""
    tables: int = Field(default=0, ge=0)
    rows: int = Field(default=0, ge=0)
    detail: str = ""

    @model_validator(mode="after")
    def _has_seen_something(self) -> Self:
        if self.subject == "rows" and self.outcome is Verdict.HOLDS and not self.tables:
            raise ValueError("it holds, and compared no table")
        return self

    def to_json(self) -> str:
        """To be kept."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> KeptVerdict:
        """Read what to_json wrote. Raises UnreadableVerdict."""
        try:
            body = json.loads(text)
        except ValueError as error:
            raise UnreadableVerdict(f"not a verdict: {error}") from None
        if not isinstance(body, dict) or body.get("version") != VERDICT_VERSION:
            raise UnreadableVerdict(f"no verdict of version {VERDICT_VERSION}")
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise UnreadableVerdict(f"not a verdict of version {VERDICT_VERSION}: {error.errors()[0]['msg']}") from None


def fresh(verdict: KeptVerdict, now: datetime, limit: timedelta = LIMIT) -> bool:
    """Whether it is young enough to act on. One from the future is of a clock that is wrong."""
    return -_AHEAD <= now - verdict.at <= limit


def standing(
    text: str | bytes | None, subject: Subject, now: datetime, *, limit: timedelta = LIMIT, fingerprint: str = ""
) -> Check:
    """What a kept verdict is worth now: it holds, it does not, or there is none to go by. A `fingerprint` that is given
    must be the verdict's."""
    name, expected = f"verdict on the {subject}", f"one that holds, at most {_hours(limit)} old"
    fix = "crossover validate database"
    if not text:
        return Check.unknown(name, expected=expected, why="there is none", fix=fix)
    try:
        kept = KeptVerdict.from_json(text)
    except UnreadableVerdict as error:
        return Check.unknown(name, expected=expected, why=str(error), fix=fix)
    why = _unusable(kept, subject, now, limit, fingerprint)
    if why:
        return Check.unknown(name, expected=expected, why=why, fix=fix)
    if kept.outcome is Verdict.COULD_NOT_CHECK:
        return Check.unknown(name, expected=expected, why=kept.detail or "it could not be checked", fix=fix)
    found = f"{kept.outcome.value}: {kept.rows} rows of {kept.tables} tables, {_when(kept.at)}, source at {kept.source}"
    return Check.that(name, kept.outcome.passed, expected=expected, found=found, fix=fix, detail=kept.detail)


def _unusable(kept: KeptVerdict, subject: Subject, now: datetime, limit: timedelta, fingerprint: str) -> str:
    if kept.subject != subject:
        return f"it is on the {kept.subject}"
    if not fresh(kept, now, limit):
        return f"it is of {_when(kept.at)}, now it is {_when(now)}"
    if fingerprint and kept.fingerprint != fingerprint:
        return "the schema has changed since"
    return ""


def _when(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _hours(limit: timedelta) -> str:
    return f"{limit / timedelta(hours=1):g} h"

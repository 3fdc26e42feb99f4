"""The audit log: what an entry holds, how entries are chained, and where a chain is broken. Pure.

Each entry has the hash of the one before it in what its own hash is made of, so that none can be changed, taken out or
put in without changing every hash after it. A hash that was kept elsewhere so vouches for all that came before.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

GENESIS = "0" * 64
"""What stands for the hash before the first entry."""
MASKED = "***"
_HEX = r"^[0-9a-f]{64}$"
_LONGEST = 2000
"""Characters of one text in an entry."""
_UNTOLD = r"\w*(?:password|passwd|secret|api_?key|(?:access|auth|api)_?token)"
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/@]+@", re.IGNORECASE)
_NAMED = re.compile(rf"\b({_UNTOLD}\"?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;]+)", re.IGNORECASE)
_HIDDEN = re.compile(_UNTOLD, re.IGNORECASE)


class Kind(StrEnum):
    """What happened. A reader takes others, too: those of a newer version."""

    BEGUN = "transition begun"
    ENDED = "transition ended"
    VERDICT = "verdict kept"
    CONFIG = "config changed"
    APPROVED = "approved"
    REFUSED = "refused"
    HELD = "held back"
    OUTSIDE = "outside window"
    ACCEPTANCE = "acceptance"
    CONFIRMED = "confirmed"
    REVOKED = "confirmation revoked"


class Entry(BaseModel):
    """One entry. `at`: when it was appended, RFC 3339 UTC; `component`: empty where it is of none, or of all;
    `data`: as its kind has it, with when it happened as `at`. Keys of a newer version are kept: they are hashed."""

    model_config = ConfigDict(frozen=True, extra="allow")

    seq: int = Field(ge=1)
    at: str
    kind: str
    component: str
    actor: str
    data: dict[str, Any]
    previous: str = Field(pattern=_HEX)
    hash: str = Field(pattern=_HEX)

    @classmethod
    def after(
        cls, last: Entry | None, *, at: str, kind: str, component: str, actor: str, data: Mapping[str, Any]
    ) -> Self:
        """The entry that follows `last`; the first where there is none."""
        body = {
            "seq": last.seq + 1 if last else 1,
            "at": at,
            "kind": kind,
            "component": component,
            "actor": actor,
            "data": plain(data),
            "previous": last.hash if last else GENESIS,
        }
        return cls.model_validate({**body, "hash": digest(body)})

    @classmethod
    def read(cls, line: str) -> Self:
        """What `line` gives. Raises ValueError, which says what is wrong with it."""
        try:
            return cls.model_validate(json.loads(line))
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None

    @property
    def line(self) -> str:
        """As it is kept: one line of canonical JSON."""
        return canonical(self.model_dump())

    @property
    def happened(self) -> str:
        """When it happened; when it was appended where it does not say."""
        return str(self.data.get("at") or self.at)


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with sorted keys, without spaces, in ASCII: the one text of `value`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(body: Mapping[str, Any]) -> str:
    """The hash of an entry: sha256 over the canonical JSON of all of it but `hash`."""
    rest = {key: value for key, value in body.items() if key != "hash"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a chain is broken first, and how."""

    place: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


def first_broken(lines: Iterable[tuple[str, str]]) -> Broken | None:
    """The first of `lines` (each with where it lies) that does not follow the one before it; None where all do."""
    last: Entry | None = None
    for number, (where, line) in enumerate(lines, 1):
        place = f"entry {number} ({where})"
        try:
            entry = Entry.read(line)
        except ValueError as error:
            return Broken(place, f"it cannot be read: {error}")
        if (why := _unfit(entry, last, number, line)) is not None:
            return Broken(place, why)
        last = entry
    return None


def _unfit(entry: Entry, last: Entry | None, number: int, line: str) -> str | None:
    """Why `entry`, read from `line`, is not the one that follows `last`."""
    if entry.seq != number:
        return f"it says that it is entry {entry.seq}: what should stand here was taken out, or this was put in"
    if entry.previous != (last.hash if last else GENESIS):
        return "it does not follow the entry before it, which is another than when this was written"
    if entry.hash != digest(entry.model_dump()) or entry.line != line:
        return "its content is another than when it was written"
    return None


def plain(value: Any) -> Any:
    """`value` as JSON has it, bounded in length, without what looks like a password: an entry is kept for good."""
    if isinstance(value, Mapping):
        return {str(key): MASKED if _HIDDEN.search(str(key)) else plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    text = _NAMED.sub(rf"\g<1>{MASKED}", _LOGIN.sub(rf"\g<1>:{MASKED}@", str(value)))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def moment(at: datetime) -> str:
    """RFC 3339 UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

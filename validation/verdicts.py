"""A verdict that is kept in the route: what the last comparison found, and when. It expires.

A comparison that a switch made, and was cut off after, spares the run that goes on with it to make it again; a verdict
that is too old, that does not hold, or that cannot be read, is none. So it is a text in the route: one that another
version wrote must not make the route unreadable.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from validation.result import Verdict

SHOWN = 300
"""Characters of a detail that are kept, and shown."""
AHEAD = timedelta(minutes=5)
"""How far the clock of who wrote may be ahead of who reads."""
_LSN = r"^[0-9A-F]+/[0-9A-F]+$"


class KeptVerdict(BaseModel):
    """`at`: when the comparison began, or, where it went on with another, when the oldest of that was seen: nothing in
    it is older. `active`: the backend that served. `ahead_of`: the switch that it was made for, as its transition is
    named; empty: none (crossover validate, or a second side that joined). `after`: when the last transition had ended
    then, as the route's history says. Of a database: `positions`, of each backend in its WAL when the run compared, and
    `fingerprint`, the digest of what the side that serves declared; of language models the latter is of who was judged,
    and by what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """Raised where the JSON form changes in a way that a reader must know of."""
    outcome: Verdict
    at: AwareDatetime
    active: str
    ahead_of: str = ""
    after: str = ""
    positions: dict[str, str] = Field(default_factory=dict)
    fingerprint: str = ""
    detail: str = ""

    def to_json(self) -> str:
        """For the route."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @classmethod
    def read(cls, text: str | None) -> KeptVerdict | None:
        """What to_json wrote; None where there is nothing, or nothing that this version can read."""
        try:
            return cls.model_validate_json(text or "")
        except ValidationError:
            return None

    def age(self, now: datetime) -> timedelta:
        """How old it is."""
        return now - self.at

    def fresh(self, now: datetime, limit: timedelta) -> bool:
        """Whether it is young enough to act on. One from the future is of a clock that is wrong."""
        return -AHEAD <= self.age(now) <= limit

    def spares(self, switch: str, after: str, now: datetime, limit: timedelta) -> bool:
        """Whether the `switch` need not compare anew: this was made for it, holds, is fresh, and no transition has
        ended since, so that run was cut off."""
        same = bool(switch) and (self.ahead_of, self.after) == (switch, after)
        return same and self.outcome.passed and self.fresh(now, limit)

    def told(self, now: datetime, limit: timedelta) -> str:
        """For people: `holds, 3.2 h old`, and whether it is stale."""
        words = self.outcome.value.replace("_", " ")
        text = f"{words}, {max(self.age(now), timedelta()) / timedelta(hours=1):.1f} h old"
        return text if self.fresh(now, limit) else f"{text}: stale, the limit is {limit / timedelta(hours=1):g} h"


def moment(at: datetime) -> str:
    """A time for people: RFC 3339 UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

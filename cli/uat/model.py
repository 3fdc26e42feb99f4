"""The report of a run of the user acceptance tests: pure, and the same data in JSON and on the page."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.errors import CliError

Outcome = Literal["holds", "does not hold", "not asked"]


class Expectation(BaseModel):
    """What one user expects, and what came of it. `who`: the user; `test`: where it is written down; `detail`: why it
    does not hold, or was not asked."""

    model_config = ConfigDict(frozen=True)

    who: str
    expects: str
    test: str
    outcome: Outcome
    seconds: float = Field(ge=0)
    detail: str = ""


class UatReport(BaseModel):
    """One run. `stages`: by component, where it stood, or why that is not known; `moved`: that a stage changed while
    it ran; `earlier`: the digest of the report that it was held against; `seen`: what a later run is to find again."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    stack: str
    by: str
    began: str
    ended: str
    stages: dict[str, str]
    moved: bool = False
    earlier: str = ""
    expectations: tuple[Expectation, ...]
    seen: dict[str, Any] = Field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether all that was asked holds, something was, and nothing moved meanwhile."""
        asked = [one for one in self.expectations if one.outcome != "not asked"]
        return bool(asked) and not self.moved and all(one.outcome == "holds" for one in asked)

    @property
    def counts(self) -> dict[str, int]:
        """By outcome, those that there are."""
        outcomes = [one.outcome for one in self.expectations]
        return {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}

    @property
    def digest(self) -> str:
        """The sha256 of the data, as JSON with sorted keys."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The whole, with its digest and whether it was accepted."""
        return json.dumps(self.model_dump(mode="json") | {"accepted": self.accepted, "digest": self.digest}, indent=1)

    @classmethod
    def read(cls, text: str) -> Self:
        """What to_json wrote. Raises CliError where it is no such report, or was changed since."""
        try:
            found = json.loads(text)
            made = cls.model_validate(found)
            kept = found["digest"]
        except (ValidationError, ValueError, KeyError, TypeError):
            raise CliError("that is no report of crossover uat", "crossover uat --json > uat.json makes one") from None
        if kept != made.digest:
            raise CliError(
                "the report was changed since it was made: what it says was seen may never have been there",
                "take the file as crossover uat wrote it",
            )
        return made

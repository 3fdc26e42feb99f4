"""What a check answers: it holds, it does not, or it could not be checked.

The third answer is never counted as the first (Ghostferry tells "incorrect" from
"could not verify" for the same reason): a gate that saw nothing has proven nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from rich.table import Table

REPORT_VERSION = 1
"""Raised where the JSON form changes in a way that a reader must know of."""


class Verdict(StrEnum):
    """The three answers."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does_not_hold"
    COULD_NOT_CHECK = "could_not_check"

    @property
    def passed(self) -> bool:
        """Whether work may go on: only where the check holds."""
        return self is Verdict.HOLDS


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for many: a failure outweighs all, then what could not be checked.

    No verdicts at all is COULD_NOT_CHECK.
    """
    seen = set(verdicts)
    if Verdict.DOES_NOT_HOLD in seen:
        return Verdict.DOES_NOT_HOLD
    if Verdict.COULD_NOT_CHECK in seen or not seen:
        return Verdict.COULD_NOT_CHECK
    return Verdict.HOLDS


class UnreadableReport(ValueError):
    """A report's JSON that this version cannot read: it stands for no verdict at all."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Frozen):
    """One question and its answer. `expected` and `found` are for people; `fix` says what to do
    where it does not hold; `detail` names examples or the reason why nothing could be checked."""

    name: str
    outcome: Verdict
    expected: str
    found: str
    fix: str = ""
    detail: str = ""

    @classmethod
    def none_wrong(cls, name: str, *, wrong: int, of: int, what: str, fix: str = "", detail: str = "") -> Self:
        """A check that counted: none of the `of` things examined may be `wrong`.

        Where nothing was examined the answer is COULD_NOT_CHECK, whatever `wrong` says.
        """
        if of <= 0:
            return cls.unknown(name, expected=f"0 {what}", why="nothing was there to examine", fix=fix)
        outcome = Verdict.HOLDS if wrong == 0 else Verdict.DOES_NOT_HOLD
        return cls(name=name, outcome=outcome, expected=f"0 {what}", found=f"{wrong} of {of}", fix=fix, detail=detail)

    @classmethod
    def that(cls, name: str, holds: bool, *, expected: str, found: str, fix: str = "", detail: str = "") -> Self:
        """A check with a plain yes or no."""
        outcome = Verdict.HOLDS if holds else Verdict.DOES_NOT_HOLD
        return cls(name=name, outcome=outcome, expected=expected, found=found, fix=fix, detail=detail)

    @classmethod
    def unknown(cls, name: str, *, expected: str, why: str, fix: str = "") -> Self:
        """A check that could not be made, and why."""
        outcome = Verdict.COULD_NOT_CHECK
        return cls(name=name, outcome=outcome, expected=expected, found="unknown", fix=fix, detail=why)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Report(_Frozen):
    """The checks of one subject. `figures` are numbers for machines; `at` is RFC 3339 UTC."""

    version: int = REPORT_VERSION
    subject: str
    checks: tuple[Check, ...]
    figures: Mapping[str, float] = Field(default_factory=dict)
    at: str = Field(default_factory=_now)

    def overall(self) -> Verdict:
        """The one verdict of all checks; COULD_NOT_CHECK where there are none."""
        return combine(check.outcome for check in self.checks)

    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold or could not be made."""
        return tuple(check for check in self.checks if not check.outcome.passed)

    def to_json(self, indent: int | None = None) -> str:
        """The machine-readable form, with the overall verdict spelled out."""
        body = {**self.model_dump(mode="json"), "overall": self.overall().value}
        return json.dumps(body, indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """Read what to_json wrote.

        Raises UnreadableReport where the text is no report, is of another version, or states an
        overall verdict that its own checks do not bear out.
        """
        try:
            body = json.loads(text)
        except ValueError as error:
            raise UnreadableReport(f"not a report: {error}") from error
        if not isinstance(body, dict) or body.get("version") != REPORT_VERSION:
            found = body.get("version") if isinstance(body, dict) else body
            raise UnreadableReport(f"report of version {found!r}, this program reads version {REPORT_VERSION}")
        stated = body.pop("overall", None)
        try:
            report = cls.model_validate(body)
        except ValidationError as error:
            raise UnreadableReport(f"not a report of version {REPORT_VERSION}: {_first(error)}") from error
        if report.overall().value != stated:
            raise UnreadableReport(
                f"the report on {report.subject!r} says {stated!r}, its checks say {report.overall().value!r}"
            )
        return report

    def table(self) -> Table:
        """The checks as a table for people."""
        # Imported here: pods that only write a ledger never draw a table, and rich is slow to load.
        from rich.table import Table
        from rich.text import Text

        verdict = self.overall()
        table = Table(title=Text.assemble(f"{self.subject}: ", _styled(verdict)), title_justify="left")
        for column in ("check", "verdict", "expected", "found"):
            table.add_column(column, overflow="fold")
        for check in self.checks:
            found = check.found if not check.detail else f"{check.found} ({check.detail})"
            if not check.outcome.passed and check.fix:
                found += f"\nfix: {check.fix}"
            table.add_row(Text(check.name), Text.assemble(_styled(check.outcome)), Text(check.expected), Text(found))
        return table


_STYLES = {
    Verdict.HOLDS: ("holds", "green"),
    Verdict.DOES_NOT_HOLD: ("DOES NOT HOLD", "bold red"),
    Verdict.COULD_NOT_CHECK: ("COULD NOT CHECK", "bold yellow"),
}


def _styled(verdict: Verdict) -> tuple[str, str]:
    return _STYLES[verdict]


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "the whole"
    return f"{where}: {problem['msg']}"

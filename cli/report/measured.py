"""What the demonstration measured: reports/demo.json, which local/demo/figures.py writes, as far as it is shown."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.errors import CliError
from contracts.stages import Component

COUNTS = ("acknowledged", "lost", "doubled", "reordered", "changed", "caller_errors")
"""What the ledger of every component counts; none where it has no such thing."""


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Measured(_Read):
    """One switch under load. `times`: stalls and latencies, in ms, and counts that only its component has."""

    component: Component
    origin: str = Field(alias="from")
    goal: str = Field(alias="to")
    started: str
    seconds: float
    verdict: str
    rate: float | None = None
    window_seconds: float | None = None
    counts: dict[str, int | None]
    times: dict[str, float | None]
    acknowledged_by: dict[str, int] = Field(default_factory=dict)
    failures: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """An entry of `switches`."""
        told = {*COUNTS, "rate", "window_seconds", "seconds"}
        times = {key: value for key, value in entry.items() if key not in told and _number(value)}
        return cls.model_validate({**entry, "counts": {name: entry.get(name) for name in COUNTS}, "times": times})


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Demonstration(_Read):
    """All of it. `figures`: of each load as a whole."""

    verdict: str
    problem: str | None = None
    run: dict[str, Any] = Field(default_factory=dict)
    switches: tuple[Measured, ...]
    figures: dict[str, dict[str, float | None]] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What stands in the file. Raises CliError."""
        try:
            told = _Told.model_validate_json(path.read_bytes())
            switches = tuple(Measured.of(entry) for entry in told.switches)
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else f"{error.error_count()} problems"
            raise CliError(
                f"{path} cannot be read as a demonstration's figures ({why})",
                "name the reports/demo.json of `make demo`",
            ) from None
        figures = {name: part["figures"] for name, part in told.parts.items() if part.get("figures")}
        return cls(verdict=told.verdict, problem=told.problem, run=told.run, switches=switches, figures=figures)

    def only(self, components: Collection[Component]) -> Self:
        """Its switches of these."""
        return self.model_copy(
            update={"switches": tuple(one for one in self.switches if one.component in components)}
        )  # fmt: skip


class _Told(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="allow")

    verdict: str
    problem: str | None = None
    run: dict[str, Any] = Field(default_factory=dict)
    switches: list[dict[str, Any]]

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """`whole`, `effects`, and what each component's load adds."""
        return {name: part for name, part in (self.model_extra or {}).items() if isinstance(part, dict)}

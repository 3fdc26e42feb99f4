"""Stack config of what was seen of the live stack: written by `crossover attest`, stated by Transitions, judged by the
policy pack (docs/policy.md). The program itself decides nothing by it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contracts.stages import Component, Stage


class ComponentEvidence(BaseModel):
    """What was seen of one component. `stage`: where its route stood; `verdict`: what its last comparison said, and
    when that began."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Stage | Literal["absent"]
    verdict: str | None = None
    verdict_at: AwareDatetime | None = None


class EvidenceSettings(BaseModel):
    """What was seen `at` a time, of all; None: nothing was. `backup_at`: when the last backup was made, None where none
    was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime | None = None
    backup_at: AwareDatetime | None = None
    components: dict[Component, ComponentEvidence] = Field(default_factory=dict)

    def of(self, component: Component) -> dict[str, Any] | None:
        """What a Transition of `component` states; None where nothing was seen of it."""
        found = self.components.get(component)
        if found is None:
            return None
        stated = {"at": self.at, "backup_at": self.backup_at, **found.model_dump()}
        return {key: _text(value) for key, value in stated.items() if value is not None}


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

"""Stack config of the journey: what the `crossover` command asks before it moves a component on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from components.config_errors import unfit
from contracts.confirmations import DEFAULT_CONFIRM_DAYS, InvalidQuestion, questions_of
from contracts.windows import EXAMPLE, InvalidWindow, Window


def _window(text: str) -> str:
    try:
        Window.parse(text)
    except InvalidWindow as error:
        raise unfit(
            f"{text!r} is no maintenance window ({error}): nothing would be moved", fix=f'"{EXAMPLE}"'
        ) from None
    return text


def _questions(given: dict[str, str]) -> dict[str, str]:
    try:
        questions_of(given)
    except InvalidQuestion as error:
        fix = '\'{"change-ticket": "Is the ticket approved?"}\''
        raise unfit(f"{error}: nobody could confirm it", fix=fix) from None
    return given


class MigrationSettings(BaseModel):
    """What the `crossover` command asks before it moves a component on. Updates and ways back ask nothing of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Annotated[str, AfterValidator(_window)] | None = None
    """When that may be: contracts/windows.py."""
    preflight: Literal["off", "required"] = "off"
    """`required`: only where every question was answered with yes, and what `crossover preflight` asks from outside of
    pods holds."""
    questions: Annotated[dict[str, str], AfterValidator(_questions)] = Field(default_factory=dict)
    """What people are asked beside contracts/confirmations.py, or instead: by item; an empty text takes one out."""
    confirm_days: float = Field(default=DEFAULT_CONFIRM_DAYS, gt=0, le=365, allow_inf_nan=False)
    """How long a yes stands."""
    accept: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Items of machine, by name, that are told and hold up no migration."""

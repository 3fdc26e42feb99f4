"""Stack config of the journey: what the `crossover` command asks before it moves a component on."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from components.config_errors import unfit
from contracts.windows import EXAMPLE, InvalidWindow, Window


def _window(text: str) -> str:
    try:
        Window.parse(text)
    except InvalidWindow as error:
        raise unfit(
            f"{text!r} is no maintenance window ({error}): nothing would be moved", fix=f'"{EXAMPLE}"'
        ) from None
    return text


class MigrationSettings(BaseModel):
    """What the `crossover` command asks before it moves a component on. Updates and ways back ask nothing of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Annotated[str, AfterValidator(_window)] | None = None
    """When that may be: contracts/windows.py."""

"""What config says of the move of backtests, as its Transition is told. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class InvalidMoving(ValueError):
    """A text that says nothing of a move; what is wrong is its text."""


class Gate(BaseModel):
    """What must agree before a switch, beside the suite that is shipped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jobs: int = Field(default=20, ge=0, le=1000)
    """How many of the user's own newest runs are done by both engines. 0: the shipped suite alone."""
    tolerance: float = Field(default=1e-9, gt=0, lt=1, allow_inf_nan=False)
    """From which distance of two amounts on, as a fraction of them, they differ."""


class BacktestMoving(BaseModel):
    """See each field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_percent: float = Field(default=100.0, ge=0, le=100, allow_inf_nan=False)
    """Percent of the runs that the engine which does not serve does, too, in shadow and scale, when nobody waits."""
    gate: Gate = Field(default_factory=Gate)

    def to_json(self) -> str:
        """As parse() reads it."""
        return self.model_dump_json()

    @classmethod
    def parse(cls, text: str) -> BacktestMoving:
        """From what to_json wrote. Raises InvalidMoving."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidMoving(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from None

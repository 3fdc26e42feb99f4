"""What config says of the move of the language model service, as its Transition is told. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.llm_memory import GpuNeeds


class InvalidMoving(ValueError):
    """A text that says nothing of a move; what is wrong is its text."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Record):
    """What the side that came to serve may cost callers while a switch is watched; beyond it traffic goes back."""

    error_rate: float = Field(default=0.02, ge=0, lt=1, allow_inf_nan=False)
    """Failed calls of all calls there. One is let pass whatever their number is, unless this is 0: of ten calls a
    single failure says nothing of a rate of 2 %."""
    ttft_ratio: float = Field(default=3.0, ge=1, allow_inf_nan=False)
    """Its median time to the first token, against that of the side that served before."""
    ttft_ms: float = Field(default=100.0, ge=0, allow_inf_nan=False)
    """A first token within so many milliseconds is soon enough, whatever the ratio: two fast sides differ by chance."""
    calls: int = Field(default=5, ge=1, le=1000)
    """How many answers it takes to judge at all. Where callers get fewer, the watch asks itself."""
    sample: int = Field(default=8, ge=0, le=100)
    """How many prompts of the quality gate both sides are asked while a switch is watched, off the callers' path: what
    shows that the new side is worse takes traffic back. 0: none."""


class Cost(_Record):
    """What answers cost, in one currency, and how much more ours may. An hour counts at the load that the quality gate
    offers, `concurrency` calls at a time: under more load a token of ours is cheaper."""

    hosted_input: float = Field(ge=0, allow_inf_nan=False)
    """A million tokens of prompts at the hosted side."""
    hosted_output: float = Field(gt=0, allow_inf_nan=False)
    """A million generated tokens there."""
    own_hour: float = Field(gt=0, allow_inf_nan=False)
    """An hour of all that our own models run on."""
    ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How many times the hosted side's cost of 1,000 tokens ours may be. None: it is told, and decides nothing."""


class Quality(_Record):
    """What the quality gate asks of our own models before they serve (validation/llm_service)."""

    margin: float = Field(default=0.05, gt=0, lt=1, allow_inf_nan=False)
    """How much worse they may be than the hosted ones: in right answers, in their form, and in being language at all,
    each as a share of the prompts. The fewer prompts there are, the wider it has to be for the gate to say anything."""
    agreement: float = Field(default=0.7, gt=0, lt=1, allow_inf_nan=False)
    """The share of the prompts in which they must be right, or say what the hosted ones said. Lower it only for models
    that are known to differ."""
    per_kind: int | None = Field(default=None, ge=1)
    """How many prompts of each kind are asked at most. None: all."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """Calls in flight at each side."""
    cost: Cost | None = None
    """Prices of both sides. None: cost is neither told nor judged."""


class LlmMoving(_Record):
    """See each field."""

    canary_percent: int = Field(default=100, ge=1, le=100)
    """Percent of the conversations that our own models answer at stage scale; the hosted side answers the rest."""
    sample_percent: float = Field(default=5.0, ge=0, le=100, allow_inf_nan=False)
    """Percent of the calls that the side which does not serve is sent, too, in shadow and scale."""
    quality: Quality = Field(default_factory=Quality)
    prompts: str | None = None
    """The path of a file with prompts of the user's, where the Transition finds it. None: those alone that are
    shipped."""
    budget: Budget = Field(default_factory=Budget)
    gpus: GpuNeeds = GpuNeeds(())
    """Of our own models; empty: they run on CPUs."""
    own: str = ""
    """A digest of what config says of our own models: what was found out about others is not true of them."""

    @property
    def share(self) -> int | None:
        """`canary_percent` as a route has it."""
        return None if self.canary_percent == 100 else self.canary_percent

    @property
    def sample(self) -> float | None:
        """`sample_percent` as a route has it."""
        return self.sample_percent or None

    def to_json(self) -> str:
        """As parse() reads it."""
        return self.model_dump_json(exclude_none=True)

    @classmethod
    def parse(cls, text: str) -> LlmMoving:
        """From what to_json wrote. Raises InvalidMoving."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidMoving(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from None

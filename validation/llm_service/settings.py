"""What is expected of the new side. Every margin is stated here, and told in each report."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from validation.llm_service.asking import Manner


class Settings(BaseModel):
    """The gate's margins and limits, and how both sides are asked. All shares are from 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of each limit, one-sided."""
    margin: float = Field(default=0.05, gt=0, lt=1)
    """By how much the new side's share of right answers may be lower."""
    format_margin: float = Field(default=0.05, gt=0, lt=1)
    """The same of the share that has the form which was asked for."""
    degenerate_margin: float = Field(default=0.05, gt=0, lt=1)
    """The same of the share that is language at all."""
    agreement: float = Field(default=0.7, gt=0, lt=1)
    """The share in which the new side must be right, or say what the old side said. Lower it only for models that are
    known to differ: where few answers are right, this is what tells a weak model from a broken one."""
    logprob_margin: float = Field(default=1.0, gt=0)
    """By how many nats the mean log-probability of the new side's tokens may be lower. Not judged where a side gives
    none."""
    unanswered: float = Field(default=0.02, ge=0, lt=1)
    """The share of prompts that may stay without an answer at each side, after retries."""
    ttft_ratio: float | None = Field(default=3.0, gt=0)
    """How many times the old side's time to the first token (p95) the new one's may be. None: not judged."""
    cost_ratio: float | None = Field(default=None, gt=0)
    """The same of the cost of 1,000 tokens, where both have a price. None: not judged."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """Calls in flight at each side."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """For one whole answer."""
    tries: int = Field(default=3, ge=1, le=10)
    seed: int = 7

    @property
    def manner(self) -> Manner:
        """How both sides are asked."""
        return Manner(
            concurrency=self.concurrency, timeout=self.timeout_seconds, tries=self.tries, seed=self.seed
        )  # fmt: skip

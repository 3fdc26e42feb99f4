"""The judges of a switch over the prompts of validation/llm_service, by what config says of them."""

from __future__ import annotations

from pathlib import Path

from contracts.llm_moving import Cost, LlmMoving
from contracts.stages import Component, backend_of
from contracts.stages import Side as Ends
from cutover.errors import StepFailed
from cutover.llm_service.asking import Model
from validation.llm_service.asking import Price
from validation.llm_service.gate import Settings, Side, judge
from validation.llm_service.prompts import BadPrompts, Prompt, few, load, stratified
from validation.llm_service.sampling import sample
from validation.result import Check, Report


class Judging:
    """See Judges."""

    def __init__(self, wished: LlmMoving) -> None:
        self._wished = wished
        quality = wished.quality
        self._settings = Settings(
            margin=quality.margin,
            format_margin=quality.margin,
            degenerate_margin=quality.margin,
            agreement=quality.agreement,
            concurrency=quality.concurrency,
            ttft_ratio=wished.budget.ttft_ratio,
            cost_ratio=quality.cost.ratio if quality.cost is not None else None,
        )

    def judge(self, old: Model, new: Model) -> Report:
        """See Judges. Raises StepFailed where the user's prompts are none."""
        prompts, per_kind = self._prompts(), self._wished.quality.per_kind
        if per_kind is not None:
            prompts = stratified(prompts, per_kind)
        subject = f"{old.name} -> {new.name}"
        return judge(self._side(old), self._side(new), prompts, self._settings, subject=subject)

    def sample(self, old: Model, new: Model, count: int) -> Check:
        """See Judges. One question at a time at each side, for callers ask, too."""
        alone = self._settings.model_copy(update={"concurrency": 1})
        return sample(self._side(old), self._side(new), few(self._prompts(), count), alone)

    def _prompts(self) -> tuple[Prompt, ...]:
        try:
            return load(*([Path(self._wished.prompts)] if self._wished.prompts else []))
        except BadPrompts as error:
            raise StepFailed(f"{error}", "Mend the file that crossover:llm_service.quality.prompts names") from error

    def _side(self, model: Model) -> Side:
        return Side(model.backend, model.name, model.open, price_at(model.backend, self._wished.quality.cost))


def price_at(backend: str, cost: Cost | None) -> Price | None:
    """What answers of `backend` cost."""
    if cost is None:
        return None
    if backend == backend_of(Component.LLM_SERVICE, Ends.OLD):
        return Price(input_per_million=cost.hosted_input, output_per_million=cost.hosted_output)
    return Price(per_hour=cost.own_hour)

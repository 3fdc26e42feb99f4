"""Before a switch: preflight, the first route, and a second side that is warm and gets a sample of the calls."""

from __future__ import annotations

from adapters.known import Fact, Unknown
from contracts.routes import Route
from contracts.stages import serving_backend
from cutover.context import CouldNotCheck, CutoverError, StepFailed
from cutover.llm_service import asking, preflight
from cutover.llm_service.asking import Model, Refused, Wrong
from cutover.llm_service.due import sample_at, share_at
from cutover.llm_service.work import COMPONENT, HOSTED, OURS, LlmWork
from cutover.plan import Transition
from cutover.refusing import tell


class Joining:
    """The steps that bring a side in."""

    def __init__(self, work: LlmWork) -> None:
        self._w = work
        self._c = work.context

    def preflight(self, transition: Transition) -> str:
        """All that must hold before anything is touched, each item on a line. See preflight/."""
        found = preflight.examine(self._w, transition)
        self._c.checks.extend(found)
        return tell(found, self._c.say)

    def establish(self, transition: Transition) -> str:
        """Write the first route, at the wanted stage."""
        stage = transition.goal
        active = serving_backend(COMPONENT, stage)
        self._c.write(Route(component=COMPONENT, stage=stage, active=active, epoch=1))
        return f"{active} serves"

    def warm_up(self, transition: Transition) -> str:
        """Wait until both sides answer as every alias. A model that loads for minutes is waited for; one that answers
        wrongly is not."""
        began, found = self._c.now(), dict[Model, Fact[str]]()
        models = self._w.of(HOSTED, OURS)

        def warm() -> bool:
            found.update(asking.generations([m for m in models if found.get(m) != ""], self._w.pace.answer))
            wrong = [m for m in models if isinstance(found[m], Refused | Wrong | str) and found[m] != ""]
            if wrong:
                raise StepFailed(
                    "; ".join(_told(model, found[model]) for model in wrong),
                    "Traffic is where it was. See the model's logs, its limits and its chat template",
                )
            return all(answer == "" for answer in found.values())

        def cold() -> list[str]:
            return [_told(model, found[model]) for model in models if found[model] != ""]

        def too_late() -> CutoverError:
            return CouldNotCheck(
                f"not every model came up within {self._w.pace.load:g} s: {'; '.join(cold())}",
                "See the pods of our own models (kubectl get pods), and what they log",
            )

        self._c.until(warm, self._w.pace.load, too_late, every=1.0, note=lambda: "; ".join(cold()))
        return f"{len({model.place for model in models})} models answer, {self._c.now() - began:.1f} s"

    def start_mirror(self, transition: Transition) -> str:
        """Let a sample of the calls go to the other side, off the callers' path."""
        sample = sample_at(transition.goal, self._w.moving)
        if self._c.route.sample != sample:
            self._c.write(self._c.route.model_copy(update={"sample": sample}))
        return f"{sample or 0:g} % of the calls go to {self._w.passive}, too"

    def record(self, transition: Transition) -> str:
        """Write the stage that was reached. From complete: the hosted side, proven now, gets its share again."""
        stage, moving = transition.goal, self._w.moving
        share, sample = share_at(stage, moving), sample_at(stage, moving)
        update = {"stage": stage, "share": share, "sample": sample, "progress": None}
        self._c.write(self._c.route.model_copy(update=update))
        return stage.value


def _told(model: Model, answer: Fact[str]) -> str:
    why = answer.why if isinstance(answer, Unknown) else answer
    return f"{model.name} of {model.backend}: {why}"

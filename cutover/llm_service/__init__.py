"""The effects of the language models' transitions, one method a step of cutover/tables.py."""

from __future__ import annotations

from contracts.llm_moving import LlmMoving
from cutover.context import Context
from cutover.llm_service.asking import Model
from cutover.llm_service.gate import Judges
from cutover.llm_service.joining import Joining
from cutover.llm_service.leaving import Leaving
from cutover.llm_service.switching import Switching
from cutover.llm_service.watching import Watching
from cutover.llm_service.work import LlmWork, Models, Pace
from cutover.plan import Step, StepMethod


class LlmSteps:
    """All steps of one run, over shared state."""

    def __init__(
        self,
        context: Context,
        models: Models,
        front: Model,
        judges: Judges,
        moving: LlmMoving,
        pace: Pace | None = None,
    ) -> None:
        work = LlmWork(context, models, front, judges, moving, pace or Pace())
        joining, switching, leaving = Joining(work), Switching(work), Leaving(work)
        watching = Watching(work, switching)
        self.undo = switching.undo
        self.readmit = switching.readmit
        self.due = switching.due
        self.tidy = leaving.tidy
        self.steps: dict[Step, StepMethod] = {
            Step.PREFLIGHT: joining.preflight,
            Step.ESTABLISH: joining.establish,
            Step.WARM_UP: joining.warm_up,
            Step.START_MIRROR: joining.start_mirror,
            Step.RECORD: joining.record,
            Step.COMPARE: switching.compare,
            Step.OPEN: switching.open,
            Step.ACKNOWLEDGE: switching.acknowledge,
            Step.SHIFT: switching.shift,
            Step.WATCH: watching.watch,
            Step.RETIRE: leaving.retire,
        }

    def added_topics(self) -> tuple[str, ...]:
        """None: language models have no topics."""
        return ()

    def close(self) -> None:
        """Nothing: connections are made anew for each question."""


__all__ = ["LlmSteps", "Model", "Models", "Pace"]

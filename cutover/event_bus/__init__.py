"""The effects of the event bus's transitions, one method a step of cutover/plan.py."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.event_bus.base import EventLog
from contracts.stages import Stage
from cutover.context import Context
from cutover.event_bus.fleeing import Fleeing
from cutover.event_bus.joining import Joining
from cutover.event_bus.leaving import Leaving
from cutover.event_bus.sweeping import Sweeping
from cutover.event_bus.switching import Switching
from cutover.event_bus.work import BusWork
from cutover.fitting import added_topics, refuse_other_partitions
from cutover.plan import Step, StepMethod


class EventBusSteps:
    """All steps of one run, over shared state."""

    def __init__(
        self,
        context: Context,
        logs: Mapping[str, EventLog],
        topics: tuple[str, ...],
        volumes: Mapping[str, int] | None = None,
    ) -> None:
        self._work = BusWork(context, logs, topics, volumes or {})
        joining, switching, leaving = Joining(self._work), Switching(self._work), Leaving(self._work)
        fleeing, sweeping = Fleeing(self._work), Sweeping(self._work)
        self.undo = switching.undo
        self.readmit = switching.readmit
        self.steps: dict[Step, StepMethod] = {
            Step.PREFLIGHT: joining.preflight,
            Step.PREPARE: joining.prepare,
            Step.ESTABLISH: joining.establish,
            Step.START_MIRROR: joining.start_mirror,
            Step.BACKFILL: joining.backfill,
            Step.COMPARE: self._work.compare,
            Step.PROVE_WAY_BACK: joining.prove_way_back,
            Step.FENCE: switching.fence,
            Step.SEAL: switching.seal,
            Step.DRAIN: switching.drain,
            Step.CHECK: switching.check,
            Step.OPEN: switching.open,
            Step.WATCH: switching.watch,
            Step.FINISH_GROUPS: leaving.finish_groups,
            Step.RETIRE: leaving.retire,
            Step.RECORD: joining.record,
            Step.ADD_TOPICS: joining.add_topics,
            Step.SURVEY: fleeing.survey,
            Step.BREAK_OFF: fleeing.break_off,
            Step.FLEE: fleeing.flee,
            Step.COUNT: fleeing.count,
            Step.SWEEP: sweeping.sweep,
        }

    def added_topics(self) -> tuple[str, ...]:
        """The topics that are new in config. Raises StepFailed where config does not fit the route."""
        route, settings = self._work.context.route, next(iter(self._work.logs.values())).settings
        refuse_other_partitions(route, settings.partitions)
        return added_topics(route, self._work.topics)

    def tidy(self) -> str:
        """Nothing: what is copied to a backend that is not deployed any more goes with it."""
        return ""

    def due(self, wanted: Stage) -> tuple[Step, ...]:
        """Nothing that config asks for beside a journey but topics."""
        return ()

    def close(self) -> None:
        """Give up connections."""
        self._work.close()

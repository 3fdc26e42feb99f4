"""The effects of the database's transitions, one method a step of cutover/tables.py."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.postgres.driver import Address
from contracts.stages import Stage
from cutover.context import Context
from cutover.database.adding import Adding
from cutover.database.defining import Defining
from cutover.database.due import due
from cutover.database.fleeing import Fleeing
from cutover.database.joining import Joining
from cutover.database.leaving import Leaving
from cutover.database.settling import Settling
from cutover.database.straying import Straying
from cutover.database.switching import Switching
from cutover.database.tying import Tying
from cutover.database.work import DatabaseWork, Moving
from cutover.plan import Step, StepMethod


class DatabaseSteps:
    """All steps of one run, over shared state."""

    def __init__(self, context: Context, servers: Mapping[str, Address], moving: Moving) -> None:
        self._work = DatabaseWork(context, servers, moving)
        tying = Tying(self._work)
        self._adding = Adding(self._work, Defining(self._work))
        joining = Joining(self._work, tying, Defining(self._work))
        switching, leaving = Switching(self._work, tying), Leaving(self._work)
        self.straying = Straying(self._work)
        fleeing, settling = Fleeing(self._work), Settling(self._work)
        self.undo = switching.undo
        self.readmit = switching.readmit
        self.tidy = leaving.tidy
        self.steps: dict[Step, StepMethod] = {
            Step.PREFLIGHT: joining.preflight,
            Step.ESTABLISH: joining.establish,
            Step.PUBLISH: joining.publish,
            Step.COPY: joining.copy,
            Step.PUBLISH_BACK: joining.publish_back,
            Step.START_MIRROR: joining.start_mirror,
            Step.FOLLOW: joining.follow,
            Step.BUILD: joining.build,
            Step.COMPARE: joining.compare,
            Step.PROVE_WAY_BACK: joining.prove_way_back,
            Step.FENCE: switching.fence,
            Step.DRAIN: switching.drain,
            Step.SEQUENCES: lambda to: fleeing.sequences(to) if to.flees else switching.sequences(to),
            Step.CHECK: switching.check,
            Step.OPEN: switching.open,
            Step.WATCH: switching.watch,
            Step.RETIRE: leaving.retire,
            Step.RECORD: joining.record,
            Step.TIE: tying.tie,
            Step.UNTIE: tying.untie,
            Step.SURVEY: fleeing.survey,
            Step.BREAK_OFF: fleeing.break_off,
            Step.FLEE: fleeing.flee,
            Step.COUNT: fleeing.count,
            Step.LIST: settling.list_stranded,
            Step.ADD_TABLES: self._adding.add,
            Step.SET_ASIDE: self.straying.set_aside,
        }

    def added_topics(self) -> tuple[str, ...]:
        """None: a database has no topics."""
        return ()

    def due(self, wanted: Stage) -> tuple[Step, ...]:
        """What is to be done beside a journey: whether commits wait, as config has it; once traffic fled, to tell of it
        again; and tables that are new."""
        route = self._work.context.route
        asked = due(route, wanted, tied=self._work.moving.tied)
        return asked if route.stranded else (*asked, *self._adding.due(wanted))

    def close(self) -> None:
        """Give up connections."""
        self._work.close()


__all__ = ["DatabaseSteps", "Moving"]

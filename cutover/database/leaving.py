"""Taking a side out: it gets no changes any more, and nothing is kept for it."""

from __future__ import annotations

from adapters.postgres import slots
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.driver import translated
from adapters.postgres.errors import PostgresError
from contracts.stages import STAGE_TABLE
from cutover.context import StepFailed
from cutover.database.work import SEE_CARRIER, DatabaseWork
from cutover.plan import Step, Transition


class Leaving:
    """The steps that end a side's part."""

    def __init__(self, work: DatabaseWork) -> None:
        self._w = work
        self._c = work.context

    def retire(self, transition: Transition) -> str:
        """End the streams, and drop the slots: WAL that is kept for nobody would fill the disk. The rows of the side
        that leaves stay where they are."""
        staying, leaving = self._w.active, self._w.passive
        route = self._c.route
        if route.mirror is not None:
            self._c.write(route.model_copy(update={"mirror": None}))
        self._drop(staying)
        told = ""
        try:
            self._drop(leaving)
        except PostgresError as error:
            # It may be gone already; that must not keep it in the route.
            told = f"; {leaving} could not be tidied: {error}"
        self._c.write(self._c.route.model_copy(update={"stage": transition.goal, "progress": None}))
        return f"nothing is kept for {leaving} any more{told}"

    def tidy(self) -> str:
        """At a stage at which nothing follows: end what a join that was given up left, for its slot keeps WAL."""
        route = self._c.route
        if STAGE_TABLE[route.stage].follows is not None:
            return ""
        side = self._w.at(route.active)
        with translated(side.address):
            kept = slots.slot_state(side.connection, slot_name(route.active))
        if kept is None and route.mirror is None:
            return ""
        return self.retire(Transition(route.stage, route.stage, (Step.RETIRE,)))

    def _drop(self, backend: str) -> None:
        side, name = self._w.at(backend), slot_name(backend)
        connection = side.connection
        with translated(side.address):
            self._c.until(
                lambda: (state := slots.slot_state(connection, name)) is None or state.reader is None,
                self._c.timing.drain,
                lambda: StepFailed(f"the slot {name} at {backend} is still read", SEE_CARRIER),
            )
            slots.drop_slot(connection, name)
            slots.unpublish(connection)

"""Taking a side out: nobody is sent there any more, and what is under way there ends."""

from __future__ import annotations

from contracts.stages import STAGE_TABLE
from cutover import fence
from cutover.context import StepFailed
from cutover.llm_service.figures import figures
from cutover.llm_service.work import LlmWork, other
from cutover.plan import Transition


class Leaving:
    """The steps that end a side's part."""

    def __init__(self, work: LlmWork) -> None:
        self._w = work
        self._c = work.context

    def retire(self, transition: Transition) -> str:
        """Take the side out of the route, and wait until no call is under way there: its pods go next."""
        leaving = self._w.passive
        update = {
            "stage": transition.goal, "share": None, "sample": None, "epoch": self._c.route.epoch + 1, "progress": None
        }  # fmt: skip
        self._c.write(self._c.route.model_copy(update=update))
        return self._emptied(leaving)

    def tidy(self) -> str:
        """At a stage at which one side is left: end the sample of a join that was given up, and see again that nobody
        uses the side whose pods go, where a run was cut off before it had seen it."""
        route = self._c.route
        if STAGE_TABLE[route.stage].follows is not None:
            return ""
        if route.sample is None and route.share is None:
            self._emptied(other(route.active))
            return ""
        self._c.write(route.model_copy(update={"sample": None, "share": None, "epoch": route.epoch + 1}))
        return self._emptied(other(route.active))

    def _emptied(self, leaving: str) -> str:
        fence.await_followed(self._c)

        def under_way() -> int | None:
            return figures(self._c.registry.records(self._c.component), leaving, self._c.route.epoch).in_flight

        self._c.until(
            lambda: not under_way(),
            self._w.pace.drain,
            lambda: StepFailed(
                f"{under_way()} calls are under way at {leaving} after {self._w.pace.drain:g} s",
                "It is kept. Wait for them, or restart the orchestrator's pods, then run pulumi up again",
            ),
            every=0.2,
            note=lambda: f"{under_way()} calls are under way at {leaving}",
        )
        if under_way() is None:
            return f"{leaving} gets no calls any more; those under way end while its pods stop"
        return f"{leaving} gets no calls any more, and none is under way"

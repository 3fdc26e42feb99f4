"""Taking an engine out: no run goes there any more, and what is under way there ends."""

from __future__ import annotations

from contracts.stages import STAGE_TABLE
from cutover import fence
from cutover.backtesting.work import BacktestWork, other
from cutover.context import StepFailed
from cutover.plan import Transition


class Leaving:
    """The steps that end an engine's part. Its results stay as they are, readable as ever."""

    def __init__(self, work: BacktestWork) -> None:
        self._w = work
        self._c = work.context

    def retire(self, transition: Transition) -> str:
        """Take the engine out of the route, and wait until no run is under way there."""
        leaving = self._w.passive
        update = {"stage": transition.goal, "sample": None, "epoch": self._c.route.epoch + 1, "progress": None}
        self._c.write(self._c.route.model_copy(update=update))
        return self._emptied(leaving)

    def tidy(self) -> str:
        """At a stage at which one engine is left: end the sample of a join that was given up, and see again that no run
        is under way at the other, where a run of ours was cut off before it had seen it."""
        route = self._c.route
        if STAGE_TABLE[route.stage].follows is not None:
            return ""
        if route.sample is None:
            self._emptied(other(route.active))
            return ""
        self._c.write(route.model_copy(update={"sample": None, "epoch": route.epoch + 1}))
        return self._emptied(other(route.active))

    def _emptied(self, leaving: str) -> str:
        fence.await_followed(self._c)
        live = bool(self._w.told())
        self._c.until(
            lambda: not live or self._w.under_way(leaving) == 0,
            self._w.pace.drain,
            lambda: StepFailed(
                f"{self._w.under_way(leaving)} runs are under way at {leaving} after {self._w.pace.drain:g} s",
                "They go on there. Wait for them, or cancel them (POST /backtests/ID/cancel), then run pulumi up again",
            ),
            every=0.2,
            note=lambda: f"{self._w.under_way(leaving)} runs are under way at {leaving}",
        )
        return f"{leaving} gets no runs any more, and none is under way"

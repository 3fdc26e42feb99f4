"""Before a switch: preflight, the first route, and bringing the other backend into step."""

from __future__ import annotations

from contracts.routes import Route, Segment
from contracts.stages import STAGE_TABLE, deployed_backends, serving_backend
from cutover.event_bus import preflight
from cutover.event_bus.work import COMPONENT, BusWork, other
from cutover.plan import Transition


class Joining:
    """The steps that bring a backend into step with the one that serves."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context

    def preflight(self, transition: Transition) -> str:
        """All that must hold before anything is touched, each item on a line. See preflight/."""
        found = preflight.examine(self._w, transition)
        self._c.checks.extend(found)
        for check in found:
            self._c.say(f"    {'ok ' if check.outcome.passed else 'NOT'} {preflight.line(check)}")
        preflight.refuse(found)
        return f"{len(found)} items hold"

    def prepare(self, transition: Transition) -> str:
        """Topics, functions and rights of the backend that joins; it stays sealed to writers."""
        passive = self._w.passive
        passive.ensure()
        for topic in self._w.topics:
            passive.seal(topic, self._c.route.epoch + 1)
        return f"{len(self._w.topics)} topics on {passive.name}, sealed to all but the mirror"

    def establish(self, transition: Transition) -> str:
        """Write the first route, at the wanted stage."""
        stage = transition.goal
        active = serving_backend(COMPONENT, stage)
        for name in sorted(deployed_backends(COMPONENT, stage)):
            self._w.logs[name].ensure()
        chains: dict[str, tuple[Segment, ...]] = {
            topic: (Segment(backend=active, epoch=1, start=dict(self._w.logs[active].beginning(topic))),)
            for topic in self._w.topics
        }
        route = Route(component=COMPONENT, stage=stage, active=active, epoch=1, chains=chains)
        if STAGE_TABLE[stage].follows is not None:
            route = route.model_copy(update={"mirror": self._w.mirror_from(route, active)})
            for topic in self._w.topics:
                self._w.logs[other(active)].seal(topic, 2)
        self._c.write(route)
        return f"{active} serves {len(self._w.topics)} topics"

    def start_mirror(self, transition: Transition) -> str:
        """Tell the mirror to copy from the serving backend; kept where it already does."""
        route = self._c.route
        if route.mirror is None:
            route = route.model_copy(update={"mirror": self._w.mirror_from(route, route.active)})
            self._c.write(route)
        return f"{route.active} is copied to {other(route.active)}"

    def backfill(self, transition: Transition) -> str:
        """Wait until all that is retained has been copied, and so much of what came meanwhile that the rest takes
        less than the comparison waits for."""
        timing, began = self._c.timing, self._c.now()
        while True:
            round_began = self._c.now()
            for topic in self._w.topics:
                self._w.await_copied(topic, self._w.active.end(topic), timing.backfill)
            now = self._c.now()
            # A mirror that keeps up copies what came in a round in less time than the round took. One that does not
            # is the comparison's to refuse.
            if now - round_began < timing.drain or now - began > timing.backfill:
                return f"history copied in {now - began:.1f} s"

    def prove_way_back(self, transition: Transition) -> str:
        """Take a copying session of the way back, before anything depends on it."""
        source, target = self._w.passive, self._w.active
        for topic in self._w.topics:
            copier = target.copier(topic, source.name)
            try:
                copier.copy([], source.end(topic))
            finally:
                copier.close()
        return f"{target.name} takes copies from {source.name}"

    def record(self, transition: Transition) -> str:
        """Write the stage that was reached."""
        self._c.write(self._c.route.model_copy(update={"stage": transition.goal, "progress": None}))
        return transition.goal.value

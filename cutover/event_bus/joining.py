"""Before a switch: preflight, the first route, and bringing the other backend into step."""

from __future__ import annotations

from contracts.routes import Route, Segment
from contracts.stages import STAGE_TABLE, deployed_backends, serving_backend
from cutover.event_bus import preflight
from cutover.event_bus.work import COMPONENT, BusWork, other
from cutover.fitting import added_topics
from cutover.plan import Transition
from cutover.refusing import tell


class Joining:
    """The steps that bring a backend into step with the one that serves."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context

    def preflight(self, transition: Transition) -> str:
        """All that must hold before anything is touched, each item on a line. See preflight/."""
        found = preflight.examine(self._w, transition)
        self._c.checks.extend(found)
        return tell(found, self._c.say)

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
            route = route.model_copy(update={"mirror": self._w.mirror_from(route, active, self._w.topics)})
            for topic in self._w.topics:
                self._w.logs[other(active)].seal(topic, 2)
        self._c.write(route)
        return f"{active} serves {len(self._w.topics)} topics"

    def add_topics(self, transition: Transition) -> str:
        """Make the topics that are new in config, and take them up in the route and its mirror, in one write. No
        adapter sends to them before: it knows a topic by the route alone."""
        route = self._c.route
        added = added_topics(route, self._w.topics)
        for name in sorted(deployed_backends(COMPONENT, route.stage)):
            self._w.logs[name].ensure()
        active = self._w.active
        chains = {
            topic: (Segment(backend=active.name, epoch=route.epoch, start=dict(active.beginning(topic))),)
            for topic in added
        }
        route = route.model_copy(update={"chains": {**route.chains, **chains}})
        mirror = route.mirror
        if mirror is not None:
            for topic in added:
                self._w.passive.seal(topic, route.epoch + 1)
            new = self._w.mirror_from(route, mirror.source, added)
            mirror = mirror.model_copy(
                update={
                    "starts": {**mirror.starts, **new.starts},
                    "target_starts": {**mirror.target_starts, **new.target_starts},
                }
            )
        self._c.write(route.model_copy(update={"mirror": mirror}))
        return f"{', '.join(added)} on {active.name}" + (f", copied to {mirror.target}" if mirror else "")

    def start_mirror(self, transition: Transition) -> str:
        """Tell the mirror to copy from the serving backend; kept where it already does."""
        route = self._c.route
        if route.mirror is None:
            mirror, follows = self._w.mirror_from(route, route.active, self._w.topics), self._w.passive
            for topic, start in mirror.starts.items():
                if follows.refuge is not None:
                    follows.refuge.open_copies(topic, route.active, start)
            self._c.write(route.model_copy(update={"mirror": mirror}))
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
            end = source.end(topic)
            if target.refuge is not None:  # which takes no copies since traffic fled to it, if it ever did
                target.refuge.open_copies(topic, source.name, end)
            copier = target.copier(topic, source.name)
            try:
                copier.copy([], end)
            finally:
                copier.close()
        return f"{target.name} takes copies from {source.name}"

    def record(self, transition: Transition) -> str:
        """Write the stage that was reached; whatever was stranded has been swept, and both sides are in step."""
        self._leave_word()
        self._c.write(self._c.route.model_copy(update={"stage": transition.goal, "progress": None, "stranded": None}))
        return transition.goal.value

    def _leave_word(self) -> None:
        """What groups took before the other side followed; from then on their members leave word themselves."""
        follows = self._w.passive.refuge
        if follows is not None:
            for topic, chain in self._c.route.chains.items():
                for state in self._w.active.groups(topic):
                    follows.note_taken(topic, state.group, chain[-1].epoch, state.position)

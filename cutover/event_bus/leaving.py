"""Taking a backend out: no group may need it, and copies must stand for what it held."""

from __future__ import annotations

from contracts.routes import Segment
from cutover.context import StepFailed
from cutover.event_bus.work import BusWork
from cutover.fence import progress
from cutover.plan import Step, Transition


class Leaving:
    """The steps that end a backend's part."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context

    def finish_groups(self, transition: Transition) -> str:
        """Every group has finished all segments but the one that is written now."""
        leaving = self._w.passive
        self._c.until(
            lambda: not self._behind(),
            self._c.timing.finish_groups,
            self._still_needed,
            every=0.5,
            note=lambda: f"waiting for {', '.join(self._behind())}",
        )
        return f"no group needs {leaving.name} any more"

    def _behind(self) -> list[str]:
        """Groups that stand before the last segment. Those of the staying backend count too: who was deaf to
        a switch may have passed over the copies in a later segment of the leaving one, and so have finished
        that, while what comes before it is still unread on the staying one."""
        found = []
        for topic, chain in self._c.route.chains.items():
            groups = {state.group for log in self._w.logs.values() for state in log.groups(topic)}
            for segment in chain[:-1]:
                log = self._w.logs[segment.backend]
                found += [f"{group} in {topic}" for group in groups if not log.group_finished(topic, group, segment)]
        return sorted(set(found))

    def _still_needed(self) -> StepFailed:
        leaving = self._w.passive
        return StepFailed(
            f"consumer groups have not finished what was written before {leaving.name} can leave: "
            + ", ".join(self._behind()),
            f"{leaving.name} is kept. Let them catch up, or delete groups that nobody uses any more",
        )

    def retire(self, transition: Transition) -> str:
        """Take the leaving backend out of the route; copies now stand for what it held."""
        route = self._c.route
        staying, leaving = self._w.active, self._w.passive
        if route.mirror is not None:
            for topic in self._w.topics:
                self._w.await_copied(topic, staying.end(topic), self._c.timing.drain)
        # From here on no group begins to read in what leaves: one that came before is seen below, and one that comes
        # now asks for the route once its backend knows it, and sees this.
        self._c.write(route.model_copy(update={"progress": progress(transition, Step.RETIRE)}))
        route = self._c.route
        groups = {topic: leaving.groups(topic) for topic in route.chains}
        if self._behind():  # a group that came meanwhile
            raise self._still_needed()
        chains = {}
        for topic, chain in route.chains.items():
            current = chain[-1]
            for state in groups[topic]:
                staying.place_group(topic, state.group, current.start)
            chains[topic] = (
                Segment(backend=staying.name, epoch=current.epoch, start=dict(staying.beginning(topic)), copies=True),
            )
        self._c.write(
            route.model_copy(update={"stage": transition.goal, "chains": chains, "mirror": None, "progress": None})
        )
        return f"{leaving.name} holds nothing that {staying.name} does not"

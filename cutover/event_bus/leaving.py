"""Taking a backend out: no group may need it, and copies must stand for what it held."""

from __future__ import annotations

from contracts.routes import Segment
from cutover.context import StepFailed
from cutover.event_bus.work import BusWork
from cutover.plan import Transition


class Leaving:
    """The steps that end a backend's part."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context

    def finish_groups(self, transition: Transition) -> str:
        """Every group has finished the segments that only the leaving backend serves."""
        leaving = self._w.passive

        def behind() -> list[str]:
            found = []
            for topic, chain in self._c.route.chains.items():
                groups = {state.group for log in self._w.logs.values() for state in log.groups(topic)}
                for segment in chain:
                    if segment.backend == leaving.name:
                        found += [
                            f"{group} in {topic}"
                            for group in sorted(groups)
                            if not leaving.group_finished(topic, group, segment)
                        ]
            return found

        self._c.until(
            lambda: not behind(),
            self._c.timing.finish_groups,
            lambda: StepFailed(
                f"consumer groups have not finished what only {leaving.name} holds for them: {', '.join(behind())}",
                f"{leaving.name} is kept. Let them catch up, or delete groups that nobody uses any more",
            ),
            every=0.5,
            note=lambda: f"waiting for {', '.join(behind())}",
        )
        return f"no group needs {leaving.name} any more"

    def retire(self, transition: Transition) -> str:
        """Take the leaving backend out of the route; copies now stand for what it held."""
        route = self._c.route
        staying, leaving = self._w.active, self._w.passive
        if route.mirror is not None:
            for topic in self._w.topics:
                self._w.await_copied(topic, staying.end(topic), self._c.timing.drain)
        chains = {}
        for topic, chain in route.chains.items():
            current = chain[-1]
            for state in leaving.groups(topic):
                staying.place_group(topic, state.group, current.start)
            chains[topic] = (
                Segment(backend=staying.name, epoch=current.epoch, start=dict(staying.beginning(topic)), copies=True),
            )
        self._c.write(
            route.model_copy(update={"stage": transition.goal, "chains": chains, "mirror": None, "progress": None})
        )
        return f"{leaving.name} holds nothing that {staying.name} does not"

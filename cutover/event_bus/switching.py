"""The pause and what follows it: fence, seal, drain, check, open, watch, and undo."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.event_bus.errors import EventBusError
from contracts.routes import Cursor, Mirror, Route, Segment
from cutover import fence
from cutover.context import CouldNotCheck, StepFailed
from cutover.event_bus.fleeing import refuge
from cutover.event_bus.work import BusWork, other
from cutover.plan import Step, Transition


class Switching:
    """The steps between which who serves changes. `open` is the one write that does it."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context
        self._opened_by = 0.0
        self._sealed: dict[str, dict[str, str]] = {}

    def fence(self, transition: Transition) -> str:
        """Announce the next epoch and wait until every adapter holds its events."""
        self._opened_by = self._c.now() + self._c.timing.pause
        epoch = fence.announce(self._c, transition)
        return fence.await_acknowledged(
            self._c,
            epoch,
            lambda: "",
            "Nothing was changed. See whether those pods hang (kubectl get pods), then run pulumi up again",
        )

    def seal(self, transition: Transition) -> str:
        """Shut every writer out of the serving backend and see it stand still."""
        active = self._w.active
        behind = self._c.route.fence
        if behind is None:
            raise CouldNotCheck("there is no fence to seal behind", "Run pulumi up again")
        for topic in self._w.topics:
            active.seal(topic, behind.epoch)
        first = {topic: dict(active.end(topic)) for topic in self._w.topics}
        second = {topic: dict(active.end(topic)) for topic in self._w.topics}
        if first != second:
            raise StepFailed(
                f"{active.name} still grows behind its seal: {first} became {second}",
                "Something writes past the fence with other rights; find and stop it first",
            )
        self._sealed = second
        return f"{active.name} is sealed at {_brief(second)}"

    def drain(self, transition: Transition) -> str:
        """The other backend gets all that the sealed one holds."""
        began = self._c.now()
        for topic in self._w.topics:
            self._w.await_copied(topic, self._sealed[topic], self._c.timing.drain)
        return f"drained in {(self._c.now() - began) * 1000:.0f} ms"

    def check(self, transition: Transition) -> str:
        """The last comparison: exact, inside the pause."""
        for topic, comparison in self._w.comparisons.items():
            found = comparison.advance(self._sealed[topic], self._w.passive.end(topic), self._pause_over)
            if not found.none:
                raise self._w.differ(topic, found)
        if not self._w.comparisons:
            raise CouldNotCheck("nothing was compared", "Run pulumi up again")
        return f"{sum(c.compared for c in self._w.comparisons.values())} events equal to the last"

    def _pause_over(self) -> bool:
        return self._c.stopped.is_set() or self._c.now() > self._opened_by

    def open(self, transition: Transition) -> str:
        """Name the other backend in one write; its mirror back starts with it."""
        route = self._c.route
        old, new = self._w.active, self._w.passive
        if route.fence is None:
            raise CouldNotCheck("there is no fence to open", "Run pulumi up again")
        starts = {topic: dict(new.end(topic)) for topic in self._w.topics}
        for topic in self._w.topics:
            new.unseal(topic)
        if self._pause_over():
            raise StepFailed(
                f"the switch took longer than {self._c.timing.pause:g} s between fence and opening",
                "Traffic stays where it was. Run pulumi up again, or see what was slow above",
            )
        epoch = route.fence.epoch
        chains = {
            topic: (
                *chain[:-1],
                chain[-1].model_copy(update={"end": self._sealed[topic]}),
                Segment(backend=new.name, epoch=epoch, start=starts[topic]),
            )
            for topic, chain in route.chains.items()
        }
        mirror = Mirror(source=new.name, target=old.name, starts=starts, target_starts=self._sealed)
        self._c.write(
            route.model_copy(
                update={
                    "stage": transition.goal,
                    "active": new.name,
                    "epoch": epoch,
                    "fence": None,
                    "chains": chains,
                    "mirror": mirror,
                    "progress": fence.progress(transition, Step.WATCH),
                }
            )
        )
        return f"{new.name} serves, epoch {epoch}"

    def undo(self) -> str:
        """Let a fence that was not opened go: the backend that served goes on, under the fence's epoch."""
        route = self._c.read()
        if route is None or route.fence is None:
            return "nothing to undo"
        if route.fence.emergency:
            self._stay(route, route.fence.copied or {})
        else:
            for topic in route.chains:
                self._w.passive.seal(topic, route.fence.epoch + 1)
                self._w.active.unseal(topic)
        self._c.write(route.model_copy(update={"epoch": route.fence.epoch, "fence": None, "progress": None}))
        return f"{route.active} goes on, epoch {route.fence.epoch}"

    def _stay(self, route: Route, copied: Mapping[str, Cursor]) -> None:
        """Traffic did not flee: the other side follows again. A switch before the emergency may have sealed the one
        that serves, which may be dead."""
        for topic in route.chains:
            self._w.passive.seal(topic, route.epoch + 1)
            refuge(self._w.passive).open_copies(topic, route.active, copied[topic])
        try:
            for topic in route.chains:
                self._w.active.unseal(topic)
        except EventBusError as error:
            self._c.say(f"  whether {route.active} takes writers is not known: {error}")

    def readmit(self) -> str:
        """Let writers into the backend that serves. A run that was frozen until its lock had gone to another may
        have sealed it since, by a route that was no longer so; nobody else would ever take that seal off. And let
        groups begin to read again in a backend whose retirement was cut off."""
        if self._c.route.retires is not None:
            self._c.write(self._c.route.model_copy(update={"progress": None}))
        route = self._c.route
        for topic in route.chains:
            self._w.active.unseal(topic)
        return f"{route.active} takes writers"

    def watch(self, transition: Transition) -> str:
        """Post-checks under traffic: the old side stands still but for copies, the way back keeps up
        and is equal, and every live adapter follows the new epoch."""
        deadline = self._c.now() + self._c.timing.watch
        rounds = 0
        while self._c.now() < deadline or rounds == 0:
            self._w.compare(transition)
            self._old_side_stands_still()
            rounds += 1
            self._c.check_stop()
            self._c.rest(self._c.timing.watch_pace)  # the pace of the checks
        fence.await_followed(self._c)
        route = self._c.route
        self._c.write(route.model_copy(update={"progress": None}))
        compared = sum(c.compared for c in self._w.comparisons.values())
        return f"{compared} events on the new side, each copied back; the old side stood still"

    def _old_side_stands_still(self) -> None:
        route = self._c.route
        old = self._w.logs[other(route.active)]
        for topic, chain in route.chains.items():
            ends = [segment.end for segment in chain if segment.backend == old.name and segment.end is not None]
            if not ends:
                continue
            end = old.end(topic)
            strays = [e.position for e in old.scan(topic, ends[-1], end) if e.origin is None]
            if strays:
                raise StepFailed(
                    f"{len(strays)} events were written to {old.name} behind its seal in {topic} (first: {strays[0]})",
                    "Something writes past the fence with other rights; find and stop it",
                )


def _brief(cursors: Mapping[str, Cursor]) -> str:
    return "; ".join(f"{topic} {'/'.join(cursor.values())}" for topic, cursor in cursors.items())

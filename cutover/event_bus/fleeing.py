"""The emergency: traffic leaves a backend that is dead, which is asked nothing that anybody waits for.

The backend that it flees to stands in with the copies that it has. What the mirror had not copied yet stays in
the dead one, stranded, until it is swept (sweeping.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from adapters.event_bus.base import EventLog, Refuge
from adapters.event_bus.errors import EventBusError
from contracts.registry import Tail
from contracts.routes import Fence, Mirror, Route, Segment, Stranded
from cutover import fence
from cutover.context import CouldNotCheck, StepFailed, utc_now
from cutover.event_bus.work import COMPONENT, BusWork
from cutover.plan import Step, Transition

_log = logging.getLogger(__name__)


def refuge(log: EventLog) -> Refuge:
    """`log` as one that traffic may flee to. Raises CouldNotCheck where it cannot stand in for another."""
    if log.refuge is not None:
        return log.refuge
    raise CouldNotCheck(f"{log.name} cannot stand in for another backend", "Ask for the ordinary way back")


def stood_in(chain: Sequence[Segment], alive: str, end: Mapping[str, str], start: Mapping[str, str]) -> list[Segment]:
    """`chain` without the dead backend: where it had a segment, what `alive` holds of copies stands in, from where
    its own segment before ended to where the next began. The last one reaches to `end`. `start` is where `alive`
    begins, for a chain that began in the dead one."""
    found: list[Segment] = []
    at = dict(start)
    for number, segment in enumerate(chain):
        if segment.backend == alive:
            found.append(segment)
            at = dict(segment.end or end)
            continue
        later = next((s for s in chain[number + 1 :] if s.backend == alive), None)
        stop = dict(later.start if later is not None else end)
        found.append(Segment(backend=alive, epoch=segment.epoch, start=at, end=stop, copies=True))
        at = stop
    return found


class Fleeing:
    """The steps of an emergency. `flee` is the one write that moves traffic."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context

    def survey(self, transition: Transition) -> str:
        """Refuse only where the backend is seen to serve: it answers, takes new events, and they are copied. Then
        the ordinary way back strands nothing. Whatever is less than that is dead, by the operator's word."""
        seen: list[str] = []

        def look() -> None:
            try:
                seen.append(self._seen_to_serve())
            except EventBusError as error:
                seen.append("")
                _log.info("the survey of %s: %s", self._w.active.name, error)

        threading.Thread(target=look, name="survey", daemon=True).start()
        fence.await_briefly(self._c, lambda: [] if seen else ["an answer"], self._c.timing.survey)
        if any(seen):
            raise StepFailed(
                f"{self._w.active.name} serves: {seen[0]}. An emergency would only strand events",
                "Take emergency out of config and run pulumi up: the ordinary way back strands nothing",
            )
        return f"{self._w.active.name} is not seen to serve; it is not asked any more"

    def _seen_to_serve(self) -> str:
        active, passive = self._w.active, self._w.passive
        before = {topic: dict(active.end(topic)) for topic in self._w.topics}
        self._c.rest(self._c.timing.survey / 4)  # in which traffic would show
        grown = [topic for topic in self._w.topics if dict(active.end(topic)) != before[topic]]
        for topic in grown:
            copied = passive.copied(topic, active.name)
            if copied is not None and active.reached(copied, before[topic]):
                return f"{topic} takes new events and they are copied"
        return ""

    def break_off(self, transition: Transition) -> str:
        """End the copying for good, so that all know where the copies end; then the fence, which waits for nothing
        that is in flight."""
        route = self._c.route
        mirror = _mirror(route)
        standing_in, dead = refuge(self._w.passive), route.active
        copied: dict[str, dict[str, str]] = {}
        for topic in route.chains:
            self._w.passive.seal(topic, route.epoch + 1)
            at = standing_in.close_copies(topic, dead)
            first = mirror.starts[topic]
            copied[topic] = dict(at if at is not None and self._w.passive.reached(at, first) else first)
        epoch = max(route.epoch, route.fence.epoch if route.fence else 0) + 1
        told = Fence(epoch=epoch, since=utc_now(), holder=self._c.holder, copied=copied)
        progress = fence.progress(transition, Step.BREAK_OFF)
        self._c.write(route.model_copy(update={"fence": told, "progress": progress}))
        silent = fence.await_briefly(self._c, lambda: fence.behind(self._c, epoch), self._c.timing.flight_fence)
        return f"epoch {epoch} announced" + (f"; not waited for: {', '.join(silent)}" if silent else "")

    def flee(self, transition: Transition) -> str:
        """Name the backend that stands in, in one write."""
        route = self._c.route
        if route.fence is None or route.fence.copied is None:
            raise CouldNotCheck("there is no emergency's fence to open", "Run pulumi up again")
        alive, epoch = self._w.passive, route.fence.epoch
        ends = {topic: dict(alive.end(topic)) for topic in route.chains}
        for topic in route.chains:
            alive.unseal(topic)
        chains = {
            topic: (
                *stood_in(chain, alive.name, ends[topic], alive.beginning(topic)),
                Segment(backend=alive.name, epoch=epoch, start=ends[topic]),
            )
            for topic, chain in route.chains.items()
        }
        tails = self._tails()
        stranded = {
            topic: _told(
                Stranded(backend=route.active, epoch=chain[-1].epoch, copied=route.fence.copied[topic]),
                tails.get(topic),
            )
            for topic, chain in route.chains.items()
        }
        self._c.write(
            route.model_copy(
                update={
                    "stage": transition.goal,
                    "active": alive.name,
                    "epoch": epoch,
                    "fence": None,
                    "chains": chains,
                    "mirror": None,
                    "progress": None,
                    "stranded": stranded,
                }
            )
        )
        return f"{alive.name} serves, epoch {epoch}"

    def count(self, transition: Transition) -> str:
        """Tell what only the dead backend holds, as far as live publishers know."""
        route = self._c.route
        silent = fence.await_briefly(self._c, lambda: fence.behind(self._c, route.epoch), self._c.timing.flight_count)
        tails = self._tails()
        stranded = {topic: _told(tail, tails.get(topic)) for topic, tail in (route.stranded or {}).items()}
        self._c.write(route.model_copy(update={"stranded": stranded}))
        for topic, tail in stranded.items():
            if tail.count:
                self._c.say(f"    {topic}: {counted(tail)}, from {tail.first} to {tail.last}")
        if silent:
            self._c.say(f"    not heard of, may know of more: {', '.join(silent)}")
        total = sum(tail.count for tail in stranded.values())
        dead = next(iter(stranded.values())).backend if stranded else "nothing"
        return f"{total} acknowledged events are known that only {dead} holds; they come once it is back and swept"

    def _tails(self) -> dict[str, Tail]:
        found: dict[str, Tail] = {}
        for record in self._c.registry.records(COMPONENT):
            for topic, tail in record.stranded.items():
                found[topic] = found[topic] + tail if topic in found else tail
        return found


def counted(tail: Stranded) -> str:
    """How much is stranded, for people."""
    return f"{'at least ' if tail.at_least else ''}{tail.count} events only {tail.backend} holds"


def _told(stranded: Stranded, tail: Tail | None) -> Stranded:
    """`stranded` with what publishers know of it; never less than was known before."""
    if tail is None or tail.count < stranded.count:
        return stranded
    told = {"count": tail.count, "first": tail.first, "last": tail.last, "at_least": tail.at_least}
    return stranded.model_copy(update=told)


def _mirror(route: Route) -> Mirror:
    if route.mirror is None:
        raise CouldNotCheck("the route names no mirror, so nothing stands in", "Ask for the ordinary way back")
    return route.mirror

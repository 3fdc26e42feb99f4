"""What a route wants copied, and which notes of a comparison count for it."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.event_bus.base import EventLog
from adapters.event_bus.verified import Verified
from contracts.routes import Cursor, Route


@dataclass(frozen=True, slots=True)
class Copying:
    """What a route wants copied of one topic. `id` names it (Route.copying_id); what lies after `start` in the
    source is what lies, as copies, after `target_start` in the target."""

    topic: str
    source: str
    target: str
    start: Cursor
    include_copies: bool
    id: str
    target_start: Cursor


def copyings(route: Route) -> tuple[Copying, ...]:
    """What `route` wants copied: nothing where it names no mirror."""
    mirror = route.mirror
    if mirror is None:
        return ()
    return tuple(
        Copying(
            topic,
            mirror.source,
            mirror.target,
            start,
            route.chain(topic)[-1].copies,
            route.copying_id(topic),
            mirror.target_starts[topic],
        )
        for topic, start in mirror.starts.items()
    )


def resumed(copying: Copying, source: EventLog, target: EventLog) -> Verified | None:
    """What was noted of comparisons, where it counts for `copying`: it is of this very copying, and both logs
    still reach as far as it says. One that came back shorter lost what it had acknowledged: all is compared."""
    topic = copying.topic
    noted = target.verified(topic, source.name)
    if noted is None or noted.of != copying.id:
        return None
    whole = source.reached(source.end(topic), noted.source) and target.reached(target.end(topic), noted.target)
    return noted if whole else None

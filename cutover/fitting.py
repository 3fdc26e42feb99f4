"""Whether stack config fits what the route has recorded, asked before a run touches anything. Pure.

Topics may be added at any stage. None may leave: the next switch would pass it over, and what it holds would be
left behind. The number of partitions is fixed: a key's place depends on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from contracts.names import DEAD_LETTER_SUFFIX
from contracts.routes import Cursor, Route
from contracts.stages import Side, backend_of
from cutover.errors import StepFailed


def added_topics(route: Route, configured: Collection[str]) -> tuple[str, ...]:
    """The topics that config asks for and `route` does not have, dead-letter topics included.

    Raises StepFailed where config lacks one that the route has.
    """
    gone = sorted(set(route.chains) - set(configured))
    if gone:
        missing = [topic for topic in gone if not topic.endswith(DEAD_LETTER_SUFFIX)] or gone
        kept = [topic for topic in route.chains if not topic.endswith(DEAD_LETTER_SUFFIX)]
        raise StepFailed(
            f"config no longer names the topics {', '.join(missing)}, which the event bus holds: the next switch would "
            "leave their events behind. Nothing was changed",
            f"Set crossover:event_bus.topics to all of {', '.join(kept)} again, and what is new",
        )
    return tuple(topic for topic in configured if topic not in route.chains)


def refuse_other_partitions(route: Route, configured: int) -> None:
    """Raise StepFailed where the route's positions name another number of partitions than config does."""
    backend = backend_of(route.component, Side.NEW)
    for topic, cursor in _positions(route, backend):
        if cursor and len(cursor) != configured:
            raise StepFailed(
                f"config asks for {configured} partitions, {topic} at {backend} has {len(cursor)} since the route was "
                "made: the events of a key would lie in two of them, in no order. Nothing was changed",
                f"Set crossover:event_bus.partitions to {len(cursor)}. To change it, go back to mvp, delete the topics "
                f"at {backend}, and join anew",
            )


def _positions(route: Route, backend: str) -> Iterator[tuple[str, Cursor]]:
    for topic, chain in route.chains.items():
        for segment in chain:
            if segment.backend == backend:
                yield topic, segment.start
                yield topic, segment.end or {}
    mirror = route.mirror
    if mirror is not None:
        cursors = mirror.starts if mirror.source == backend else mirror.target_starts
        yield from cursors.items()

"""All that a topic holds, from its oldest retained event on, along its chain of segments and outside any group."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from adapters.event_bus.base import EventLog, Stored
from adapters.event_bus.errors import UnknownTopic
from contracts.routes import Route


def scan_chain(route: Route, topic: str, open_log: Callable[[str], EventLog]) -> Iterator[Stored]:
    """The entries of `topic` up to where it ends now, segment by segment; a mirror's copies only where they are
    the content. Raises UnknownTopic, BackendUnavailable.
    """
    if topic not in route.chains:
        raise UnknownTopic(topic, tuple(route.chains))
    for segment in route.chain(topic):
        log = open_log(segment.backend)
        end = log.end(topic) if segment.end is None else segment.end
        for entry in log.scan(topic, segment.start, end):
            if entry.content or segment.copies:
                yield entry

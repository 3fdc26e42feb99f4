"""The route: the one small record a component that says who serves.

Only a cutover writes it, by compare-and-set. Adapters read and watch it. An event
bus route also holds, for each topic, the chain of segments that makes one log out of
two backends (the virtual log of Balakrishnan et al., OSDI 2020).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contracts.stages import Component, Stage

ROUTE_KEY = "route.json"
"""The key of the route's ConfigMap that holds the record."""

Cursor = Mapping[str, str]
"""A place in a backend's log: partition -> position. Redis: {"0": last entry id included}.
Kafka: {"<partition>": next offset}. Both mean: everything up to here."""


def route_name(component: Component) -> str:
    """The name of the ConfigMap that holds the route of `component`."""
    return f"crossover-route-{component.slug}"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Segment(_Record):
    """One sealed or open stretch of a topic, in one backend.

    `start` is exclusive of what came before it, `end` is None while the segment is open.
    `copies` says that mirrored entries count as content: true only where the segment that
    they were copied from has been retired.
    """

    backend: str
    epoch: int = Field(ge=1)
    start: dict[str, str]
    end: dict[str, str] | None = None
    copies: bool = False


class Fence(_Record):
    """The announcement of the next epoch: adapters stop sending and acknowledge it."""

    epoch: int
    since: str
    holder: str


class Mirror(_Record):
    """The direction in which the mirror copies.

    For each topic, what lies after `starts` in the source is what lies, as copies, after
    `target_starts` in the target: the pair from which the two logs are compared.
    """

    source: str
    target: str
    starts: dict[str, dict[str, str]]
    target_starts: dict[str, dict[str, str]]


class Progress(_Record):
    """A transition under way: what a run that was cut off left behind."""

    from_stage: Stage | None = None
    to_stage: Stage
    step: str
    since: str


class HistoryEntry(_Record):
    """One transition that ended, kept for status and reports. Times are RFC 3339 UTC."""

    at: str
    from_stage: Stage | None = None
    to_stage: Stage
    epoch: int
    outcome: str
    detail: str = ""
    seconds: float = Field(default=0.0, ge=0)


HISTORY_LIMIT = 50


class Route(_Record):
    """The whole record. `epoch` grows by one with each fence, opened or undone, so that an
    acknowledgement of an undone fence can never count for a later one."""

    version: int = 1
    component: Component
    stage: Stage
    active: str
    epoch: int = Field(ge=1)
    fence: Fence | None = None
    mirror: Mirror | None = None
    chains: dict[str, Annotated[tuple[Segment, ...], Field(min_length=1)]] = Field(default_factory=dict)
    progress: Progress | None = None
    history: tuple[HistoryEntry, ...] = ()

    def chain(self, topic: str) -> tuple[Segment, ...]:
        """The segments of `topic`, oldest first.

        Raises KeyError where the topic is not part of this route.
        """
        return self.chains[topic]

    def copying_id(self, topic: str) -> str:
        """A name for what the mirror does with `topic`: another direction, another beginning or another segment
        is another copying, so that what was found in one never counts for the other. "" where there is no mirror."""
        if self.mirror is None:
            return ""
        mirror, segment = self.mirror, self.chain(topic)[-1]
        of = [mirror.source, mirror.target, mirror.starts[topic], mirror.target_starts[topic], segment.epoch]
        return hashlib.sha256(json.dumps([*of, segment.copies], sort_keys=True).encode()).hexdigest()[:32]

    def with_history(self, entry: HistoryEntry) -> Route:
        """This route with `entry` added; the oldest entries beyond HISTORY_LIMIT go."""
        return self.model_copy(update={"history": (*self.history, entry)[-HISTORY_LIMIT:]})

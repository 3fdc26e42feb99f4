"""The route: the one small record a component that says who serves.

Only a cutover writes it, by compare-and-set. Adapters read and watch it. An event
bus route also holds, for each topic, the chain of segments that makes one log out of
two backends (the virtual log of Balakrishnan et al., OSDI 2020).
"""

from __future__ import annotations

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
    copied: dict[str, dict[str, str]] | None = None
    """Only in an emergency, in which the backend that serves is not waited for: by topic, how far the other one has
    copies of it, for good. None (and not written) in every other switch."""

    @property
    def emergency(self) -> bool:
        """Whether what is in flight is not waited for."""
        return self.copied is not None


class Stranded(_Record):
    """What only `backend` holds of a topic since traffic fled from it: all that lies there after `copied`, in its
    segment of `epoch`. `count`, `first` and `last` (event ids) are what live publishers knew to be acknowledged,
    `at_least` that there may be more; `swept`, that it has been delivered since."""

    backend: str
    epoch: int
    copied: dict[str, str]
    count: int = 0
    first: str = ""
    last: str = ""
    at_least: bool = False
    swept: bool = False


class Mirror(_Record):
    """The direction in which the mirror copies.

    For each topic, what lies after `starts` in the source is what lies, as copies, after
    `target_starts` in the target: the pair from which the two logs are compared.
    """

    source: str
    target: str
    starts: dict[str, dict[str, str]]
    target_starts: dict[str, dict[str, str]]


RETIRING = "retire"
"""In progress: a run is about to take the backend that does not serve out of the chains."""


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
    stranded: dict[str, Stranded] | None = None
    """By topic; None (and not written) where nothing is. A database has one: see cutover/database/reached.py."""
    tied_since: str | None = None
    """Of a database: since when a commit at the new side is acknowledged only once the old one has it, too. None (and
    not written) where it is not."""
    share: int | None = Field(default=None, ge=0, le=100)
    """Of a language model service: percent of the conversations that `active` answers; the other side, the rest. None
    (and not written): all of them."""
    sample: float | None = Field(default=None, ge=0, le=100)
    """Of a language model service: percent of the calls that are sent to the side that does not serve, too, off the
    callers' path. None (and not written): none."""
    verdict: str | None = None
    """What the last comparison of both sides found, and when: a text of validation/verdicts.py. None (and not written)
    before there was one."""
    history: tuple[HistoryEntry, ...] = ()

    @property
    def retires(self) -> str | None:
        """The backend, not `active`, that is being taken out of the chains: no group may begin to read there."""
        if self.progress is None or self.progress.step != RETIRING:
            return None
        leaving = {segment.backend for chain in self.chains.values() for segment in chain} - {self.active}
        return next(iter(leaving), None)

    @property
    def last_ended(self) -> str:
        """When the last transition ended; empty where none did."""
        return self.history[-1].at if self.history else ""

    def chain(self, topic: str) -> tuple[Segment, ...]:
        """The segments of `topic`, oldest first.

        Raises KeyError where the topic is not part of this route.
        """
        return self.chains[topic]

    def with_history(self, entry: HistoryEntry) -> Route:
        """This route with `entry` added; the oldest entries beyond HISTORY_LIMIT go."""
        return self.model_copy(update={"history": (*self.history, entry)[-HISTORY_LIMIT:]})

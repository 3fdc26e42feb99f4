"""All that preflight decides over: what both servers said, asked once, and what config allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from adapters.known import Fact, Unknown
from adapters.postgres.facts import Contents, Replication, SideFacts, Slot
from adapters.postgres.masks import Masks
from contracts.stages import BACKENDS, Component, Side
from cutover.plan import Step, Transition

COMPONENT = Component.DATABASE
HOSTED, SELFHOSTED = BACKENDS[COMPONENT][Side.OLD], BACKENDS[COMPONENT][Side.NEW]


class Journey(StrEnum):
    """What kind of transition is to come."""

    ESTABLISH = "establish"
    JOIN = "join"
    """A second side is filled and kept in step."""
    SWITCH = "switch"
    """The other side is to serve."""
    LEAVE = "leave"
    """The side that does not serve is given up."""


def journey(transition: Transition) -> Journey:
    """Of what kind `transition` is."""
    if transition.switches:
        return Journey.SWITCH
    if Step.START_MIRROR in transition.steps:
        return Journey.JOIN
    return Journey.ESTABLISH if Step.ESTABLISH in transition.steps else Journey.LEAVE


class Refused(Unknown):
    """A server that answered, and would not have these credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is asked of both sides. `transaction_seconds`: how long a transaction may be open; a switch waits for it,
    and so does the making of a slot. `head_room`: how far a switch moves a sequence on. `connections`: how many of
    ours there are at a side at most. `copy_rate`: bytes a second that a copy is sure to manage.
    `backup_hours`: how old a backup may be."""

    transaction_seconds: float = 30.0
    head_room: int = 1000
    connections: int = 10
    clock_seconds: float = 2.0
    backup_hours: float = 24.0
    copy_rate: float = 10e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The last backup that was restored to see whether it can be. `hours`: its age, NaN where it is said to be of the
    future."""

    side: str
    hours: float
    place: str


class NotKnown(Exception):
    """A fact that an item needs could not be had; the reason is its text."""


def known[T](fact: Fact[T]) -> T:
    """`fact`, where it is known. Raises NotKnown."""
    if isinstance(fact, Unknown):
        raise NotKnown(fact.why)
    return fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was found before a transition. `source` serves; `target` is the other side (at LEAVE: that which is left),
    "" where there is none. `volumes`: bytes of a side's disk, where config knows them. `pooled`: users as whom the
    pooler connects; empty: the owners of what moves. `encrypt`: sides to which a connection must be encrypted.
    `backup`: the last one, None where none is noted. `accepted`: items that the operator lets pass, of those that may
    be. `masks`: columns whose values are shown nowhere."""

    journey: Journey
    source: str
    target: str
    facts: Mapping[str, Fact[SideFacts]]
    limits: Limits = field(default_factory=Limits)
    volumes: Mapping[str, int] = field(default_factory=dict)
    pooled: frozenset[str] = frozenset()
    encrypt: frozenset[str] = frozenset()
    backup: Fact[Backup | None] = None
    accepted: frozenset[str] = frozenset()
    masks: Masks = field(default_factory=Masks)

    @property
    def going_back(self) -> bool:
        """Whether traffic returns to the hosted side. What is wrong with the side that it leaves, and is no danger to
        data, must not stand in the way of that."""
        return self.journey is Journey.SWITCH and self.source == SELFHOSTED

    @property
    def serving(self) -> SideFacts:
        """The facts of the source. Raises NotKnown."""
        return known(self.facts.get(self.source, Unknown(f"{self.source} was not asked")))

    @property
    def moving(self) -> Contents:
        """What moves, as the source has it. Raises NotKnown."""
        return known(self.serving.contents)

    @property
    def workload(self) -> frozenset[str]:
        """The users by whom the workload's sessions are known. Raises NotKnown."""
        return self.pooled or frozenset(table.owner for table in self.moving.tables)


def slot_of(replication: Replication, name: str) -> Slot | None:
    """The slot of this name, whichever database it is of: a server has one namespace for all."""
    return next((slot for slot in replication.slots if slot.name == name), None)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

"""Which dead letters are replayed, and their replay."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from adapters.event_bus import EventBusError, Receipt
from adapters.event_bus.base import Stored
from adapters.event_bus.dead_letters import DeadLetter, letters
from contracts.envelope import Event
from contracts.names import dead_letter_topic

_BATCH = 500
_ANSWER_SECONDS = 60.0


class Bus(Protocol):
    """What a replay needs of the event bus."""

    def stored(self, topic: str) -> Iterator[Stored]:
        """All that `topic` holds."""

    def publish_event(self, event: Event) -> Future[Receipt]:
        """Publish an event with its own id."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: the letters to `replay`, those `passed_over` with the reason, and ids that none has."""

    replay: tuple[DeadLetter, ...]
    passed_over: tuple[tuple[DeadLetter, str], ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class Replayed:
    """What became of a replay: ids of letters, and errors by such."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def find(bus: Bus, topic: str, group: str = "") -> list[DeadLetter]:
    """The letters of `topic`, of `group` where one is given, oldest first. Raises EventBusError."""
    found = letters(bus.stored(dead_letter_topic(topic)))
    return [one for one in found if group in ("", one.group)]


def choose(found: Sequence[DeadLetter], ids: Collection[str], *, again: bool) -> Choice:
    """Of `found`, those that `ids` name (of a letter or of its event; all, where none is given). What was replayed
    before is passed over unless `again`, and what holds no event in any case."""
    wanted = [one for one in found if not ids or one.id in ids or (one.event is not None and one.event.id in ids)]
    known = {name for one in wanted for name in (one.id, one.event.id if one.event else "")}
    replay, passed = [], []
    for one in wanted:
        if one.event is None:
            passed.append((one, f"it holds no event: {one.problem}"))
        elif one.replays and not again:
            passed.append((one, "it was replayed before: give --again to do it once more"))
        else:
            replay.append(one)
    return Choice(tuple(replay), tuple(passed), tuple(sorted(set(ids) - known)))


def replay(bus: Bus, chosen: Sequence[DeadLetter]) -> Replayed:
    """Publish the events of `chosen` again, oldest first, and note each that is durable.

    Cut off between the two, or where the note fails, an event is replayed twice: it has one id, by which a
    handler that claims ids takes effect of it once.
    """
    outcome = Replayed()
    for first in range(0, len(chosen), _BATCH):
        batch = list(chosen[first : first + _BATCH])
        durable = _published(bus, [(one, one.replayed()) for one in batch], outcome)
        noted = _published(bus, [(one, one.note()) for one in durable], outcome)
        outcome.done += [one.id for one in noted]
    return outcome


def _published(bus: Bus, events: Sequence[tuple[DeadLetter, Event]], outcome: Replayed) -> list[DeadLetter]:
    waiting: list[tuple[DeadLetter, Future[Receipt]]] = []
    for one, event in events:
        try:
            waiting.append((one, bus.publish_event(event)))
        except EventBusError as error:
            outcome.failed[one.id] = str(error)
    durable = []
    for one, future in waiting:
        try:
            future.result(_ANSWER_SECONDS)
            durable.append(one)
        except (EventBusError, TimeoutError) as error:
            outcome.failed[one.id] = str(error) or f"no answer within {_ANSWER_SECONDS:g} s: it may be published"
    return durable

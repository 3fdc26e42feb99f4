"""Dead letters: what a consumer could not take, kept whole, and published again once it can.

A letter lies in the topic's dead-letter topic, which is a chain of segments like any other, so it moves with
the event bus. That it was replayed is noted by another entry of the same topic: nothing else is kept.

A replayed event has its own id and counts only for the group that set it aside: other groups, which took it
long ago, pass it over. It comes after whatever was published of its key meanwhile.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.event_bus.base import Stored
from contracts.envelope import Event, MalformedEvent, parse_event
from contracts.names import dead_letter_topic

LETTER_TYPE = "dev.crossover.dead_letter"
REPLAYED_TYPE = "dev.crossover.dead_letter.replayed"
_MOST_CAUSE = 4000
"""Characters of a cause: an exception's text may hold the whole payload."""


class _Letter(BaseModel):
    """The content of a letter on the wire."""

    model_config = ConfigDict(frozen=True)

    topic: str
    group: str
    cause: str
    attempts: int
    attributes: dict[str, str]
    payload_base64: str


class _Replayed(BaseModel):
    """The content of the note that a letter was replayed."""

    model_config = ConfigDict(frozen=True)

    letter: str
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One event that was set aside. `event` is None where it never was one: `problem` says why it cannot be
    published again. `replays`: how often it was."""

    id: str
    at: str
    topic: str
    group: str
    cause: str
    attempts: int
    bytes: int
    event: Event | None
    problem: str = ""
    replays: int = 0

    def replayed(self) -> Event:
        """The event as it is published again, for its group alone. Raises ValueError where it is none."""
        if self.event is None:
            raise ValueError(f"dead letter {self.id} holds no event: {self.problem}")
        return self.event._replace(replay_for=self.group)

    def note(self) -> Event:
        """The entry that says that this letter was replayed."""
        content = _Replayed(letter=self.id, event=self.event.id if self.event else "")
        return Event.create(
            dead_letter_topic(self.topic),
            self.event.key if self.event else self.id,
            content.model_dump_json().encode(),
            source=f"crossover/{self.group}",
            type=REPLAYED_TYPE,
        )


def letter(
    topic: str, group: str, key: str, payload: bytes, *, cause: str, attempts: int, attributes: dict[str, str]
) -> Event:
    """The letter for what `group` could not take of `topic`. `attributes`: its headers, where it is an event."""
    if len(cause) > _MOST_CAUSE:
        cause = f"{cause[:_MOST_CAUSE]}... ({len(cause)} characters)"
    content = {
        "topic": topic,
        "group": group,
        "cause": cause,
        "attempts": attempts,
        "attributes": attributes,
        "payload_base64": base64.b64encode(payload).decode(),
    }
    return Event.create(
        dead_letter_topic(topic),
        key,
        json.dumps(content, ensure_ascii=False).encode(errors="replace"),
        source=f"crossover/{group}",
        type=LETTER_TYPE,
    )


def applies(event: Event, group: str) -> bool:
    """Whether `event` counts for `group`: a replay counts for one alone."""
    return not event.replay_for or event.replay_for == group


def letters(entries: Iterable[Stored]) -> list[DeadLetter]:
    """The letters among the `entries` of a dead-letter topic, oldest first, each with how often it was replayed.
    What is neither a letter nor a note is passed over: it was put there by somebody else."""
    found: dict[str, DeadLetter] = {}
    replays: dict[str, int] = {}
    for event in _events(entries):
        if event.type == LETTER_TYPE and (one := _read(event)) is not None:
            found.setdefault(one.id, one)
        elif event.type == REPLAYED_TYPE and (note := _noted(event)) is not None:
            replays[note] = replays.get(note, 0) + 1
    return [replace(one, replays=replays.get(one.id, 0)) for _, one in sorted(found.items())]


def _events(entries: Iterable[Stored]) -> Iterator[Event]:
    for entry in entries:
        if entry.event is not None:
            yield entry.event


def _read(event: Event) -> DeadLetter | None:
    try:
        content = _Letter.model_validate_json(event.payload)
        payload = base64.b64decode(content.payload_base64)
    except ValueError:
        return None
    original, problem = None, ""
    try:
        headers = {name: value.encode() for name, value in content.attributes.items()}
        original = parse_event(content.topic, headers, payload)._replace(epoch=0)
    except MalformedEvent as error:
        problem = str(error)
    return DeadLetter(
        id=event.id,
        at=event.time,
        topic=content.topic,
        group=content.group,
        cause=content.cause,
        attempts=content.attempts,
        bytes=len(payload),
        event=original,
        problem=problem,
    )


def _noted(event: Event) -> str | None:
    try:
        return _Replayed.model_validate_json(event.payload).letter
    except ValidationError:
        return None

"""Between an `Event` and what a backend stores: headers and payload; and between positions as text."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.event_bus.base import ORIGIN_HEADER, PLACE_HEADER, LogSettings, Stored, order
from adapters.event_bus.errors import EventTooLarge, UnknownTopic
from contracts.envelope import Event, MalformedEvent, parse_event
from contracts.names import DEAD_LETTER_SUFFIX, all_topics
from contracts.routes import Cursor

LETTER_ROOM_BYTES = 64 << 10
"""What a dead letter has beyond the payload that it holds: cause, group and the event's attributes."""
_REPLAY_ROOM_BYTES = 1 << 10


def size_limit(settings: LogSettings, event: Event) -> int:
    """Bytes that `event` may have. A letter holds a payload of any admitted size as base64, and what was set
    aside can be published again: else the largest events could be neither taken nor set aside."""
    limit = settings.max_event_bytes
    if event.topic.endswith(DEAD_LETTER_SUFFIX):
        return letter_limit(limit)
    return limit + _REPLAY_ROOM_BYTES if event.replay_for else limit


def letter_limit(max_event_bytes: int) -> int:
    """Bytes of the largest dead letter where events have up to `max_event_bytes`."""
    return max_event_bytes * 4 // 3 + LETTER_ROOM_BYTES


def admit(settings: LogSettings, event: Event) -> int:
    """The size of `event` in bytes, where it may be sent.

    Raises UnknownTopic or EventTooLarge.
    """
    topics = all_topics(settings.topics)
    if topics and event.topic not in topics:
        raise UnknownTopic(event.topic, topics)
    size = event.size()
    if size > (limit := size_limit(settings, event)):
        raise EventTooLarge(event.id, size, limit)
    return size


def decode(
    topic: str,
    partition: int,
    position: str,
    headers: Mapping[str, bytes],
    payload: bytes,
    *,
    delivery_count: int = 1,
    handle: object = None,
) -> Stored:
    """What is stored at `position`, as callers see it. Never raises: what cannot be parsed has event=None."""
    origin = headers.get(ORIGIN_HEADER)
    event, error = None, ""
    try:
        event = parse_event(topic, headers, payload)
    except MalformedEvent as malformed:
        error = str(malformed)
    return Stored(
        event=event,
        partition=partition,
        position=position,
        origin=None if origin is None else origin.decode(errors="replace"),
        raw=payload,
        error=error,
        delivery_count=delivery_count,
        handle=handle,
    )


def place_header(entry: Stored, segment: int) -> dict[str, bytes]:
    """Where `entry` lies in the segment of epoch `segment`, for a copy of it."""
    return {PLACE_HEADER: f"{segment}:{entry.partition}:{entry.position}".encode()}


def encode_copy(entry: Stored, source: str, segment: int | None = None) -> tuple[dict[str, bytes], str | None, bytes]:
    """Headers, key and payload with which `entry` of the log `source` is copied into another; with its place in
    `segment`, where that is given.

    What could not be parsed is copied as it lies, without a key, and cannot be parsed there either.
    """
    origin = {ORIGIN_HEADER: source.encode()}
    if segment is not None:
        origin |= place_header(entry, segment)
    if entry.event is None:
        return origin, None, entry.raw
    return entry.event.headers() | origin, entry.event.key, entry.event.payload


def reached(position: Cursor, goal: Cursor) -> bool:
    """Whether `position` is at or beyond `goal` in every partition of `goal`; a partition that
    `position` does not name stands at its very beginning."""
    return all(order(position.get(partition, "0")) >= order(place) for partition, place in goal.items())

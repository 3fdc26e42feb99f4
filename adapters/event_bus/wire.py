"""Between an `Event` and what a backend stores: headers and payload; and between positions as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from adapters.event_bus.base import ORIGIN_HEADER, PLACE_HEADER, LogSettings, Stored, order
from adapters.event_bus.errors import EventTooLarge, UnknownTopic
from adapters.event_bus.parcels import LANES, PARCEL_BYTES, PARCEL_EVENTS, Parcel
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


def pack(settings: LogSettings, events: Sequence[Event], chains: Collection[str] | None = None) -> list[Parcel]:
    """`events` as parcels: those of a key in their order. `chains`: the topics that the route knows; None where
    none was seen yet.

    Raises UnknownTopic or EventTooLarge.
    """
    topics = all_topics(settings.topics)
    limit = settings.max_event_bytes
    parcels: list[Parcel] = []
    filling: dict[tuple[str, int], _Filling] = {}
    for place, event in enumerate(events):
        size = event.size()
        if size > limit and size > (its_own := size_limit(settings, event)):
            raise EventTooLarge(event.id, size, its_own)
        lane = event.topic, hash(event.key) % LANES
        at = filling.get(lane)
        if at is None:
            if topics and event.topic not in topics:
                raise UnknownTopic(event.topic, topics)
            if chains is not None and event.topic not in chains:
                raise UnknownTopic(event.topic, tuple(chains))
            at = filling[lane] = _Filling()
        elif len(at.events) >= PARCEL_EVENTS or at.size + size > PARCEL_BYTES:
            parcels.append(at.parcel(*lane))
            at = filling[lane] = _Filling()
        at.events.append(event)
        at.places.append(place)
        at.size += size
    parcels += [at.parcel(*lane) for lane, at in filling.items()]
    return parcels


class _Filling:
    """A parcel that is being filled."""

    __slots__ = ("events", "places", "size")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.places: list[int] = []
        self.size = 0

    def parcel(self, topic: str, lane: int) -> Parcel:
        """It is full."""
        return Parcel(topic, lane, self.events, self.places, self.size)


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
    source = None if origin is None else origin.decode(errors="replace")
    return Stored(event, partition, position, source, payload, error, delivery_count, handle)


def place_header(entry: Stored, segment: int) -> dict[str, bytes]:
    """Where `entry` lies in the segment of epoch `segment`, for a copy of it."""
    return {PLACE_HEADER: f"{segment}:{entry.partition}:{entry.position}".encode()}


def encode_copy(
    entry: Stored, source: str, segment: int | None = None
) -> tuple[list[tuple[str, bytes]], str | None, bytes]:
    """Headers, key and payload with which `entry` of the log `source` is copied into another; with its place in
    `segment`, where that is given.

    What could not be parsed is copied as it lies, without a key, and cannot be parsed there either.
    """
    event = entry.event
    headers = [] if event is None else event.wire_headers(event.epoch)
    headers.append((ORIGIN_HEADER, source.encode()))
    if segment is not None:
        headers += place_header(entry, segment).items()
    if event is None:
        return headers, None, entry.raw
    return headers, event.key, event.payload


def reached(position: Cursor, goal: Cursor) -> bool:
    """Whether `position` is at or beyond `goal` in every partition of `goal`; a partition that
    `position` does not name stands at its very beginning."""
    return all(order(position.get(partition, "0")) >= order(place) for partition, place in goal.items())

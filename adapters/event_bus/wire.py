"""Between an `Event` and what a backend stores: headers and payload; and between positions as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from adapters.event_bus.base import ORIGIN_HEADER, PLACE_HEADER, LogSettings, Stored, order
from adapters.event_bus.errors import EventTooLarge, UnknownTopic
from adapters.event_bus.parcels import LANES, PARCEL_BYTES, PARCEL_EVENTS, Parcel
from contracts.envelope import Event, MalformedEvent, parse_event, sizes, wire_rows
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
    measured = list(sizes(events))
    if measured and max(measured) > settings.max_event_bytes:
        for event, size in zip(events, measured, strict=True):
            if size > (limit := size_limit(settings, event)):
                raise EventTooLarge(event.id, size, limit)
    lanes: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for place, event in enumerate(events):
        lanes[event.topic, hash(event.key) % LANES].append(place)
    parcels: list[Parcel] = []
    for (topic, lane), all_places in lanes.items():
        if topics and topic not in topics:
            raise UnknownTopic(topic, topics)
        if chains is not None and topic not in chains:
            raise UnknownTopic(topic, tuple(chains))
        for places, size in _divided(all_places, measured):
            parcels.append(Parcel(topic, lane, [events[place] for place in places], places, size))
    return parcels


def _divided(places: Sequence[int], measured: Sequence[int]) -> Iterator[tuple[Sequence[int], int]]:
    """`places` in pieces that fit a parcel, each with its bytes."""
    for begin in range(0, len(places), PARCEL_EVENTS):
        piece = places[begin : begin + PARCEL_EVENTS]
        size = sum([measured[place] for place in piece])
        if size <= PARCEL_BYTES:
            yield piece, size
            continue
        first = size = 0
        for n, place in enumerate(piece):
            if n > first and size + measured[place] > PARCEL_BYTES:
                yield piece[first:n], size
                first, size = n, 0
            size += measured[place]
        yield piece[first:], size


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


def copied_rows(
    entries: Sequence[Stored], source: str
) -> Iterator[tuple[bytes, bytes | None, list[tuple[str, bytes]]]]:
    """Payload, key and headers of copies, as encode_copy has them one by one."""
    origin = (ORIGIN_HEADER, source.encode())
    events = [entry.event for entry in entries if entry.event is not None]
    if len(events) < len(entries):
        for entry in entries:
            headers, key, payload = encode_copy(entry, source)
            yield payload, None if key is None else key.encode(), headers
        return
    for payload, own, headers in wire_rows(events):
        headers.append(origin)
        yield payload, own, headers


def reached(position: Cursor, goal: Cursor) -> bool:
    """Whether `position` is at or beyond `goal` in every partition of `goal`; a partition that
    `position` does not name stands at its very beginning."""
    return all(order(position.get(partition, "0")) >= order(place) for partition, place in goal.items())

"""The keys of a topic in Redis, and what its entries look like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from adapters.event_bus.base import ORIGIN_HEADER, PLACE_HEADER, Stored
from adapters.event_bus.redis_client import Argument
from adapters.event_bus.wire import decode, place_header
from contracts.envelope import DATA_FIELD, OWN_HEADERS, Event, parse_fields

PARTITION = "0"
"""A stream has no partitions: all cursors name this one."""
NOTHING = "0-0"
"""The position before everything."""
_MAX_COUNT = (1 << 64) - 1
_PLACE, _ORIGIN = PLACE_HEADER.encode(), ORIGIN_HEADER.encode()
_PLACE_AT = 2 * OWN_HEADERS
_COPY_LENGTH = _PLACE_AT + 6
"""Of a copy's fields: as copy_arguments has them, with the place before the payload, and the origin behind it."""


def producers_key(topic: str) -> str:
    """A hash: producer -> its last batch and the answer to it."""
    return f"crossover:{topic}:producers"


def seal_key(topic: str) -> str:
    """The epoch since which the topic is sealed; absent while it is open."""
    return f"crossover:{topic}:seal"


def owner_key(topic: str, group: str) -> str:
    """The active member of a group; expires when it is silent."""
    return f"crossover:{topic}:{group}:owner"


def taken_key(topic: str, group: str) -> str:
    """A hash: `epoch:partition` of the other log -> the offset before which the group took all there."""
    return f"crossover:{topic}:{group}:taken"


def copier_key(topic: str, source: str) -> str:
    """A hash: the newest copying session, and its last batch; `closed` while no copies are taken."""
    return f"crossover:{topic}:copier:{source}"


def copied_key(topic: str) -> str:
    """A hash: source -> the cursor up to which it has been copied, as JSON."""
    return f"crossover:{topic}:copied"


def before(position: str) -> str:
    """The position right before `position`."""
    time, _, count = position.partition("-")
    if int(count) > 0:
        return f"{time}-{int(count) - 1}"
    return NOTHING if int(time) == 0 else f"{int(time) - 1}-{_MAX_COUNT}"


def event_arguments(event: Event, epoch: int, more: Mapping[str, bytes] | None = None) -> list[Argument]:
    """The number of fields and values of the entry of `event` as written under `epoch`, with `more` headers, and
    these."""
    fields: list[Argument] = [*event.wire_fields(epoch)]
    for header in more.items() if more else ():
        fields += header
    return [len(fields) + 2, *fields, DATA_FIELD, event.payload]


def entry_arguments(headers: Mapping[str, bytes], payload: bytes) -> list[Argument]:
    """The number of fields and values of an entry, and these."""
    arguments: list[Argument] = [2 * len(headers) + 2]
    for name, value in headers.items():
        arguments += (name, value)
    arguments += (DATA_FIELD, payload)
    return arguments


def copy_arguments(entry: Stored, segment: int) -> list[Argument]:
    """The arguments of a copy of `entry`; the origin header is added by the function."""
    place = place_header(entry, segment)
    if entry.event is None:
        return entry_arguments(place, entry.raw)
    return event_arguments(entry.event, entry.event.epoch, place)


@lru_cache(maxsize=1024)
def _names(raw: tuple[bytes, ...]) -> tuple[str, ...]:
    """The names of an entry's fields as text: entries of one kind have the same."""
    return tuple(name.decode(errors="backslashreplace") for name in raw)


def parse_entry(topic: str, entry: Sequence[Any], deliveries: int = 1) -> Stored:
    """An entry as XRANGE and XREADGROUP answer it."""
    position, flat = entry[0].decode(), entry[1]
    origin = None
    own = flat
    if len(flat) == _COPY_LENGTH and flat[_PLACE_AT] == _PLACE and flat[-2] == _ORIGIN:
        origin, own = flat[-1].decode(errors="replace"), [*flat[:_PLACE_AT], *flat[_PLACE_AT + 2 : -2]]
    event = parse_fields(topic, own)
    if event is not None:
        return tuple.__new__(Stored, (event, 0, position, origin, event.payload, "", deliveries, None))
    fields = dict(zip(_names(tuple(flat[::2])), flat[1::2], strict=True))
    payload = fields.pop(DATA_FIELD, None)
    if payload is None:
        # Not one of ours. Kept whole, so that a dead letter loses nothing.
        readable = {name: value.decode(errors="backslashreplace") for name, value in fields.items()}
        return Stored(
            event=None,
            partition=0,
            position=position,
            origin=readable.get(ORIGIN_HEADER),
            raw=json.dumps(readable).encode(),
            error=f"entry {position} of {topic!r} has no field {DATA_FIELD!r}",
            delivery_count=deliveries,
        )
    return decode(topic, 0, position, fields, payload, delivery_count=deliveries)

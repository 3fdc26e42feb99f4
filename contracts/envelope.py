"""The event envelope: the CloudEvents 1.0 attributes, and how they stand on the wire.

Attribute names follow the CloudEvents specification (v1.0.2) and its Kafka protocol
binding in binary mode: each attribute is a header `ce_<name>`, the payload is the
record's value, untouched. Redis entries carry the same names as stream fields.
"""

from __future__ import annotations

import os
import threading
import time as clock
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

HEADER_PREFIX = "ce_"
CONTENT_TYPE_HEADER = "content-type"
DATA_FIELD = "data"
"""The field of a Redis entry that holds the payload."""
REPLAY_HEADER = "ce_crossoverreplayfor"
"""On an event that was set aside once and is published again: the one consumer group that it counts for."""
DEFAULT_TYPE = "dev.crossover.event"
DEFAULT_CONTENT_TYPE = "application/json"
_REQUIRED = ("id", "source", "type", "time", "specversion", "partitionkey")

_uuid_lock = threading.Lock()
_uuid_last = (0, 0)


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562) as text, increasing within this process.

    The 12 bits of rand_a count within one millisecond (method 1 of section 6.2).
    """
    global _uuid_last  # noqa: PLW0603  # one counter a process, guarded by its lock
    with _uuid_lock:
        milliseconds = clock.time_ns() // 1_000_000
        last_ms, count = _uuid_last
        if milliseconds <= last_ms:
            milliseconds, count = (last_ms, count + 1) if count < 0xFFF else (last_ms + 1, 0)
        else:
            count = 0
        _uuid_last = (milliseconds, count)
    tail = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    value = milliseconds << 80 | 7 << 76 | count << 64 | 2 << 62 | tail
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class MalformedEvent(ValueError):
    """An event that cannot be sent or read as it is: which attribute, and why."""


class Event(NamedTuple):
    """One event, made by keywords. It is a tuple, for one is made for each that is read, and nothing else that cannot
    be changed is made as fast. `payload` is opaque bytes; `time` is RFC 3339 UTC; `epoch` is the route's
    epoch under which it was first written (0: not yet written); `replay_for` is the one consumer
    group that it counts for (empty: every group)."""

    topic: str
    key: str
    payload: bytes
    id: str
    source: str
    time: str
    type: str = DEFAULT_TYPE
    content_type: str = DEFAULT_CONTENT_TYPE
    schema_version: str = "1"
    epoch: int = 0
    replay_for: str = ""

    @staticmethod
    def create(
        topic: str,
        key: str,
        payload: bytes,
        *,
        source: str,
        type: str = DEFAULT_TYPE,
        content_type: str = DEFAULT_CONTENT_TYPE,
    ) -> Event:
        """A new event with a fresh id and the time of now.

        Raises MalformedEvent where topic, key or source is empty, or payload is not bytes.
        """
        for name, value in (("topic", topic), ("key", key), ("source", source), ("type", type)):
            if not isinstance(value, str) or not value:
                raise MalformedEvent(f"event {name} must be a non-empty string, got {value!r}")
        if not isinstance(payload, bytes):
            raise MalformedEvent(f"event payload must be bytes, got {payload.__class__.__name__}: encode it first")
        return Event(
            topic=topic,
            key=key,
            payload=payload,
            id=new_event_id(),
            source=source,
            time=datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            type=type,
            content_type=content_type,
        )

    def under(self, epoch: int) -> Event:
        """This event as written under `epoch`."""
        return self._replace(epoch=epoch)

    def size(self) -> int:
        """Bytes on the wire: payload, key and headers."""
        return next(sizes((self,)))

    def headers(self) -> dict[str, bytes]:
        """The attributes as header name -> value."""
        return dict(self.wire_headers(self.epoch))

    def wire_headers(self, epoch: int) -> list[tuple[str, bytes]]:
        """The attributes as headers, of this event as written under `epoch`."""
        return next(wire_rows((self,), epoch))[2]

    def wire_fields(self, epoch: int) -> list[str | bytes]:
        """The same as names and values by turns."""
        constant = _constant_fields(self.source, self.type, self.content_type, self.schema_version, epoch)
        fields = ["ce_id", self.id, "ce_time", self.time, "ce_partitionkey", self.key, *constant]
        if self.replay_for:
            fields += (REPLAY_HEADER, self.replay_for)
        return fields


def sizes(events: Iterable[Event]) -> Iterator[int]:
    """The bytes on the wire of each event: payload, key and headers."""
    seen: tuple[str, str, str, str, int] | None = None
    constant = 0
    for _, key, payload, id, source, time, type, content_type, schema_version, epoch, replay_for in events:
        kind = source, type, content_type, schema_version, epoch
        if kind != seen:
            constant, seen = _constant_size(*kind), kind
        own = id + time + key
        size = len(payload) + constant + (len(own) if own.isascii() else len(own.encode()))
        yield size + len(REPLAY_HEADER) + len(replay_for.encode()) if replay_for else size


def wire_rows(
    events: Iterable[Event], epoch: int | None = None
) -> Iterator[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    """Payload, key and headers of each event as written under `epoch`, or under the one that each has.

    One by one, for thousands of headers at once would keep the garbage collector busy."""
    seen: tuple[str, str, str, str, int] | None = None
    constant: tuple[tuple[str, bytes], ...] = ()
    for _, text, payload, id, source, time, type, content_type, schema_version, own, replay_for in events:
        key = text.encode()
        kind = source, type, content_type, schema_version, own if epoch is None else epoch
        if kind != seen:
            constant, seen = _constant_headers(*kind), kind
        headers = [("ce_id", id.encode()), ("ce_time", time.encode()), ("ce_partitionkey", key), *constant]
        if replay_for:
            headers.append((REPLAY_HEADER, replay_for.encode()))
        yield payload, key, headers


@lru_cache(maxsize=1024)
def _constant_headers(
    source: str, type: str, content_type: str, schema_version: str, epoch: int
) -> tuple[tuple[str, bytes], ...]:
    """The headers that events of one kind share: made once, for they are most of the cost of an event."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", type.encode()),
        ("ce_schemaversion", schema_version.encode()),
        ("ce_epoch", str(epoch).encode()),
        (CONTENT_TYPE_HEADER, content_type.encode()),
    )


@lru_cache(maxsize=1024)
def _constant_fields(
    source: str, type: str, content_type: str, schema_version: str, epoch: int
) -> tuple[str | bytes, ...]:
    """The same as names and values by turns."""
    return tuple(chain.from_iterable(_constant_headers(source, type, content_type, schema_version, epoch)))


@lru_cache(maxsize=1024)
def _constant_size(source: str, type: str, content_type: str, schema_version: str, epoch: int) -> int:
    """Bytes of the shared headers, and of the names of the others."""
    constant = _constant_headers(source, type, content_type, schema_version, epoch)
    return sum(len(name) + len(value) for name, value in constant) + len("ce_idce_timece_partitionkey")


def parse_event(topic: str, headers: Mapping[str, bytes], payload: bytes) -> Event:
    """The event that `headers` and `payload` of a stored record stand for.

    Raises MalformedEvent naming the missing or unreadable attribute.
    """
    get = headers.get
    try:
        shared = _shared_attributes(
            get("ce_specversion", b""), get("ce_source", b""), get("ce_type", b""), get(CONTENT_TYPE_HEADER),
            get("ce_schemaversion", b"1"), get("ce_epoch", b"0"), get(REPLAY_HEADER, b""),
        )  # fmt: skip
        id, time, key = get("ce_id", b"").decode(), get("ce_time", b"").decode(), get("ce_partitionkey", b"").decode()
        for name in headers.keys() - _KNOWN if len(headers) > len(_OWN) else ():
            headers[name].decode()
    except UnicodeDecodeError as error:
        raise MalformedEvent(f"header {_unreadable(headers)!r} of an event in {topic!r} is not UTF-8") from error
    if shared is None or not (id and time and key):
        raise MalformedEvent(f"an event in {topic!r} {_complaint(headers)}")
    return Event(topic, key, payload, id, shared[0], time, *shared[1:])


def parse_ordered(topic: str, headers: Sequence[tuple[str, bytes]], payload: bytes) -> Event | None:
    """As parse_event, at a fraction of its cost, where `headers` stand just as wire_rows writes them and there are no
    others; else None."""
    if len(headers) != len(_OWN):
        return None
    (first, id), (second, time), (third, key), *others = headers
    if first != "ce_id" or second != "ce_time" or third != "ce_partitionkey":
        return None
    seen, shared = _recent[0]
    if others != seen:  # to compare costs half of what it costs to look them up
        shared = _shared_in_order(tuple(others))
        _recent[0] = others, shared
    return None if shared is None else _read(topic, id, time, key, payload, shared)


def parse_fields(topic: str, flat: Sequence[bytes]) -> Event | None:
    """As parse_ordered, of names and values by turns, the payload the last of them as `data`."""
    if flat[::2] != _FIELDS:
        return None
    shared = _shared_values(tuple(flat[7:18:2]))
    return None if shared is None else _read(topic, flat[1], flat[3], flat[5], flat[19], shared)


def _read(topic: str, id: bytes, time: bytes, key: bytes, payload: bytes, shared: _Shared) -> Event | None:
    """The event, past its constructor, which costs as much again; None where it is not one."""
    if not (id and time and key):
        return None
    source, type, content_type, schema, epoch, replay = shared
    try:
        return tuple.__new__(
            Event,
            (
                topic,
                key.decode(),
                payload,
                id.decode(),
                source,
                time.decode(),
                type,
                content_type,
                schema,
                epoch,
                replay,
            ),
        )
    except UnicodeDecodeError:
        return None


_OWN = ("ce_id", "ce_time", "ce_partitionkey", "ce_specversion", "ce_source", "ce_type", "ce_schemaversion",
        "ce_epoch", CONTENT_TYPE_HEADER)  # fmt: skip
OWN_HEADERS = len(_OWN)
"""Of an event that is no replay: how many headers it has."""
_KNOWN = frozenset((*_OWN, REPLAY_HEADER))
_FIELDS = [*(name.encode() for name in _OWN), DATA_FIELD.encode()]
_Shared = tuple[str, str, str, str, int, str]
"""Source, type, content type, schema version, epoch, replay_for."""
_recent: list[tuple[list[tuple[str, bytes]], _Shared | None]] = [([], None)]
"""The shared headers that were read last, and what they say: most events have the same as the one before."""


@lru_cache(maxsize=1024)
def _shared_attributes(
    specversion: bytes,
    source: bytes,
    type: bytes,
    content_type: bytes | None,
    schema: bytes,
    epoch: bytes,
    replay: bytes,
) -> _Shared | None:
    """What the events of one kind share, read once; None where it is not that of an event. Raises
    UnicodeDecodeError."""
    content = DEFAULT_CONTENT_TYPE if content_type is None else content_type.decode()
    number = epoch.decode()
    text = specversion.decode(), source.decode(), type.decode(), content, schema.decode(), number, replay.decode()
    if not (all(text[:3]) and number.isdigit()):
        return None
    return text[1], text[2], content, text[4], int(number), text[6]


@lru_cache(maxsize=1024)
def _shared_in_order(headers: tuple[tuple[str, bytes], ...]) -> _Shared | None:
    """The shared attributes, where `headers` are all of them as _constant_headers has them."""
    names, values = zip(*headers, strict=True)
    return _shared_values(values) if names == _OWN[3:] and None not in values else None


@lru_cache(maxsize=1024)
def _shared_values(values: tuple[bytes, ...]) -> _Shared | None:
    """The shared attributes, in the order of _constant_headers; None where they are not those of an event."""
    specversion, source, type, schema, epoch, content_type = values
    try:
        return _shared_attributes(specversion, source, type, content_type, schema, epoch, b"")
    except UnicodeDecodeError:
        return None


def _unreadable(headers: Mapping[str, bytes]) -> str:
    """The first header that is no text."""
    for name, value in headers.items():
        try:
            value.decode()
        except UnicodeDecodeError:
            return name
    return ""


def _complaint(headers: Mapping[str, bytes]) -> str:
    """What keeps `headers` from being those of an event."""
    missing = [name for name in _REQUIRED if not headers.get(HEADER_PREFIX + name)]
    if missing:
        return f"lacks the CloudEvents attributes {', '.join(missing)}"
    return f"has the ce_epoch {headers.get('ce_epoch', b'').decode()!r}, not a whole number"

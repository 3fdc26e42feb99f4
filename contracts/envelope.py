"""The event envelope: the CloudEvents 1.0 attributes, and how they stand on the wire.

Attribute names follow the CloudEvents specification (v1.0.2) and its Kafka protocol
binding in binary mode: each attribute is a header `ce_<name>`, the payload is the
record's value, untouched. Redis entries carry the same names as stream fields.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

HEADER_PREFIX = "ce_"
CONTENT_TYPE_HEADER = "content-type"
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
        milliseconds = time.time_ns() // 1_000_000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `payload` is opaque bytes; `time` is RFC 3339 UTC; `epoch` is the route's
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
        return replace(self, epoch=epoch)

    def size(self) -> int:
        """Bytes on the wire: payload, key and headers."""
        return len(self.payload) + sum(len(k) + len(v) for k, v in self.headers().items())

    def headers(self) -> dict[str, bytes]:
        """The attributes as header name -> value."""
        found = {
            "ce_specversion": b"1.0",
            "ce_id": self.id.encode(),
            "ce_source": self.source.encode(),
            "ce_type": self.type.encode(),
            "ce_time": self.time.encode(),
            "ce_partitionkey": self.key.encode(),
            "ce_schemaversion": self.schema_version.encode(),
            "ce_epoch": str(self.epoch).encode(),
            CONTENT_TYPE_HEADER: self.content_type.encode(),
        }
        if self.replay_for:
            found[REPLAY_HEADER] = self.replay_for.encode()
        return found


def parse_event(topic: str, headers: Mapping[str, bytes], payload: bytes) -> Event:
    """The event that `headers` and `payload` of a stored record stand for.

    Raises MalformedEvent naming the missing or unreadable attribute.
    """
    text: dict[str, str] = {}
    for name, value in headers.items():
        try:
            text[name] = value.decode()
        except UnicodeDecodeError as error:
            raise MalformedEvent(f"header {name!r} of an event in {topic!r} is not UTF-8") from error
    missing = [name for name in _REQUIRED if not text.get(HEADER_PREFIX + name)]
    if missing:
        raise MalformedEvent(f"an event in {topic!r} lacks the CloudEvents attributes {', '.join(missing)}")
    epoch = text.get("ce_epoch", "0")
    if not epoch.isdigit():
        raise MalformedEvent(f"ce_epoch of an event in {topic!r} is {epoch!r}, not a whole number")
    return Event(
        topic=topic,
        key=text["ce_partitionkey"],
        payload=payload,
        id=text["ce_id"],
        source=text["ce_source"],
        time=text["ce_time"],
        type=text["ce_type"],
        content_type=text.get(CONTENT_TYPE_HEADER, DEFAULT_CONTENT_TYPE),
        schema_version=text.get("ce_schemaversion", "1"),
        epoch=int(epoch),
        replay_for=text.get(REPLAY_HEADER, ""),
    )

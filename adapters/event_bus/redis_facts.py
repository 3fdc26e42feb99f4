"""What Redis tells of itself: asked by one connection, changing nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.event_bus.base import gaps_between
from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError
from adapters.event_bus.facts import Gap, LogFacts, Memory, Persistence, Retained, Rights, TopicFacts
from adapters.event_bus.redis_client import Argument, RedisConnection, fsync_policy
from adapters.event_bus.redis_keys import NOTHING, PARTITION, before, copied_key, producers_key, seal_key
from adapters.event_bus.redis_reader import group_rows
from adapters.known import Clock, Fact, Unknown
from contracts.routes import Segment

_SAMPLES = 100
"""Nodes of a stream that are measured; the rest is taken to be like them."""
_LARGEST_PAGE = 100
"""Entries that are looked at in one step of Redis: it serves nobody meanwhile."""
_LARGEST_PAGE_BYTES = 1 << 20


def gather(connection: RedisConnection, topics: Sequence[str]) -> LogFacts:
    """All facts. Raises BackendUnavailable, AccessDenied."""
    info = _info(connection.call("INFO"))
    clock = _clock(connection)
    policy = fsync_policy(connection)
    waits = bool((connection.call("COMMAND", "INFO", "WAITAOF") or [None])[0])
    return LogFacts(
        backend="redis",
        version=info.get("redis_version", "unknown"),
        durability=_durability(policy, waits),
        unfit=_unfit(info),
        topics={topic: _topic(connection, topic) for topic in topics},
        persistence=_persistence(info, policy),
        memory=_memory(info),
        disk_used=_number(info, "aof_current_size") if info.get("aof_enabled") == "1" else 0,
        clock=clock,
        rights=_rights(connection, topics[0]),
    )


def _info(reply: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in reply.decode().splitlines())
    return {name: value for name, colon, value in lines if colon}


def _number(info: Mapping[str, str], name: str) -> Fact[int]:
    text = info.get(name, "")
    return int(text) if text.isdigit() else Unknown(f"INFO of this Redis has no {name}")


def _unfit(info: Mapping[str, str]) -> str:
    if info.get("role") != "master":
        return f"its role is {info.get('role', 'unknown')}, not master: it takes no writes"
    if info.get("cluster_enabled") == "1":
        return "it is a Redis Cluster: the keys of a topic may lie on different nodes"
    return ""


def _clock(connection: RedisConnection) -> Fact[Clock]:
    began, ticks = time.time(), time.perf_counter()
    try:
        seconds, micros = connection.call("TIME")
    except AccessDenied as error:
        return Unknown(str(error))
    passed = time.perf_counter() - ticks
    return Clock(ahead=int(seconds) + int(micros) / 1e6 - (began + passed / 2), within=passed / 2)


def _durability(policy: str, waits: bool) -> str:
    if policy == "always":
        return "an answer means fsynced (appendfsync always)"
    if policy == "off":
        return "none: there is no append-only file (set appendonly yes)"
    if waits:
        return f"an answer means fsynced (WAITAOF; appendfsync {policy})"
    return f"up to 1 s of acknowledged events can be lost with the machine (appendfsync {policy}, no WAITAOF)"


def _persistence(info: Mapping[str, str], policy: str) -> Fact[Persistence]:
    states = {name: info.get(name) for name in ("aof_last_bgrewrite_status", "rdb_last_bgsave_status")}
    missing = [name for name in ("aof_enabled", *states) if name not in info]
    if missing:
        return Unknown(f"INFO of this Redis has no {', '.join(missing)}")
    return Persistence(
        append_only=info["aof_enabled"] == "1",
        fsync=policy,
        # Told only while there is an append-only file.
        last_write_ok=info.get("aof_last_write_status", "ok") == "ok",
        last_rewrite_ok=states["aof_last_bgrewrite_status"] == "ok",
        last_snapshot_ok=states["rdb_last_bgsave_status"] == "ok",
    )


def _memory(info: Mapping[str, str]) -> Fact[Memory]:
    found = [_number(info, name) for name in ("used_memory", "maxmemory", "total_system_memory")]
    numbers = [number for number in found if not isinstance(number, Unknown)]
    if len(numbers) < len(found) or "maxmemory_policy" not in info:
        return Unknown("INFO of this Redis tells nothing of its memory")
    used, limit, machine = numbers
    return Memory(used=used, limit=limit, machine=machine, policy=info["maxmemory_policy"])


# -- topics


def _stream(connection: RedisConnection, topic: str) -> dict[bytes, Any] | None:
    if not connection.call("EXISTS", topic):
        return None
    flat = connection.call("XINFO", "STREAM", topic)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _topic(connection: RedisConnection, topic: str) -> TopicFacts:
    try:
        found = _stream(connection, topic)
        if found is None:
            return TopicFacts(exists=False, retained=Retained(entries=0, bytes=0, oldest_seconds=None))
        return TopicFacts(exists=True, retained=_retained(connection, topic, found))
    except BackendUnavailable:
        raise
    except EventBusError as error:
        return TopicFacts(exists=True, retained=Unknown(str(error)))


def _retained(connection: RedisConnection, topic: str, stream: Mapping[bytes, Any]) -> Retained:
    size = connection.call("MEMORY", "USAGE", topic, "SAMPLES", _SAMPLES)
    first = stream[b"first-entry"]
    oldest = None
    if first:
        seconds, micros = connection.call("TIME")
        written = int(bytes(first[0]).partition(b"-")[0]) / 1000
        oldest = max(0.0, int(seconds) + int(micros) / 1e6 - written)
    return Retained(entries=int(stream[b"length"]), bytes=int(size or 0), oldest_seconds=oldest)


def largest(connection: RedisConnection, topic: str, after: str) -> int:
    """Bytes of the largest entry after `after`, measured where it lies, a page at a time."""
    length = connection.call("XLEN", topic)
    if not length:
        return 0
    average = max(1, int(connection.call("MEMORY", "USAGE", topic, "SAMPLES", _SAMPLES)) // length)
    page = max(1, min(_LARGEST_PAGE, _LARGEST_PAGE_BYTES // average))
    most = 0
    while True:
        size, count, last = connection.fcall("crossover_largest", (topic,), after, page)
        most = max(most, int(size))
        if count < page:
            return most
        after = bytes(last).decode()


def gaps(connection: RedisConnection, topic: str, segments: Sequence[Segment], groups: Sequence[str]) -> list[Gap]:
    """What was trimmed unread. An id says nothing of what lay before it, but Redis counts what it ever added
    and, for most groups, what they were given."""
    stream = _stream(connection, topic)
    if stream is None:
        return []
    removed = int(stream[b"entries-added"]) - int(stream[b"length"])
    if removed == 0:
        return []
    first = stream[b"first-entry"]
    beginning = before(bytes(first[0]).decode()) if first else bytes(stream[b"last-generated-id"]).decode()
    rows = {name: (position, pending) for name, position, pending, _ in group_rows(connection, topic)}
    given = _given(connection, topic)
    found = []
    for group, segment in itertools.product(groups, segments):
        position, pending = rows.get(group, (NOTHING, 0))
        for gap in gaps_between(topic, group, {PARTITION: position}, segment, {PARTITION: beginning}):
            count = given.get(group)
            if gap.after != position or (count is None and not pending):
                found.append(replace(gap, certain=False))
            elif pending or count is None or count < removed:
                found.append(gap)  # given and never acknowledged, or not even given
    return found


def _given(connection: RedisConnection, topic: str) -> dict[str, int | None]:
    """How many entries each group was ever given; None where Redis lost count."""
    rows = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in connection.call("XINFO", "GROUPS", topic)]
    return {bytes(row[b"name"]).decode(): row.get(b"entries-read") for row in rows}


# -- rights


def _needed(topic: str) -> Sequence[Sequence[Argument]]:
    """What a switch does, its functions' own commands included, which Redis checks one by one."""
    seal, copied, producers = seal_key(topic), copied_key(topic), producers_key(topic)
    return (
        ("FUNCTION", "LOAD", "REPLACE", "code"),
        ("FCALL", "crossover_seal", 2, topic, seal, 1),
        ("SET", seal, 1),
        ("GET", seal),
        ("DEL", seal),
        ("HGET", copied, "kafka"),
        ("HSET", copied, "kafka", "{}"),
        ("HINCRBY", copied, "session", 1),
        ("HGET", producers, "writer"),
        ("EXISTS", topic),
        ("XADD", topic, "*", "data", ""),
        ("XRANGE", topic, "-", "+"),
        ("XREAD", "STREAMS", topic, "0"),
        ("XINFO", "STREAM", topic),
        ("XINFO", "GROUPS", topic),
        ("XGROUP", "CREATE", topic, "group", "0", "MKSTREAM"),
        ("XGROUP", "SETID", topic, "group", "0"),
        ("XPENDING", topic, "group"),
        ("XACK", topic, "group", "0-0"),
    )


def _rights(connection: RedisConnection, topic: str) -> Fact[Rights]:
    try:
        user = bytes(connection.call("ACL", "WHOAMI")).decode()
        answers = connection.calls([("ACL", "DRYRUN", user, *command) for command in _needed(topic)])
    except BackendUnavailable:
        raise
    except EventBusError as error:
        return Unknown(f"{error} (it needs acl|whoami and acl|dryrun, which change nothing)")
    refused = [answer for answer in answers if isinstance(answer, EventBusError)]
    if refused:
        return Unknown(str(refused[0]))
    lacks = tuple(bytes(answer).decode() for answer in answers if answer != b"OK")
    return Rights(user=user, lacks=lacks)

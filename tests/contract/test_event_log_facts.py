"""The contract of an event log, on every backend: the facts over which preflight decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.errors import AccessDenied, BackendUnavailable
from adapters.event_bus.facts import Limits, Memory, Persistence, Retained, Rights
from adapters.event_bus.kafka_admin import KafkaAdmin, Right
from adapters.event_bus.kafka_client import KafkaAddress
from adapters.event_bus.kafka_log import KafkaLog
from adapters.event_bus.redis_client import RedisAddress, RedisConnection
from adapters.event_bus.redis_streams import RedisLog
from adapters.known import Clock, Unknown
from contracts import names
from contracts.names import dead_letter_topic
from contracts.routes import Cursor
from tests.contract.bus_servers import (
    KAFKA_PASSWORDS,
    REDIS_PASSWORD,
    KafkaServer,
    RedisServer,
    free_port,
)
from tests.contract.event_logs import MAX_EVENT_BYTES, Bench, KafkaBench, MemoryBench, RedisBench, take
from tests.contract.own_servers import own_redis


def trim(bench: Bench, count: int) -> None:
    """What retention does: the oldest `count` entries go."""
    if isinstance(bench, MemoryBench):
        entries = bench.all()[:count]
        bench.memory.trim(bench.topic, bench.admin.after(entries[-1]))
    elif isinstance(bench, RedisBench):
        with connected(bench.redis) as call:
            call("XTRIM", bench.topic, "MAXLEN", call("XLEN", bench.topic) - count)
    else:
        assert isinstance(bench, KafkaBench)
        delete_records(bench.kafka, bench.topic, bench.admin.after(bench.all()[count - 1]))


class connected:
    """A connection's `call`, closed after."""

    def __init__(self, server: RedisServer, password: str = REDIS_PASSWORD) -> None:
        self._connection = RedisConnection(RedisAddress(server.url, password), "facts")

    def __enter__(self) -> Callable[..., int]:
        return self._connection.call

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def delete_records(server: KafkaServer, topic: str, before: Cursor) -> None:
    from confluent_kafka import TopicPartition, admin

    client = admin.AdminClient(address(server).config("facts"))
    asked = [TopicPartition(topic, int(partition), int(offset)) for partition, offset in before.items()]
    for answer in client.delete_records(asked).values():
        answer.result(10)


def address(server: KafkaServer, user: str = names.KAFKA_ADMIN_USER) -> KafkaAddress:
    return KafkaAddress(server.bootstrap, user, KAFKA_PASSWORDS[user])


# -- what a backend says of itself


def test_a_backend_tells_who_it_is_and_what_its_topics_hold(bench: Bench) -> None:
    bench.write("a", "b")
    facts = bench.admin.facts()
    assert (facts.backend, facts.unfit) == (bench.name, "")
    assert facts.version
    assert facts.durability
    topic = facts.topics[bench.topic]
    assert topic.exists
    assert topic.partitions in (None, bench.settings.partitions)
    assert set(facts.topics) == {bench.topic, dead_letter_topic(bench.topic)}
    if not isinstance(bench, KafkaBench):
        assert isinstance(topic.retained, Retained)
        assert topic.retained.entries == 2
        assert topic.retained.bytes > 0
        assert topic.retained.oldest_seconds is not None
        assert 0 <= topic.retained.oldest_seconds < 60
        assert isinstance(facts.clock, Clock)
        assert abs(facts.clock.ahead) < 1


def test_rights_are_as_the_switch_needs_them(bench: Bench) -> None:
    rights = bench.admin.facts().rights
    assert isinstance(rights, Rights)
    assert (rights.lacks, rights.others_lack, rights.excess, rights.seal_holds) == ((), (), (), True)
    bench.admin.seal(bench.topic, 2)
    assert bench.admin.facts().rights == rights


def test_the_largest_entry_is_known(bench: Bench) -> None:
    assert bench.admin.largest(bench.topic, bench.admin.beginning(bench.topic)) == 0
    big = bench.event(b"x" * 30_000)
    bench.write_all([bench.event(b"y" * n) for n in range(150)] + [big] + [bench.event(b"")] * 3)
    entries = bench.all()
    found = bench.admin.largest(bench.topic, bench.admin.beginning(bench.topic))
    assert big.size() <= found <= big.size() + 10
    assert bench.admin.largest(bench.topic, bench.admin.after(entries[-1])) == 0
    after = next(e for e in entries if e.event == big)
    assert bench.admin.largest(bench.topic, bench.admin.after(after)) < 1000


# -- what was trimmed


def gaps(bench: Bench, start: Cursor, end: Cursor | None = None) -> list[tuple[str, bool]]:
    found = bench.admin.gaps(bench.topic, [bench.segment(start, end)], ["g"])
    assert all(gap.topic == bench.topic and gap.after != gap.until for gap in found)
    return [(gap.group, gap.certain) for gap in found]


def test_what_a_group_had_read_may_go(bench: Bench) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.write(*"abcde")
    assert gaps(bench, start) == []
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment(start))
    assert take(reader, 5) == list("abcde")
    reader.close()
    trim(bench, 3)
    assert gaps(bench, start) == []


def test_what_a_group_had_not_read_is_a_gap(bench: Bench) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.write("before", "a")
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment(start))
    assert take(reader, 2) == ["before", "a"]
    reader.close()
    bench.write(*"bcde")
    trim(bench, 3)
    assert gaps(bench, start) == [("g", True)]
    assert gaps(bench, bench.admin.end(bench.topic)) == []


def test_what_was_given_and_not_acknowledged_is_a_gap(bench: Bench) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.write(*"abcde")
    reader = bench.app.reader(bench.topic, "g", "m", bench.segment(start))
    assert take(reader, 1) == ["a"]
    assert take(reader, 2, ack=False) == ["b", "c"]
    reader.close()
    trim(bench, 2)
    assert gaps(bench, start) == [("g", True)]


def test_a_group_that_never_came_would_miss_what_is_gone(bench: Bench) -> None:
    start = bench.admin.beginning(bench.topic)
    bench.write(*"abc")
    trim(bench, 2)
    assert [group for group, _ in gaps(bench, start)] == ["g"]
    assert gaps(bench, bench.admin.end(bench.topic)) == []


# -- Redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own, whose settings may be spoiled."""
    with own_redis(tmp_path) as server:
        yield server


def redis_log(server: RedisServer) -> EventLog:
    return RedisLog("redis", LogSettings(("t",)), RedisAddress(server.url, REDIS_PASSWORD))


@pytest.mark.contract
def test_redis_tells_how_it_would_outlive_a_restart(redis: RedisServer) -> None:
    log = redis_log(redis)
    healthy = Persistence(
        append_only=True, fsync="always", last_write_ok=True, last_rewrite_ok=True, last_snapshot_ok=True
    )
    assert log.facts().persistence == healthy
    with connected(redis) as call:
        call("CONFIG", "SET", "appendfsync", "everysec")
        assert log.facts().persistence == replace(healthy, fsync="everysec")
        call("CONFIG", "SET", "appendonly", "no")
        found = log.facts().persistence
        assert isinstance(found, Persistence)
        assert (found.append_only, found.fsync) == (False, "off")
        call("CONFIG", "SET", "maxmemory", 50_000_000, "maxmemory-policy", "allkeys-lru")
        memory = log.facts().memory
        assert isinstance(memory, Memory)
        assert (memory.limit, memory.policy) == (50_000_000, "allkeys-lru")
        assert 0 < memory.used < memory.machine
    log.close()


@pytest.mark.contract
def test_a_redis_that_takes_no_writes_is_unfit(redis: RedisServer) -> None:
    log = redis_log(redis)
    with connected(redis) as call:
        call("REPLICAOF", "127.0.0.1", 1)
        assert "role is slave" in log.facts().unfit
    log.close()


@pytest.mark.contract
def test_a_user_of_redis_lacks_what_its_acl_leaves_out(redis: RedisServer) -> None:
    log = redis_log(redis)
    with connected(redis) as call:
        call("ACL", "SETUSER", "default", "-fcall")
        rights = log.facts().rights
        assert isinstance(rights, Rights)
        assert rights.user == "default"
        assert any("'fcall'" in text for text in rights.lacks)
    log.close()


@pytest.mark.contract
def test_a_user_of_redis_that_may_not_ask_leaves_it_unknown(redis: RedisServer) -> None:
    log = redis_log(redis)
    with connected(redis) as call:
        call("ACL", "SETUSER", "default", "-config", "-acl")
        facts = log.facts()
        assert isinstance(facts.rights, Unknown)
        assert isinstance(facts.persistence, Persistence)
        assert facts.persistence.fsync == "unknown"
    log.close()


@pytest.mark.contract
def test_who_does_not_answer_is_not_taken_for_one_who_refuses() -> None:
    """A wrong password is told as such in test_event_log.py."""
    settings, nobody = LogSettings(("t",)), f"127.0.0.1:{free_port()}"
    for log in (
        RedisLog("redis", settings, RedisAddress(f"redis://{nobody}/0", REDIS_PASSWORD)),
        KafkaLog("kafka", settings, KafkaAddress(nobody, names.KAFKA_ADMIN_USER, "password")),
    ):
        with pytest.raises(BackendUnavailable):
            log.facts()
        log.close()


# -- Kafka


@pytest.mark.contract
def test_kafka_tells_limits_and_copies_before_and_after_a_topic_is_made(kafka_server: KafkaServer) -> None:
    bench = KafkaBench(kafka_server)
    before = bench.admin.facts().topics[bench.topic]
    bench.admin.ensure()
    after = bench.admin.facts().topics[bench.topic]
    assert (before.exists, after.exists) == (False, True)
    assert isinstance(after.limits, Limits)
    assert after.limits == before.limits
    assert after.copies == before.copies
    assert after.limits.retention_seconds == 7 * 24 * 3600
    assert after.limits.retention_bytes is None
    assert after.limits.max_message_bytes == after.limits.largest_batch > MAX_EVENT_BYTES
    bench.close()


@pytest.mark.contract
def test_kafka_tells_of_rights_that_are_missing_or_too_many(kafka_server: KafkaServer) -> None:
    bench = KafkaBench(kafka_server)
    rights = bench.admin.facts().rights
    assert isinstance(rights, Rights)
    assert f"mirror: WRITE on topic {bench.topic}" in rights.others_lack
    bench.admin.ensure()
    client = KafkaAdmin(address(kafka_server), "facts")
    client.grant([Right(names.KAFKA_APP_USER, "ALTER", "TOPIC", topic) for topic in (bench.topic, "of-somebody-else")])
    client.deny_writes(bench.topic, [names.KAFKA_MIRROR_USER])
    rights = bench.admin.facts().rights
    assert isinstance(rights, Rights)
    assert rights.excess == (f"trading: ALTER on topic {bench.topic}",)
    assert rights.others_lack == (f"mirror: WRITE on topic {bench.topic}",)
    client.close()
    bench.close()


@pytest.mark.contract
def test_a_user_of_kafka_that_may_not_administer_it_is_told_so(kafka_server: KafkaServer) -> None:
    settings = LogSettings(("t",))
    log = KafkaLog("kafka", settings, address(kafka_server, names.KAFKA_APP_USER))
    with pytest.raises(AccessDenied):
        log.facts()
    log.close()

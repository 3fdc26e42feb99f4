"""A member that reads on by Redis's own commands gives way, passes copies over, and may be denied them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.event_bus.base import LogReader
from adapters.event_bus.redis_client import RedisAddress, RedisConnection
from adapters.event_bus.redis_keys import owner_key
from tests.contract.bus_servers import REDIS_PASSWORD
from tests.contract.event_logs import RedisBench, nothing
from tests.contract.own_servers import own_redis

pytestmark = pytest.mark.contract


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisBench]:
    """A Redis of its own, that tells of each command it did."""
    with own_redis(tmp_path) as server:
        yield RedisBench(server)


def asked(bench: RedisBench, *command: str | int) -> object:
    """The answer to one command of a client of the test's own."""
    connection = RedisConnection(RedisAddress(bench.redis.url, REDIS_PASSWORD), "test")
    try:
        return connection.call(*command)
    finally:
        connection.close()


def calls(bench: RedisBench, command: str) -> int:
    """How often the server did `command` itself, not within a function."""
    answer = asked(bench, "INFO", "commandstats")
    assert isinstance(answer, bytes)
    for line in answer.decode().splitlines():
        if line.startswith(f"cmdstat_{command}:calls="):
            return int(line.partition("=")[2].partition(",")[0])
    return 0


def read(reader: LogReader, count: int) -> list[str]:
    """The next `count` payloads; their acknowledgement goes with the next read, as a subscription does it."""
    found: list[str] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, found
        entries = reader.poll(100, 0.2)
        found += [entry.event.payload.decode() for entry in entries if entry.event is not None]
        if entries:
            reader.begin_ack(entries)
    return found


def test_it_reads_on_without_the_function(own: RedisBench) -> None:
    reader = own.app.reader(own.topic, "g", "m", own.segment())
    own.write("a")
    assert read(reader, 1) == ["a"]
    before = calls(own, "exec")
    for payload in "bcd":
        own.write(payload)
        assert read(reader, 1) == [payload]
    assert calls(own, "exec") >= before + 3
    reader.close()


def test_who_was_taken_over_from_is_given_nothing(own: RedisBench) -> None:
    reader = own.app.reader(own.topic, "g", "m1", own.segment())
    own.write("a")
    assert read(reader, 1) == ["a"]
    own.write("b")
    assert read(reader, 1) == ["b"]
    asked(own, "SET", owner_key(own.topic, "g"), "m2", "PX", 60_000)
    own.write("c")
    assert nothing(reader)
    other = own.app.reader(own.topic, "g", "m2", own.segment())
    assert read(other, 1) == ["c"]
    other.close()
    reader.close()


def test_copies_between_are_passed_over_and_acknowledged(own: RedisBench) -> None:
    reader = own.app.reader(own.topic, "g", "m", own.segment())
    own.write("a")
    assert read(reader, 1) == ["a"]
    own.write("b")
    own.copy(own.event("copy"))
    own.write("c")
    assert read(reader, 2) == ["b", "c"]
    assert nothing(reader)
    reader.close()
    assert own.admin.groups(own.topic)[0].pending == 0


def test_a_user_without_transactions_reads_by_the_function(own: RedisBench) -> None:
    asked(own, "ACL", "SETUSER", "default", "-@transaction")
    reader = own.app.reader(own.topic, "g", "m", own.segment())
    for payload in "abc":
        own.write(payload)
        assert read(reader, 1) == [payload]
    assert calls(own, "exec") == 0
    reader.close()

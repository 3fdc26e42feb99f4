"""What the contract suite of event logs works with: each backend behind one bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import EventLog, LogReader, LogSettings, Stored
from adapters.event_bus.kafka_client import KafkaAddress
from adapters.event_bus.kafka_log import KafkaLog
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_reader import MemoryReader
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.redis_client import RedisAddress, RedisConnection
from adapters.event_bus.redis_streams import RedisLog
from contracts import names
from contracts.envelope import Event
from contracts.routes import Cursor, Segment
from tests.contract.bus_servers import KAFKA_PASSWORDS, REDIS_PASSWORD, KafkaServer, RedisServer, Server

LEASE_SECONDS = 2.0
MAX_EVENT_BYTES = 50_000
POISON = b"\x00not an event\xff"


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `holds`, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)  # polling with a deadline


class Bench(ABC):
    """One backend. `admin`, `app` and `mirror` are logs with the rights of cutover, services and mirror."""

    name: str
    server: Server | None = None

    def __init__(self, publish_timeout: float = 10.0) -> None:
        self.topic = f"t-{uuid.uuid4().hex[:12]}"
        self.settings = LogSettings(
            topics=(self.topic,), partitions=3, max_event_bytes=MAX_EVENT_BYTES, publish_timeout=publish_timeout
        )
        self._opened: list[EventLog] = []
        self.admin = self.open(names.KAFKA_ADMIN_USER)
        self.app = self.open(names.KAFKA_APP_USER)
        self.mirror = self.open(names.KAFKA_MIRROR_USER)
        self._members: list[subprocess.Popen[str]] = []

    @abstractmethod
    def _make(self, user: str, settings: LogSettings) -> EventLog:
        """A new process's view of the backend."""

    @abstractmethod
    def poison(self) -> None:
        """Store what no writer of ours would: POISON without attributes."""

    def open(self, user: str, publish_timeout: float | None = None) -> EventLog:
        """A new log with the rights of `user`."""
        settings = self.settings
        if publish_timeout is not None:
            settings = LogSettings(settings.topics, settings.partitions, settings.max_event_bytes, publish_timeout)
        log = self._make(user, settings)
        self._opened.append(log)
        return log

    def close(self) -> None:
        """Give everything up."""
        for member in self._members:
            member.kill()
            member.communicate()
        for log in self._opened:
            log.close()

    # -- shortcuts

    def event(self, payload: bytes | str, key: str = "k") -> Event:
        """An event of this bench's topic."""
        raw = payload.encode() if isinstance(payload, str) else payload
        return Event.create(self.topic, key, raw, source="test").under(1)

    def write(self, *payloads: str, key: str = "k") -> list[str]:
        """Publish and wait."""
        return self.write_all([self.event(p, key) for p in payloads])

    def write_all(self, events: Sequence[Event]) -> list[str]:
        """Publish and wait."""
        writer = self.app.writer("w")
        try:
            futures: list[Future[str]] = [writer.submit(event) for event in events]
            return [future.result(10) for future in futures]
        finally:
            writer.close()

    def segment(
        self, start: Cursor | None = None, end: Cursor | None = None, *, copies: bool = False, epoch: int = 1
    ) -> Segment:
        """A segment of this backend."""
        began = self.admin.beginning(self.topic) if start is None else start
        last = None if end is None else dict(end)
        return Segment(backend=self.name, epoch=epoch, start=dict(began), end=last, copies=copies)

    def all(self, start: Cursor | None = None) -> list[Stored]:
        """Everything that is stored after `start`."""
        return list(self.admin.scan(self.topic, start or {}, self.admin.end(self.topic)))

    def copy(self, *events: Event, source: str = "other", reached: str = "1") -> None:
        """Copy `events` as a mirror would."""
        copier = self.mirror.copier(self.topic, source)
        copier.copy([Stored(event, 0, str(n)) for n, event in enumerate(events)], {"0": reached})
        copier.close()

    def killed_member(self, group: str, count: int) -> list[str]:
        """What a member of `group` had been given, without acknowledging it, when it was killed."""
        spec = {"backend": self.name, "topic": self.topic, "group": group, "count": count, "lease": LEASE_SECONDS}
        member = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.event_logs", json.dumps(spec)],
            stdout=subprocess.PIPE, text=True, env=os.environ | self.environment(),
        )  # fmt: skip
        self._members.append(member)
        assert member.stdout is not None
        line = member.stdout.readline()
        member.kill()
        member.wait()
        found: list[str] = json.loads(line)
        return found

    def environment(self) -> dict[str, str]:
        """How a process of a service reaches this backend."""
        return {}


class MemoryBench(Bench):
    """The shipped fake."""

    name = "memory"

    def __init__(self, publish_timeout: float = 10.0) -> None:
        self.memory = MemoryServer(lease_seconds=LEASE_SECONDS)
        super().__init__(publish_timeout)

    def _make(self, user: str, settings: LogSettings) -> EventLog:
        return MemoryLog("memory", settings, self.memory)

    def poison(self) -> None:
        self.memory.append_raw(self.topic, 0, {}, POISON)

    def killed_member(self, group: str, count: int) -> list[str]:
        reader = self.app.reader(self.topic, group, "dying", self.segment())
        assert isinstance(reader, MemoryReader)
        found = take(reader, count, ack=False)
        reader.abandon()
        return found


class RedisBench(Bench):
    """Redis Streams."""

    name = "redis"

    def __init__(self, server: RedisServer, publish_timeout: float = 10.0) -> None:
        self.redis = server
        self.server = server
        super().__init__(publish_timeout)

    def _make(self, user: str, settings: LogSettings) -> EventLog:
        return RedisLog("redis", settings, RedisAddress(self.redis.url, REDIS_PASSWORD), lease_seconds=LEASE_SECONDS)

    def poison(self) -> None:
        connection = RedisConnection(RedisAddress(self.redis.url, REDIS_PASSWORD), "poison")
        connection.call("XADD", self.topic, "*", "data", POISON)
        connection.close()

    def environment(self) -> dict[str, str]:
        return {names.ENV_REDIS_URL: self.redis.url, names.ENV_REDIS_PASSWORD: REDIS_PASSWORD}


class KafkaBench(Bench):
    """Kafka, with the three users."""

    name = "kafka"

    def __init__(self, server: KafkaServer, publish_timeout: float = 10.0) -> None:
        self.kafka = server
        self.server = server
        super().__init__(publish_timeout)

    def _make(self, user: str, settings: LogSettings) -> EventLog:
        address = KafkaAddress(self.kafka.bootstrap, user, KAFKA_PASSWORDS[user])
        return KafkaLog("kafka", settings, address, session_seconds=LEASE_SECONDS)

    def poison(self) -> None:
        from confluent_kafka import Producer

        user = names.KAFKA_ADMIN_USER
        address = KafkaAddress(self.kafka.bootstrap, user, KAFKA_PASSWORDS[user])
        producer = Producer(address.config("poison", lambda _: None))
        producer.produce(self.topic, POISON, partition=0)
        assert not producer.flush(10)

    def environment(self) -> dict[str, str]:
        user = names.KAFKA_APP_USER
        return {
            names.ENV_KAFKA_BOOTSTRAP: self.kafka.bootstrap,
            names.ENV_KAFKA_USER: user,
            names.ENV_KAFKA_PASSWORD: KAFKA_PASSWORDS[user],
        }


def take(reader: LogReader, count: int, *, ack: bool = True, seconds: float = 15.0) -> list[str]:
    """The payloads of the next `count` entries, acknowledged one poll at a time."""
    found: list[str] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} came: {found}"
        entries = reader.poll(count - len(found), 0.2)
        found += [e.event.payload.decode() if e.event else repr(e.raw) for e in entries]
        if ack:
            reader.ack(entries)
    return found


def note(keys: dict[str, list[int]], entries: Sequence[Stored]) -> None:
    """Add the numbers that are the payloads of `entries` to those of their keys."""
    for entry in entries:
        assert entry.event is not None
        keys[entry.event.key].append(int(entry.event.payload))


def nothing(reader: LogReader, seconds: float = 0.5) -> bool:
    """Whether nothing comes for `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if reader.poll(10, 0.1):
            return False
    return True


def finishes(reader: LogReader, seconds: float = 10.0) -> None:
    """Poll until the segment is finished; nothing may be delivered meanwhile."""
    deadline = time.monotonic() + seconds
    while not reader.finished():
        assert time.monotonic() < deadline, "the segment was not finished in time"
        assert not reader.poll(10, 0.1)


def main(spec: dict[str, object]) -> None:
    """A member that takes events, tells what it has, and waits to be killed."""
    topic = str(spec["topic"])
    log = open_log(str(spec["backend"]), LogSettings((topic,), partitions=3), os.environ)
    lease = float(str(spec["lease"]))
    if isinstance(log, RedisLog):
        log._lease_seconds = lease
    if isinstance(log, KafkaLog):
        log._session = lease
    segment = Segment(backend=log.name, epoch=1, start=dict(log.beginning(topic)))
    reader = log.reader(topic, str(spec["group"]), "dying", segment)
    found = take(reader, int(str(spec["count"])), ack=False)
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

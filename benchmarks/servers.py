"""A real Redis and a real Kafka on loopback for the time of a benchmark, and the events that are sent to them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRouteStore
from contracts import names
from contracts.envelope import Event
from tests.contract.bus_servers import (
    KAFKA_PASSWORDS,
    REDIS_PASSWORD,
    KafkaServer,
    RedisServer,
    find_kafka,
    find_redis,
)

BACKENDS = ("redis", "kafka")
_KEYS = 64


@dataclass(frozen=True, slots=True)
class Size:
    """Payloads of `bytes`, so many `events` a round; `topic` is written through the bus, `bare` by bare clients."""

    name: str
    bytes: int
    events: int

    @property
    def topic(self) -> str:
        """The topic of the routed bus."""
        return f"bench_{self.name}"

    @property
    def bare(self) -> str:
        """The topic of the bare clients."""
        return f"bare_{self.name}"

    def made(self) -> list[Event]:
        """A round's events, fresh. Their payloads do not compress to nothing."""
        body = os.urandom(self.bytes)
        return [
            Event.create(self.topic, f"key-{n % _KEYS}", body, source="crossover/bench") for n in range(self.events)
        ]


SIZES = (Size("100b", 100, 20_000), Size("1kb", 1000, 10_000), Size("100kb", 100_000, 300))
SETTINGS = LogSettings(topics=tuple(topic for size in SIZES for topic in (size.topic, size.bare)))


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers, and the environment with which adapters find them."""

    redis: RedisServer
    kafka: KafkaServer

    def environment(self, user: str) -> Mapping[str, str]:
        """What a pod with the rights of `user` would have."""
        return {
            names.ENV_REDIS_URL: self.redis.url,
            names.ENV_REDIS_PASSWORD: REDIS_PASSWORD,
            names.ENV_KAFKA_BOOTSTRAP: self.kafka.bootstrap,
            names.ENV_KAFKA_USER: user,
            names.ENV_KAFKA_PASSWORD: KAFKA_PASSWORDS[user],
        }

    def log(self, backend: str, user: str = names.KAFKA_APP_USER, settings: LogSettings = SETTINGS) -> EventLog:
        """A log with the rights of `user`."""
        return open_log(backend, settings, self.environment(user))

    def bus(self, backend: str, settings: LogSettings = SETTINGS) -> RoutedEventBus:
        """A routed bus on `backend`, whose topics are made."""
        admin = self.log(backend, names.KAFKA_ADMIN_USER, settings)
        admin.ensure()
        admin.close()
        store = MemoryRouteStore(fixed_route(backend, settings))
        return RoutedEventBus(store, lambda name: self.log(name, settings=settings), settings, f"bench-{backend}")

    def kafka_client(self) -> dict[str, str]:
        """How a bare client logs in."""
        user = names.KAFKA_ADMIN_USER
        return {
            "bootstrap.servers": self.kafka.bootstrap, "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": KAFKA_PASSWORDS[user],
        }  # fmt: skip


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """A Redis and a Kafka of their own, in a folder that goes with them."""
    libraries = find_kafka()
    if not find_redis() or libraries is None:
        raise SystemExit("this benchmark needs redis-server, and java with Kafka's jars (mvn fetches them)")
    with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder, contextlib.ExitStack() as stack:
        for name in BACKENDS:
            (Path(folder) / name).mkdir()
        redis, kafka = RedisServer(Path(folder) / "redis"), KafkaServer(Path(folder) / "kafka", libraries)
        for server in (redis, kafka):
            server.start()
            stack.callback(server.stop)
        yield Servers(redis, kafka)

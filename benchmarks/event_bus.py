"""What the routed bus costs against the bare clients, on a real Redis and a real Kafka on loopback.

Both sides are as durable (appendfsync always; idempotent, acks=all) and carry the same events.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRouteStore
from benchmarks import pause
from benchmarks.bare import BareKafka, BareRedis
from benchmarks.frame import Figure, ratios, spread, take_turns
from contracts import names
from contracts.envelope import Event
from contracts.market import BAR_TYPE
from contracts.names import MARKET_DATA
from tests.contract.bus_servers import (
    KAFKA_PASSWORDS,
    REDIS_PASSWORD,
    KafkaServer,
    RedisServer,
    find_kafka,
    find_redis,
)
from validation.load import marks

EVENTS = 5_000
"""A round's events: about a second's work."""
ROUNDS = 7
RATIOS = {"redis": (0.25, 0.5), "kafka": (0.08, 0.25)}
"""Limit and aim. The bare Kafka client batches in C without a future an event: it is far ahead of any that has one."""
SETTINGS = LogSettings(topics=(MARKET_DATA,))


@dataclass(frozen=True, slots=True)
class Taken:
    """One round: events a second, and CPU microseconds (of this process, all threads) an event."""

    rate: float
    cpu: float


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


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """A Redis and a Kafka of their own for the time of the benchmark."""
    libraries = find_kafka()
    if not find_redis() or libraries is None:
        raise SystemExit("this benchmark needs redis-server, and java with Kafka's jars (mvn fetches them)")
    with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder, contextlib.ExitStack() as stack:
        for name in ("redis", "kafka"):
            (Path(folder) / name).mkdir()
        redis, kafka = RedisServer(Path(folder) / "redis"), KafkaServer(Path(folder) / "kafka", libraries)
        for server in (redis, kafka):
            server.start()
            stack.callback(server.stop)
        yield Servers(redis, kafka)


def events(count: int) -> list[Event]:
    """Bars, as the market feed sends them."""
    symbols = marks.symbols()
    return [
        Event.create(
            MARKET_DATA,
            symbols[n % len(symbols)],
            marks.payload(symbols[n % len(symbols)], n % len(symbols), n, "bench"),
            source="crossover/bench",
            type=BAR_TYPE,
        )
        for n in range(count)
    ]


def measured(work: Callable[[Sequence[Event]], None]) -> Taken:
    """One round of `work` on fresh events."""
    fresh = events(EVENTS)
    cpu, clock = time.process_time(), time.perf_counter()
    work(fresh)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    return Taken(EVENTS / clock, cpu / EVENTS * 1e6)


def through(bus: RoutedEventBus, batch: Sequence[Event]) -> None:
    """Publish all, then wait for all. Raises where one failed."""
    for result in [bus.publish_event(event) for event in batch]:
        result.result(60)


def taken(bus: RoutedEventBus, group: str, count: int) -> Taken:
    """One round of consuming `count` events by a new group, from the earliest."""
    left = threading.Semaphore(0)
    cpu, clock = time.process_time(), time.perf_counter()
    subscription = bus.subscribe([MARKET_DATA], group, lambda batch: left.release(len(batch)), max_batch=500)
    for _ in range(count):
        if not left.acquire(timeout=60):
            raise TimeoutError(f"group {group} did not get its events within 60 s: {subscription.failure}")
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    subscription.close()
    return Taken(count / clock, cpu / count * 1e6)


def _bus(running: Servers, backend: str) -> RoutedEventBus:
    return RoutedEventBus(MemoryRouteStore(fixed_route(backend, SETTINGS)), running.log, SETTINGS, f"bench-{backend}")


def publishing(running: Servers) -> list[Figure]:
    """Publishing through the bus against the bare client, by turns."""
    kafka = {
        "bootstrap.servers": running.kafka.bootstrap, "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN", "sasl.username": names.KAFKA_ADMIN_USER,
        "sasl.password": KAFKA_PASSWORDS[names.KAFKA_ADMIN_USER],
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        buses = {backend: _bus(running, backend) for backend in ("redis", "kafka")}
        for backend, bus in buses.items():
            stack.callback(bus.close)
            running.log(backend, names.KAFKA_ADMIN_USER).ensure()
        bare_redis = BareRedis(running.redis.url, REDIS_PASSWORD)
        stack.callback(bare_redis.close)
        bare = {"redis": bare_redis.publish, "kafka": BareKafka(kafka).publish}
        rounds = take_turns(
            ROUNDS,
            {f"{backend} routed": partial(measured, partial(through, bus)) for backend, bus in buses.items()}
            | {f"{backend} bare": partial(measured, work) for backend, work in bare.items()},
        )
        figures: list[Figure] = []
        for backend, bus in buses.items():
            figures += _published(backend, rounds[f"{backend} routed"], rounds[f"{backend} bare"])
            figures += _consumed(backend, bus)
        return figures


def _published(backend: str, routed: Sequence[Taken], bare: Sequence[Taken]) -> list[Figure]:
    ratio = ratios([r.rate for r in routed], [b.rate for b in bare])
    rate, cpu = spread([r.rate for r in routed]), spread([r.cpu for r in routed])
    limit, aim = RATIOS[backend]
    bare_rate, bare_cpu = spread([b.rate for b in bare]), spread([b.cpu for b in bare])
    return [
        Figure(
            figure=f"publish_throughput_ratio_{backend}", value=ratio.median, unit="x", limit=limit, aim=aim,
            at_most=False, how=f"routed bus against bare client, {EVENTS} events a round by turns; {ratio.text}; "
            f"bare client {bare_rate.median:.0f} events/s",
        ),
        Figure(
            figure=f"publish_rate_{backend}", value=rate.median, unit="events/s", limit=2000, aim=5000,
            at_most=False, how=f"routed bus, all in flight, each durable; {rate.text}",
        ),
        Figure(
            figure=f"publish_cpu_{backend}", value=cpu.median, unit="us/event", limit=300, aim=120,
            at_most=True, how=f"CPU of the process, all threads; {cpu.text}; bare client {bare_cpu.median:.1f}",
        ),
    ]  # fmt: skip


def _consumed(backend: str, bus: RoutedEventBus) -> list[Figure]:
    count = EVENTS * (ROUNDS + 1)
    stamp = time.time_ns()
    rounds = [taken(bus, f"bench-{stamp}-{number}", count) for number in range(3)]
    rate, cpu = spread([r.rate for r in rounds]), spread([r.cpu for r in rounds])
    return [
        Figure(
            figure=f"consume_rate_{backend}", value=rate.median, unit="events/s", limit=2000, aim=8000,
            at_most=False, how=f"a new group from the earliest of {count}, each batch acknowledged; {rate.text}",
        ),
        Figure(
            figure=f"consume_cpu_{backend}", value=cpu.median, unit="us/event", limit=300, aim=100,
            at_most=True, how=f"CPU of the process, all threads; {cpu.text}",
        ),
    ]  # fmt: skip


def run() -> list[Figure]:
    """All figures: two to three minutes."""
    with servers() as running:
        return [*publishing(running), *pause.figures(running.log)]

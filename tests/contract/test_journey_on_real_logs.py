"""The whole journey on a real Redis and a real Kafka, under load: nothing lost, doubled or reordered."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from adapters.event_bus.base import EventLog, LogSettings
from adapters.event_bus.interface import Receipt
from adapters.event_bus.kafka_client import KafkaAddress
from adapters.event_bus.kafka_log import KafkaLog
from adapters.event_bus.redis_client import RedisAddress
from adapters.event_bus.redis_streams import RedisLog
from contracts import names
from contracts.envelope import Event
from contracts.stages import Stage
from cutover.plan import Step
from cutover.timing import Timing
from tests.contract.bus_servers import KAFKA_PASSWORDS, REDIS_PASSWORD, KafkaServer, RedisServer
from tests.unit.cutover.test_faults import kill_at
from tests.unit.cutover.world import World

pytestmark = pytest.mark.contract

GROUPS = ("engine", "archive", "audit")
KEYS = tuple(f"K{n}" for n in range(8))
TIMING = Timing(
    fence=5.0,
    pause=10.0,
    drain=5.0,
    backfill=30.0,
    watch=1.0,
    watch_pace=0.2,
    answer=10.0,
    finish_groups=30.0,
    lock_wait=2.0,
)


class RealWorld(World):
    """The world of the unit tests, over real servers, each part with its own rights."""

    def __init__(self, redis: RedisServer, kafka: KafkaServer) -> None:
        self._redis = redis
        self._kafka = kafka
        super().__init__(GROUPS, topic=f"j-{uuid.uuid4().hex[:12]}")

    def log(self, name: str) -> EventLog:
        return self._log(name, names.KAFKA_APP_USER, self.following)

    def mirror_log(self, name: str) -> EventLog:
        return self._log(name, names.KAFKA_MIRROR_USER, self.following)

    def cutover_log(self, name: str) -> EventLog:
        return self._log(name, names.KAFKA_ADMIN_USER, self.settings)

    def _log(self, name: str, user: str, settings: LogSettings) -> EventLog:
        if name == "redis":
            return RedisLog(name, settings, RedisAddress(self._redis.url, REDIS_PASSWORD), lease_seconds=5.0)
        return KafkaLog(name, settings, KafkaAddress(self._kafka.bootstrap, user, KAFKA_PASSWORDS[user]))


@dataclass(slots=True)
class Load:
    """What publishers saw. `stall` is the longest time from handing an event over to knowing it durable."""

    sent: dict[str, list[Future[Receipt]]] = field(default_factory=lambda: defaultdict(list))
    stall: float = 0.0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """Events handed over."""
        return sum(map(len, self.sent.values()))


@contextmanager
def load(world: World, rate: int) -> Iterator[Load]:
    """Publish `rate` events/s over KEYS, half of them from a thread and half from asyncio, until the end."""
    seen = Load()
    stop = threading.Event()

    def hand_over(key: str, payload: bytes) -> None:
        began = time.monotonic()
        future = world.bus.publish_future(world.topic, key, payload)

        def known(_: Future[Receipt]) -> None:
            seen.stall = max(seen.stall, time.monotonic() - began)

        future.add_done_callback(known)
        seen.sent[key].append(future)

    def from_thread(keys: Sequence[str]) -> None:
        began, number = time.monotonic(), 0
        while not stop.wait(0.004):
            while number < (time.monotonic() - began) * rate / 2:
                hand_over(keys[number % len(keys)], b"x" * 200)
                number += 1

    async def from_asyncio(keys: Sequence[str]) -> None:
        began, number = time.monotonic(), 0
        while not stop.is_set():
            await asyncio.sleep(0.004)
            while number < (time.monotonic() - began) * rate / 2:
                hand_over(keys[number % len(keys)], b"y" * 200)
                number += 1

    half = len(KEYS) // 2
    threads = [
        threading.Thread(target=from_thread, args=(KEYS[:half],)),
        threading.Thread(target=lambda: asyncio.run(from_asyncio(KEYS[half:]))),
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        seen.seconds = time.monotonic() - began


def settle(world: World, seen: Load) -> None:
    """Every event handed over was acknowledged, and every group took effect of it once and in order."""
    for key, futures in seen.sent.items():
        world.sent[key] += [future.result(20).event_id for future in futures]
    world.assert_ledger(30.0)


def migrate(world: World, stage: Stage) -> None:
    outcome = world.migrate(stage, TIMING)
    assert outcome.reached, "\n".join([outcome.message, *world.lines])
    assert world.route().stage is stage


def test_there_and_back_under_load(redis_server: RedisServer, kafka_server: KafkaServer) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.MVP)
        world.subscribe(max_batch=100)
        with load(world, 500) as seen:
            for stage in (Stage.SCALE, Stage.COMPLETE, Stage.SCALE, Stage.SHADOW, Stage.MVP):
                migrate(world, stage)
        settle(world, seen)
        assert [s.backend for s in world.route().chain(world.topic)] == ["redis"]
        assert seen.count > 250 * seen.seconds
        assert seen.stall < TIMING.pause, f"the longest stall was {seen.stall:.2f} s\n" + "\n".join(world.lines)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [Step.SEAL, Step.OPEN])
def test_killed_in_the_pause_the_next_run_converges(
    redis_server: RedisServer, kafka_server: KafkaServer, step: Step, after: bool
) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.SHADOW)
        world.subscribe(max_batch=100)
        with load(world, 300) as seen:
            for goal in (Stage.SCALE, Stage.SHADOW):
                kill_at(world, goal, step, after=after, timing=TIMING)
                migrate(world, goal)
        settle(world, seen)


def test_a_group_that_was_away_reads_on_where_it_stood(redis_server: RedisServer, kafka_server: KafkaServer) -> None:
    """Half a batch is acknowledged on Redis; the group comes back when Kafka serves."""
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.MVP)
        halt = threading.Event()
        taken: list[bytes] = []

        def take_some(events: Sequence[Event]) -> None:
            if halt.is_set():
                raise RuntimeError("away")
            taken.extend(event.payload for event in events)
            if len(taken) >= 20:
                halt.set()

        away = world.bus.subscribe([world.topic], "slow", take_some, max_batch=5)
        sent = [str(n).encode() for n in range(100)]
        for payload in sent[:60]:
            world.bus.publish(world.topic, "K0", payload)
        assert halt.wait(10)
        away.close()
        migrate(world, Stage.SCALE)
        for payload in sent[60:]:
            world.bus.publish(world.topic, "K0", payload)
        halt.clear()
        before = len(taken)
        world.bus.subscribe([world.topic], "slow", lambda events: taken.extend(e.payload for e in events))
        _eventually(lambda: len(taken) >= 100)
        assert taken == sent
        assert 20 <= before < 25  # batches hold what there is, five at most


def _eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)  # polling with a deadline

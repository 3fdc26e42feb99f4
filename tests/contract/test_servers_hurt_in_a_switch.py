"""Redis and Kafka killed and started again in each step of a switch, and a network that is slow, under load."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from contracts.stages import Stage
from cutover.plan import TRANSITIONS, Step, StepMethod, Transition
from cutover.run import Outcome, Runner
from tests.contract.bus_servers import KafkaServer, RedisServer
from tests.contract.own_servers import own_kafka, own_redis
from tests.contract.slow_link import SlowLink
from tests.contract.test_journey_on_real_logs import TIMING, RealWorld, load, migrate, settle
from tests.unit.cutover.world import World

pytestmark = [pytest.mark.contract, pytest.mark.timeout(600)]

STEPS = TRANSITIONS[Stage.SHADOW, Stage.SCALE]
RATE = 200
TRIES = 12
SLOW = (0.002, 0.015)
"""Seconds that a piece of data is held up, each way."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[RedisServer, KafkaServer]]:
    """Servers of the test's own, which it may kill."""
    for folder in ("redis", "kafka"):
        (tmp_path / folder).mkdir()
    with own_redis(tmp_path / "redis") as redis, own_kafka(tmp_path / "kafka") as kafka:
        yield redis, kafka


class PatientWorld(RealWorld):
    """Publishers wait as long as they do by default: a killed Kafka may not come back before its session is over."""

    def configure(self, topics: tuple[str, ...], partitions: int = 3) -> None:
        super().configure(topics, partitions)
        self.settings = replace(self.settings, publish_timeout=30.0)
        self.following = replace(self.settings, topics=())


def run_hurt(world: World, goal: Stage, step: Step, server: RedisServer | KafkaServer) -> Outcome:
    """A run in which `server` is killed, and started again, right before `step`."""
    context = world.context(TIMING)
    steps = world.steps(context)
    real: StepMethod = steps.steps[step]

    def hurt(transition: Transition) -> str:
        server.kill()
        server.start()
        return real(transition)

    steps.steps[step] = hurt
    try:
        return Runner(context, steps, goal).run()
    finally:
        steps.close()


def bring_to(world: World, stage: Stage) -> None:
    """What a user does: run it again, until what came back is of one mind."""
    said = []
    for _ in range(TRIES):
        outcome = world.migrate(stage, TIMING)
        if outcome.reached:
            return
        said.append(outcome.message)
    raise AssertionError("\n".join([f"{stage.value} was not reached in {TRIES} runs", *said, *world.lines[-30:]]))


@pytest.mark.parametrize("killed", ["redis", "kafka"])
def test_killed_and_back_in_each_step_there_and_back(servers: tuple[RedisServer, KafkaServer], killed: str) -> None:
    server = servers[killed == "kafka"]
    with PatientWorld(*servers) as world:
        bring_to(world, Stage.SHADOW)
        world.subscribe(max_batch=100)
        with load(world, RATE) as seen:
            for step, goal in zip(STEPS, cycle((Stage.SCALE, Stage.SHADOW)), strict=False):
                assert world.route().stage is not goal
                run_hurt(world, goal, step, server)
                bring_to(world, goal)
                assert world.route().fence is None
        settle(world, seen)


def test_a_slow_network_delays_a_switch_and_nothing_else(servers: tuple[RedisServer, KafkaServer]) -> None:
    redis, kafka = servers
    links = [SlowLink(redis.port, SLOW, seed=1), SlowLink(kafka.port, SLOW, seed=2)]
    try:
        redis.url = redis.url.replace(str(redis.port), str(links[0].port))
        kafka.advertise(links[1].port)
        with RealWorld(redis, kafka) as world:
            bring_to(world, Stage.SHADOW)
            world.subscribe(max_batch=100)
            with load(world, RATE) as seen:
                for stage in (Stage.SCALE, Stage.SHADOW):
                    migrate(world, stage)
            settle(world, seen)
            assert seen.stall < TIMING.pause
    finally:
        for link in links:
            link.close()


def test_the_link_delays_and_keeps_order(servers: tuple[RedisServer, KafkaServer]) -> None:
    redis, _ = servers
    link = SlowLink(redis.port, (0.05, 0.1), seed=3)
    try:
        with socket.create_connection(("127.0.0.1", link.port)) as client:
            began = time.monotonic()
            client.sendall(b"PING\r\n" * 3)
            got = b""
            while got.count(b"\r\n") < 3:
                got += client.recv(1024)
            assert time.monotonic() - began >= 0.1
    finally:
        link.close()

"""A backend that freezes around a switch, under load, with a ledger: a real Redis, a real Kafka, the real steps."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import EventLog, LogSettings
from benchmarks import pause
from contracts import names
from contracts.stages import Component, Stage
from cutover.timing import Timing
from tests.contract.bus_servers import KAFKA_PASSWORDS, REDIS_PASSWORD, KafkaServer, RedisServer
from validation.event_bus import Proof, Rules, read_run
from validation.ledger import Window
from validation.result import Report

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

IMPATIENT = Timing(fence=3.0, pause=6.0, drain=3.0, watch=1.0, answer=3.0)


@pytest.fixture
def world(redis_server: RedisServer, kafka_server: KafkaServer) -> Iterator[pause.World]:
    def opened(backend: str, user: str, settings: LogSettings) -> EventLog:
        env = {
            names.ENV_REDIS_URL: redis_server.url,
            names.ENV_REDIS_PASSWORD: REDIS_PASSWORD,
            names.ENV_KAFKA_BOOTSTRAP: kafka_server.bootstrap,
            names.ENV_KAFKA_USER: user,
            names.ENV_KAFKA_PASSWORD: KAFKA_PASSWORDS[user],
        }
        return open_log(backend, settings, env)

    made = pause.World(opened, f"frozen-{uuid.uuid4().hex[:8]}")
    made.migrate(Stage.MVP)
    yield made
    made.close()


def judged(folder: Path) -> Report:
    """The report on a run, which must hold."""
    report = Proof(read_run(folder, (pause.GROUP,)), Rules(min_rate=pause.RATE)).judge("whole")
    assert not report.failures(), [(check.name, check.found, check.detail) for check in report.failures()]
    return report


def active(world: pause.World) -> str:
    route = world.store.read(Component.EVENT_BUS).route
    assert route is not None
    assert route.fence is None
    return route.active


def until_reached(world: pause.World, stage: Stage, seconds: float = 60.0) -> None:
    """What a user does: run it again. A broker that was away elects itself anew, and is not of one mind at once."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            world.migrate(stage)
            return
        except RuntimeError:
            assert active(world) == "redis"
            if time.monotonic() > deadline:
                raise


def test_a_frozen_kafka_stops_the_switch_and_nobody_notices(
    world: pause.World, kafka_server: KafkaServer, tmp_path: Path
) -> None:
    with pause.loaded(world, tmp_path):
        world.migrate(Stage.SHADOW)
        kafka_server.freeze()
        try:
            with pytest.raises(RuntimeError, match="scale was not reached"):
                world.migrate(Stage.SCALE, IMPATIENT)
            assert active(world) == "redis"
        finally:
            kafka_server.thaw()
        until_reached(world, Stage.SCALE)
        assert active(world) == "kafka"
    assert judged(tmp_path).figures["caller_errors"] == 0


def test_a_frozen_old_side_does_not_hold_traffic_on_the_new_one_up(
    world: pause.World, redis_server: RedisServer, tmp_path: Path
) -> None:
    with pause.loaded(world, tmp_path):
        world.migrate(Stage.SCALE)
        redis_server.freeze()
        try:
            frozen = time.time_ns()
            time.sleep(3.0)  # load while the mirror has nowhere to copy to
            thawed = time.time_ns()
        finally:
            redis_server.thaw()
        world.migrate(Stage.SHADOW)
        assert active(world) == "redis"
    judged(tmp_path)
    proof = Proof(read_run(tmp_path, (pause.GROUP,)), Rules(min_rate=pause.RATE))
    window = proof.judge("frozen", Window(frozen, thawed))
    assert window.figures["publish_stall_ms_max"] < 2000

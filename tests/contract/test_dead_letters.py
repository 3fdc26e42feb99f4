"""Poison, set aside and replayed, on a real Redis and a real Kafka, with a switch between the two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.event_bus.factory import fixed_route
from adapters.event_bus.interface import RejectEvent
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRouteStore
from contracts.envelope import Event
from contracts.stages import Stage
from services.dead_letters import desk
from tests.contract.bus_servers import KafkaServer, RedisServer
from tests.contract.event_logs import Bench, eventually
from tests.contract.test_journey_on_real_logs import RealWorld, migrate

pytestmark = pytest.mark.timeout(120)


class Picky:
    """A group that rejects what is in `bad`."""

    def __init__(self) -> None:
        self.bad: set[bytes] = set()
        self.taken: list[bytes] = []

    def __call__(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.payload in self.bad:
                raise RejectEvent(event.id, "not to my taste")
        self.taken += [event.payload for event in events]


@pytest.mark.contract
def test_what_was_set_aside_on_redis_is_replayed_on_kafka_and_back(
    redis_server: RedisServer, kafka_server: KafkaServer
) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.MVP)
        picky, other = Picky(), Picky()
        picky.bad = {b"2", b"3"}
        world.bus.subscribe([world.topic], "engine", picky)
        world.bus.subscribe([world.topic], "archive", other)
        for payload in (b"1", b"2", b"3"):
            world.bus.publish(world.topic, "K0", payload)
        eventually(lambda: len(desk.find(world.bus, world.topic)) == 2 and other.taken == [b"1", b"2", b"3"])
        migrate(world, Stage.SCALE)
        picky.bad = set()
        first, second = desk.find(world.bus, world.topic, "engine")
        assert (first.cause, first.attempts, first.replays) == ("not to my taste", 1, 0)
        assert desk.replay(world.bus, [first]).done == [first.id]
        eventually(lambda: picky.taken == [b"1", b"2"])
        migrate(world, Stage.SHADOW)
        found = desk.find(world.bus, world.topic)
        assert [(one.id, one.replays) for one in found] == [(first.id, 1), (second.id, 0)]
        choice = desk.choose(found, (), again=False)
        assert choice.replay == (second,)
        desk.replay(world.bus, choice.replay)
        eventually(lambda: picky.taken == [b"1", b"2", b"3"])
        world.bus.publish(world.topic, "K0", b"4")
        eventually(lambda: other.taken == [b"1", b"2", b"3", b"4"])
        assert desk.choose(desk.find(world.bus, world.topic), (), again=False).replay == ()


def test_the_largest_event_is_set_aside_and_replayed_and_holds_nothing_up(bench: Bench) -> None:
    """A letter is larger than what it holds: it must fit all the same, or the partition would stand still."""
    route = fixed_route(bench.name, bench.settings)
    bus = RoutedEventBus(MemoryRouteStore(route), lambda name: bench.open("trading"), bench.settings, "largest.bus")
    try:
        room = bench.settings.max_event_bytes - bench.event(b"").size() - len("crossover/largest.bus")
        largest = os.urandom(room)
        picky = Picky()
        picky.bad = {largest}
        bus.subscribe([bench.topic], "engine", picky)
        bus.publish(bench.topic, "k", largest)
        bus.publish(bench.topic, "k", b"next")
        eventually(lambda: picky.taken == [b"next"], 20)
        eventually(lambda: len(desk.find(bus, bench.topic)) == 1)
        picky.bad = set()
        assert desk.replay(bus, desk.find(bus, bench.topic)).failed == {}
        eventually(lambda: picky.taken == [b"next", largest])
    finally:
        bus.close()


def run(bench: Bench, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The entry point as a pod runs it; its exit status and its report."""
    env = {"PATH": os.environ["PATH"], **bench.environment(), "EVENT_BUS_TYPE": bench.name}
    done = subprocess.run(
        [sys.executable, "-m", "services.dead_letters", *arguments],
        env=env | {"CROSSOVER_TOPICS": bench.topic, "CROSSOVER_PARTITIONS": "3"},
        capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return done.returncode, report


@pytest.mark.contract
@pytest.mark.parametrize("bench", ["redis", "kafka"], indirect=True)
def test_the_command_in_the_pod_lists_replays_once_and_refuses_what_is_unknown(bench: Bench) -> None:
    bus = RoutedEventBus(
        MemoryRouteStore(fixed_route(bench.name, bench.settings)),
        lambda name: bench.open("trading"),
        bench.settings,
        "engine.bus",
    )
    try:
        picky = Picky()
        picky.bad = {b"bad"}
        bus.subscribe([bench.topic], "engine", picky)
        event_id = bus.publish(bench.topic, "k", b"bad").event_id
        eventually(lambda: len(desk.find(bus, bench.topic)) == 1)
        picky.bad = set()
        code, report = run(bench, "list", bench.topic)
        assert code == 0
        [listed] = report["letters"]
        assert (listed["event_id"], listed["cause"], listed["bytes"]) == (event_id, "not to my taste", 3)
        assert run(bench, "replay", bench.topic, "--id", "nobody")[0] == 2
        code, report = run(bench, "replay", bench.topic, "--preview")
        assert (code, "replayed" in report) == (0, False)
        assert run(bench, "replay", bench.topic)[1]["replayed"] == [listed["id"]]
        eventually(lambda: picky.taken == [b"bad"])
        code, report = run(bench, "replay", bench.topic)
        assert (code, report["replayed"]) == (0, [])
        code, report = run(bench, "list", "elsewhere")
        assert code == 2 and "not configured" in str(report["error"])
    finally:
        bus.close()

"""A lone Kafka that is starved until its controller takes it for dead: clients that it told of no broker come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.event_bus.backends import open_log
from adapters.event_bus.base import EventLog, LogSettings, LogTail
from contracts import names
from contracts.envelope import Event
from tests.contract.bus_servers import KAFKA_PASSWORDS, KafkaServer
from tests.contract.own_servers import own_kafka

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

TOPIC = "starved"
SETTINGS = LogSettings(topics=(TOPIC,), partitions=3, publish_timeout=30.0)
IMPATIENT = {"broker.session.timeout.ms": "500", "broker.heartbeat.interval.ms": "200"}
STARVED_SECONDS = 8.0
ROUNDS = 4
"""With the other strategy two of three runs come out red: whether a client asks in that moment is chance."""


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    with own_kafka(tmp_path, IMPATIENT) as server:
        yield server


def opened(server: KafkaServer, user: str) -> EventLog:
    env = {
        names.ENV_KAFKA_BOOTSTRAP: server.bootstrap,
        names.ENV_KAFKA_USER: user,
        names.ENV_KAFKA_PASSWORD: KAFKA_PASSWORDS[user],
    }
    return open_log("kafka", SETTINGS, env)


def starve(server: KafkaServer, tail: LogTail) -> None:
    """Let it run for a moment now and then only, while `tail` goes on asking."""
    until = time.monotonic() + STARVED_SECONDS
    while time.monotonic() < until:
        server.freeze()
        pause = time.monotonic() + 0.6
        while time.monotonic() < pause:
            tail.poll(10, 0.1)
        server.thaw()
        time.sleep(0.05)  # all that it gets


def test_who_follows_a_topic_goes_on_once_the_broker_is_back(kafka: KafkaServer) -> None:
    admin = opened(kafka, names.KAFKA_ADMIN_USER)
    admin.ensure()
    log, writer = opened(kafka, names.KAFKA_MIRROR_USER), admin.writer("test")
    tail = log.tail(TOPIC, log.end(TOPIC))
    for round_ in range(ROUNDS):
        starve(kafka, tail)
        sent = [Event.create(TOPIC, f"key-{n}", b"x", source="test") for n in range(20)]
        for future in [writer.submit(event) for event in sent]:
            future.result(30)
        seen: set[str] = set()
        deadline = time.monotonic() + 20
        while len(seen) < len(sent) and time.monotonic() < deadline:
            seen |= {entry.event.id for entry in tail.poll(100, 0.2) if entry.event is not None}
        assert seen == {event.id for event in sent}, f"round {round_}: {len(seen)} of {len(sent)} came"
    tail.close()
    writer.close()
    log.close()
    admin.close()

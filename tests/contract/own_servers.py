"""A Redis or a Kafka for as long as a block lasts, of a test's or a session's own. The test is skipped where there is
none to start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.bus_servers import KafkaServer, RedisServer, Server, find_kafka, find_redis


@contextmanager
def _running[S: Server](server: S) -> Iterator[S]:
    server.start()
    try:
        yield server
    finally:
        server.thaw()
        server.stop()


@contextmanager
def own_redis(folder: Path) -> Iterator[RedisServer]:
    """A Redis that fsyncs always."""
    if not find_redis():
        pytest.skip("there is no redis-server on PATH")
    with _running(RedisServer(folder)) as server:
        yield server


@contextmanager
def own_kafka(folder: Path, other: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    """A Kafka with logins and ACLs, and `other` settings in place of ours."""
    libraries = find_kafka()
    if libraries is None:
        pytest.skip("Kafka's jars (CROSSOVER_KAFKA_LIBS, or mvn) or java are not there")
    with _running(KafkaServer(folder, libraries, other)) as server:
        yield server

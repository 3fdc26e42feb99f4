"""The services over which recorded traffic is replayed, each over the backend of a stage; and who records it:
`python -m tests.contract.replayed_traffic FOLDER` writes data/*.jsonl anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from adapters.csv_bars import SHIPPED, load_bars
from adapters.event_bus import open_bus
from adapters.event_bus.base import LogSettings
from adapters.event_bus.kafka_client import KafkaAddress
from adapters.event_bus.kafka_log import KafkaLog
from contracts import names
from contracts.market import BAR_TYPE, encode_tick
from tests.contract import postgres_server
from tests.contract.backtest_service import backtest_service
from tests.contract.bus_servers import KAFKA_PASSWORDS, REDIS_PASSWORD, KafkaServer, RedisServer
from tests.contract.own_servers import own_redis
from tests.contract.test_trading_services import REPOSITORY, Process, wait_for_effects
from validation.api.exchange import Exchange, read, write
from validation.api.replaying import ask_all, at_addresses, recorded

REQUESTS = REPOSITORY / "validation" / "api" / "requests.jsonl"
DATA = Path(__file__).parent / "data"
BARS = 400
"""Of each symbol: enough for some orders."""


def of(service: str, path: Path = REQUESTS) -> list[Exchange]:
    """The exchanges of one service."""
    return [exchange for exchange in read(path) if exchange.service == service]


def redis_environment(redis: RedisServer) -> dict[str, str]:
    """What a service has at mvp."""
    return {
        names.ENV_EVENT_BUS_TYPE: "redis", names.ENV_REDIS_URL: redis.url, names.ENV_REDIS_PASSWORD: REDIS_PASSWORD
    }  # fmt: skip


def kafka_environment(kafka: KafkaServer) -> dict[str, str]:
    """What a service has at scale, with the topics made and the rights given."""
    admin, user = names.KAFKA_ADMIN_USER, names.KAFKA_APP_USER
    log = KafkaLog(
        "kafka", LogSettings(topics=names.TOPICS, partitions=names.DEFAULT_PARTITIONS),
        KafkaAddress(kafka.bootstrap, admin, KAFKA_PASSWORDS[admin]),
    )  # fmt: skip
    log.ensure()
    log.close()
    return {
        names.ENV_EVENT_BUS_TYPE: "kafka", names.ENV_KAFKA_BOOTSTRAP: kafka.bootstrap, names.ENV_KAFKA_USER: user,
        names.ENV_KAFKA_PASSWORD: KAFKA_PASSWORDS[user],
    }  # fmt: skip


@contextmanager
def engine(folder: Path, bus: Mapping[str, str], server: postgres_server.Postgres, database: str) -> Iterator[str]:
    """The address of a trading engine that has taken BARS bars of each shipped symbol from the bus."""
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
        if not admin.execute("select 1 from pg_roles where rolname = 'trading'").fetchone():
            admin.execute(f"create role trading login password '{postgres_server.PASSWORD}'")
        admin.execute(f"create database {database} owner trading")
    url = server.url(database=database)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **bus}
    process = Process("services.trading_engine", folder, {**env, "DATABASE_URL": url})
    try:
        process.wait_ready()
        publish(bus)
        wait_for_effects(url, BARS * len(SHIPPED))
        yield f"http://127.0.0.1:{process.port}"
    finally:
        process.kill()


def publish(env: Mapping[str, str]) -> None:
    """Each shipped symbol's first bars, in order."""
    bus = open_bus("replayed", env)
    try:
        sent = [
            bus.publish_future(names.MARKET_DATA, symbol, encode_tick(symbol, place, bar), type=BAR_TYPE)
            for symbol, path in SHIPPED.items()
            for place, bar in enumerate(load_bars(path)[:BARS])
        ]
        for future in sent:
            future.result(30)
    finally:
        bus.close(10)


def _record(folder: Path) -> None:
    binaries = postgres_server.find_postgres()
    assert binaries is not None
    with ExitStack() as stack:
        redis = stack.enter_context(own_redis(folder))
        server = stack.enter_context(postgres_server.postgres(binaries))
        at_mvp = {
            names.TRADING_ENGINE_NAME: engine(folder, redis_environment(redis), server, "recorded"),
            names.BACKTESTING_NAME: served(folder, "vectorbt"),
        }
        for service, made in at_mvp.items():
            ask = at_addresses({service: stack.enter_context(made)})
            write(DATA / f"traffic-{service}.jsonl", recorded(list(ask_all(of(service), ask))))


@contextmanager
def served(folder: Path, name: str) -> Iterator[str]:
    """The address of a backtesting service with that engine."""
    with backtest_service(folder, BACKTESTING_ENGINE=name) as running:
        yield running.address


if __name__ == "__main__":
    _record(Path(sys.argv[1]))

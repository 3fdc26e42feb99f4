"""The feed and the engine as processes, on a real Redis and a real Postgres behind PgBouncer, at a thousand
bars a second: every bar takes effect once, in order; both end in order on SIGTERM; a killed engine's work is
taken up where it was acknowledged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.contract import postgres_server
from tests.contract.bus_servers import REDIS_PASSWORD
from tests.contract.own_servers import own_redis

pytestmark = pytest.mark.contract

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RATE = 1_000
DEADLINE = 60.0
FACTS = """
select count(*), count(*) filter (where step <> 1), min(first), max(total) from (
    select sequence - lag(sequence, 1, sequence - 1) over by_key as step,
        min(sequence) over (partition by key) as first, count(*) over (partition by key) as total
    from trading.processed_events window by_key as (partition by key order by effect_no)) as steps"""


class Process:
    """A service as its pod would run it."""

    def __init__(self, module: str, folder: Path, env: dict[str, str]) -> None:
        self.port = postgres_server.free_port()
        self._log = folder / f"{module}.{self.port}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=REPOSITORY,
                env={**env, "HTTP_PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def wait_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self._log.read_text()[-3000:]
            try:
                self.get("/readyz")
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)  # it announces nothing
            else:
                return
        raise AssertionError(f"not ready in {DEADLINE:g} s: {self._log.read_text()[-3000:]}")

    def end(self) -> int:
        """Ask it to end; its status."""
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The environment of the services, and a direct way to the database."""
    binaries = postgres_server.find_postgres()
    if binaries is None or not shutil.which("redis-server"):
        pytest.skip("needs redis-server and Postgres here: see CONTRIBUTING")
    if not shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("pgbouncer is not installed here")
    with ExitStack() as stack:
        redis = stack.enter_context(own_redis(tmp_path))
        server = stack.enter_context(postgres_server.postgres(binaries))
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as admin:
            admin.execute(f"create role trading login password '{postgres_server.PASSWORD}'")
            admin.execute("create database trading owner trading")
        port = stack.enter_context(postgres_server.pgbouncer(server))
        yield (
            {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(REPOSITORY),
                "EVENT_BUS_TYPE": "redis",
                "REDIS_URL": redis.url,
                "REDIS_PASSWORD": REDIS_PASSWORD,
                "DATABASE_URL": server.url(port=port),
                "MARKET_FEED_RATE": str(RATE),
            },
            server.url(),
        )


def taken(database: str) -> tuple[Any, ...]:
    with psycopg.connect(database) as connection:
        row = connection.execute(FACTS).fetchone()
    assert row is not None
    return row


def outbox(database: str) -> tuple[int, int, int]:
    """How many signals are not sent, are sent, and exist."""
    statement = """select count(*) filter (where sent_at is null), count(sent_at),
        (select count(*) from trading.signals) from trading.outbox"""
    with psycopg.connect(database) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def wait_for_effects(database: str, wanted: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while (count := taken(database)[0]) < wanted:
        assert time.monotonic() < deadline, f"{count} of {wanted} events took effect in {DEADLINE:g} s"
        time.sleep(0.1)  # the engine tells nobody of its progress


def test_bars_take_effect_once_and_in_order_and_both_end_in_order(
    world: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    env, database = world
    with ExitStack() as stack:
        engine = Process("services.trading_engine", tmp_path, env)
        stack.callback(engine.process.kill)
        engine.wait_ready()
        feed = Process("services.market_feed", tmp_path, env)
        stack.callback(feed.process.kill)
        wait_for_effects(database, 2 * RATE)

        engine.kill()  # in the middle of its work: what it had not acknowledged comes again
        engine = Process("services.trading_engine", tmp_path, env)
        stack.callback(engine.process.kill)
        engine.wait_ready()
        wait_for_effects(database, 5 * RATE)

        published = json.loads(feed.get("/feed"))["published"]
        assert feed.end() == 0
        wait_for_effects(database, published)
        positions = json.loads(engine.get("/positions"))["items"]
        assert {item["key"] for item in positions} == {"SP500", "NASDAQ"}
        # The killed engine's lease on the outbox must run out first.
        deadline = time.monotonic() + DEADLINE
        while outbox(database)[0]:
            assert time.monotonic() < deadline, "signals were not sent"
            time.sleep(0.1)  # the outbox tells nobody of its progress
        assert engine.end() == 0
    count, steps_missed, first, _ = taken(database)
    assert count >= published
    assert (steps_missed, first) == (0, 0)
    unsent, sent, signals = outbox(database)
    assert (unsent, sent) == (0, signals)
    assert signals > 0


def test_a_service_that_cannot_start_says_why_and_fails(tmp_path: Path) -> None:
    broken = Process("services.trading_engine", tmp_path, {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)})
    assert broken.process.wait(DEADLINE) == 2
    assert "DATABASE_URL is not set. Set DATABASE_URL to" in broken._log.read_text()

"""A service that is stopped (SIGSTOP) through a whole switch and wakes: a process of its own, on real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.routes.base import AdapterRegistry, RouteStore
from contracts import names
from contracts.registry import LEASE_SECONDS
from contracts.stages import Component, Stage
from tests.contract import frozen_adapter
from tests.contract.bus_servers import KAFKA_PASSWORDS, REDIS_PASSWORD, KafkaServer, RedisServer
from tests.contract.event_logs import eventually
from tests.contract.file_routes import FileRegistry, FileRouteStore
from tests.contract.test_journey_on_real_logs import TIMING, RealWorld, migrate

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]


class FileWorld(RealWorld):
    """The world, with routes and adapter records that other processes see."""

    def __init__(self, folder: Path, redis: RedisServer, kafka: KafkaServer) -> None:
        self.folder = folder
        super().__init__(redis, kafka)

    def make_store(self) -> RouteStore:
        return FileRouteStore(self.folder)

    def make_registry(self) -> AdapterRegistry:
        return FileRegistry(self.folder)

    def noted(self, name: str) -> list[list[str]]:
        """The whole lines of what the service wrote down."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]

    def silence(self) -> float:
        """Seconds since the service last renewed its record."""
        return next(r.age_seconds for r in self.registry.records(Component.EVENT_BUS) if r.name == frozen_adapter.NAME)


@contextmanager
def service(world: FileWorld, redis: RedisServer, kafka: KafkaServer) -> Iterator[subprocess.Popen[bytes]]:
    user = names.KAFKA_APP_USER
    env = os.environ | {
        names.ENV_REDIS_URL: redis.url,
        names.ENV_REDIS_PASSWORD: REDIS_PASSWORD,
        names.ENV_KAFKA_BOOTSTRAP: kafka.bootstrap,
        names.ENV_KAFKA_USER: user,
        names.ENV_KAFKA_PASSWORD: KAFKA_PASSWORDS[user],
    }
    command = [sys.executable, "-m", "tests.contract.frozen_adapter", str(world.folder), world.topic]
    process = subprocess.Popen(command, env=env, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_service_that_is_frozen_through_a_switch_loses_nothing_and_writes_nothing_past_the_fence(
    redis_server: RedisServer, kafka_server: KafkaServer, tmp_path: Path
) -> None:
    with FileWorld(tmp_path, redis_server, kafka_server) as world:
        migrate(world, Stage.SHADOW)
        world.subscribe(max_batch=100)
        with service(world, redis_server, kafka_server) as process:
            eventually(lambda: (tmp_path / "taken").exists() and len(world.noted("taken")) > 100, 60.0)
            process.send_signal(signal.SIGSTOP)
            refused = world.migrate(Stage.SCALE, TIMING)
            assert refused.verdict == "does not hold"
            assert f"did not acknowledge epoch 2 within 5 s: {frozen_adapter.NAME} (last heard of" in refused.message
            assert world.route().active == "redis" and world.route().fence is None
            world.publish(40)

            # Its record has run out and its pod is not there: it does not count any more.
            eventually(lambda: world.silence() > LEASE_SECONDS, LEASE_SECONDS + 5)
            migrate(world, Stage.SCALE)
            world.publish(40)
            assert {backend for _, backend in world.noted("acknowledged")} == {"redis"}
            process.send_signal(signal.SIGCONT)
            eventually(lambda: sum(backend == "kafka" for _, backend in world.noted("acknowledged")) > 200, 40.0)
            process.terminate()
            assert process.wait(40) == 0

        world.sent[frozen_adapter.KEY] += [event_id for event_id, _ in world.noted("acknowledged")]
        world.assert_ledger(30.0)
        redis = world.cutover_log("redis")
        sealed = world.route().chain(world.topic)[0].end
        assert sealed is not None
        beyond = list(redis.scan(world.topic, sealed, redis.end(world.topic)))
        assert beyond and all(entry.origin == "kafka" for entry in beyond)  # nothing of its own: copies only
        redis.close()
        own = [event_id for event_id, key in world.noted("taken") if key == frozen_adapter.KEY]
        first_effects = list(dict.fromkeys(own))  # what it held when its lease ran out may come once more
        assert first_effects == world.sent[frozen_adapter.KEY][: len(first_effects)]
        assert len(first_effects) > 200

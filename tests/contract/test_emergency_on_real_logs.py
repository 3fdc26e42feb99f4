"""Kafka dies under load, in several ways, and traffic flees to Redis: real servers, the real steps, a ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from adapters.event_bus.base import order
from adapters.event_bus.interface import Receipt
from adapters.event_bus.journal import place_of
from adapters.event_bus.redis_client import RedisAddress
from adapters.event_bus.redis_streams import RedisLog
from contracts.names import KAFKA_APP_USER, KAFKA_MIRROR_USER
from contracts.routes import Stranded
from contracts.stages import Stage
from tests.contract.bus_servers import KAFKA_PASSWORDS, REDIS_PASSWORD, KafkaServer, RedisServer
from tests.contract.own_servers import own_kafka
from tests.contract.test_journey_on_real_logs import TIMING, Load, RealWorld, load, migrate

pytestmark = [pytest.mark.contract, pytest.mark.timeout(900)]

MOST_SECONDS = 10.0
"""What is promised: from the start of the run until an event is durable again."""


@pytest.fixture
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka of this test's own, to be killed."""
    with own_kafka(tmp_path_factory.mktemp("doomed")) as server:
        yield server


def revoke(kafka: KafkaServer) -> None:
    """Services and mirror cannot log in any more; the administrator can."""
    _set_passwords(kafka, dict.fromkeys((KAFKA_APP_USER, KAFKA_MIRROR_USER), "expired"))


def restore(kafka: KafkaServer) -> None:
    """They can again."""
    _set_passwords(kafka, KAFKA_PASSWORDS)


def clear_disk(kafka: KafkaServer) -> None:
    """The operator made room, and started what was left of it again."""
    kafka.kill()
    kafka.start()


def _set_passwords(kafka: KafkaServer, passwords: dict[str, str]) -> None:
    kafka.kill()
    config = kafka.folder / "server.properties"
    text = config.read_text()
    for user, password in passwords.items():
        start = text.index(f"user_{user}=") + len(f'user_{user}="')
        text = text[:start] + password + text[text.index('"', start) :]
    config.write_text(text)
    kafka.start()


@pytest.mark.parametrize(
    ("die", "live"),
    [
        (KafkaServer.kill, KafkaServer.start),
        (KafkaServer.stop, KafkaServer.start),
        (KafkaServer.freeze, KafkaServer.thaw),
        (revoke, restore),
        (KafkaServer.fill_disk, clear_disk),
    ],
    ids=["killed", "stopped", "frozen", "credentials expired", "disk full"],
)
def test_traffic_flees_in_seconds_and_what_only_kafka_held_comes_once(
    redis_server: RedisServer,
    kafka: KafkaServer,
    die: Callable[[KafkaServer], None],
    live: Callable[[KafkaServer], None],
) -> None:
    world = RealWorld(redis_server, kafka)
    with world:
        migrate(world, Stage.SCALE)
        world.subscribe(max_batch=100)
        with load(world, 300) as seen:
            _await_durable(seen, 300)
            redis = RedisLog("redis", world.settings, RedisAddress(redis_server.url, REDIS_PASSWORD))
            redis.close_copies(world.topic, "kafka")  # the mirror stands still from here: a tail is stranded
            _await_durable(seen, _durable(seen) + 150)
            die(kafka)
            time.sleep(1.0)  # load that has nowhere to go
            died = seen.count
            began = time.monotonic()
            outcome = world.migrate(Stage.SHADOW, TIMING, emergency=True)
            assert outcome.reached, "\n".join([outcome.message, *world.lines])
            receipt = world.bus.publish(world.topic, "after", b"z", timeout=MOST_SECONDS)
            seconds = time.monotonic() - began
            _await_effect(world, receipt.event_id, MOST_SECONDS)  # consumers go on without Kafka, too
            _await_durable(seen, died + 150)
        told = (world.route().stranded or {})[world.topic]
        handed = [future for futures in seen.sent.values() for future in futures]
        receipts = [future.result() for future in handed if future.exception(20) is None]
        print(f"durable at redis after {seconds:.2f} s; {told.count} stranded\n" + "\n".join(world.lines))
        assert receipt.backend == "redis" and seconds < MOST_SECONDS
        only_kafka = sorted(r.event_id for r in receipts if _only_at_kafka(r, told))
        assert (told.count, told.first, told.last) == (len(only_kafka), only_kafka[0], only_kafka[-1])
        live(kafka)
        _until_reached(world)
        assert world.route().stranded is None
        early = [f.result() for f in _first(seen, died) if f.exception() is None]
        again = {early_receipt.event_id for early_receipt in early if early_receipt.backend == "redis"}
        _assert_each_once(world, [*receipts, receipt], again, len(handed) - len(receipts))


def _durable(seen: Load) -> int:
    return sum(future.done() for futures in list(seen.sent.values()) for future in list(futures))


def _await_durable(seen: Load, count: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while _durable(seen) < count:
        assert time.monotonic() < deadline, f"{count} events were not durable in {seconds:g} s"
        time.sleep(0.02)  # polling with a deadline


def _await_effect(world: RealWorld, event_id: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not all(event_id in _effects(world, group) for group in world.effects):
        assert time.monotonic() < deadline, f"not every group took {event_id} in {seconds:g} s"
        time.sleep(0.02)  # polling with a deadline


def _only_at_kafka(receipt: Receipt, told: Stranded) -> bool:
    if receipt.backend != "kafka":
        return False
    partition, place = place_of(receipt.position)
    return order(place) >= order(told.copied.get(partition, "0"))


def _first(seen: Load, count: int) -> Iterator[Future[Receipt]]:
    """The futures of about the first `count` events."""
    for futures in seen.sent.values():
        yield from futures[: count // len(seen.sent) + 1]


def _until_reached(world: RealWorld, seconds: float = 120.0) -> None:
    """What a user does: run it again. A broker that was away is not of one mind at once."""
    deadline = time.monotonic() + seconds
    while not (outcome := world.migrate(Stage.SHADOW, TIMING)).reached:
        assert time.monotonic() < deadline, "\n".join([outcome.message, *world.lines])


def _assert_each_once(world: RealWorld, receipts: list[Receipt], again: set[str], failed: int) -> None:
    """Every group took effect of each once; of `again`, whose publisher had no answer, perhaps a second time; and
    perhaps of those `failed`, of which no caller knows."""
    wanted = {receipt.event_id for receipt in receipts}
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and any(_effects(world, g).keys() < wanted for g in world.effects):
        time.sleep(0.05)  # polling for the effects, with a deadline
    for group in world.effects:
        effects = _effects(world, group)
        assert wanted <= effects.keys(), f"{group} lacks {len(wanted - effects.keys())}"
        assert len(effects.keys() - wanted) <= failed, f"{group} took what nobody sent"
        assert {event for event, count in effects.items() if count > 1} <= again, f"{group} took some twice"


def _effects(world: RealWorld, group: str) -> Counter[str]:
    return Counter(event for ids in list(world.effects[group].values()) for event in list(ids))

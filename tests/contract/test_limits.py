"""The limits of the event bus on a real Redis and a real Kafka: what docs/limits.md says of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from adapters.event_bus.errors import UnknownTopic
from contracts.envelope import Event
from contracts.stages import Stage
from tests.contract.bus_servers import KAFKA_PASSWORDS, KafkaServer, RedisServer
from tests.contract.event_logs import eventually
from tests.contract.test_journey_on_real_logs import TIMING, RealWorld, load, migrate, settle
from tests.unit.cutover.world import KEYS

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180)]


def collecting(found: list[Event]) -> Callable[[Sequence[Event]], None]:
    return found.extend


def by_key(events: Sequence[Event]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event.id)
    return found


def test_topics_added_in_mid_journey_are_copied_switched_and_retired_with_the_rest(
    redis_server: RedisServer, kafka_server: KafkaServer
) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        first, second = f"{world.topic}-orders", f"{world.topic}-fills"
        migrate(world, Stage.SHADOW)
        world.subscribe(max_batch=100)
        taken: dict[str, list[Event]] = {first: [], second: []}
        sent: dict[str, list[str]] = {first: [], second: []}

        def publish(topic: str) -> None:
            sent[topic] += [world.bus.publish(topic, "k", str(n).encode()).event_id for n in range(5)]

        def published(topic: str) -> bool:
            """Whether the bus has seen the route that knows `topic`, and took events for it."""
            try:
                publish(topic)
            except UnknownTopic:
                return False
            return True

        with load(world, 200) as seen:
            with pytest.raises(UnknownTopic):
                publish(first)
            world.configure((world.topic, first))
            migrate(world, Stage.SHADOW)  # taken up where Redis serves and Kafka follows
            eventually(lambda: published(first))
            world.bus.subscribe([first], "g", collecting(taken[first]))
            migrate(world, Stage.SCALE)
            publish(first)
            world.configure((world.topic, first, second))
            migrate(world, Stage.SCALE)  # and where Kafka serves and Redis follows
            eventually(lambda: published(second))
            world.bus.subscribe([second], "g", collecting(taken[second]))
            for goal in (Stage.SHADOW, Stage.MVP):
                migrate(world, goal)
                publish(first)
                publish(second)
        settle(world, seen)
        eventually(lambda: all(len(taken[topic]) >= len(sent[topic]) for topic in sent))
        assert {topic: [event.id for event in events] for topic, events in taken.items()} == sent


def test_a_group_that_first_appears_after_switches_reads_all_segments_once_and_in_order(
    redis_server: RedisServer, kafka_server: KafkaServer
) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.MVP)
        for goal in (Stage.SCALE, Stage.SHADOW):
            world.publish(200)
            migrate(world, goal)
        world.publish(200)
        assert [s.backend for s in world.route().chain(world.topic)] == ["redis", "kafka", "redis"]
        late: list[Event] = []
        newest: list[Event] = []
        world.bus.subscribe([world.topic], "late", collecting(late), max_batch=50)
        world.bus.subscribe([world.topic], "newest", collecting(newest), start="latest")
        eventually(lambda: len(late) >= 600, 30.0)
        assert by_key(late) == dict(world.sent)
        again: list[Event] = []
        world.bus.subscribe([world.topic], "again", collecting(again))  # a replay is a new group
        eventually(lambda: len(again) >= 600, 30.0)
        assert by_key(again) == dict(world.sent)
        eventually(lambda: {s.group for s in world.log("redis").groups(world.topic)} >= {"late", "newest", "again"})
        world.publish(len(KEYS))
        eventually(lambda: len(newest) == len(KEYS))
        eventually(lambda: len(late) == 600 + len(KEYS))
        assert [event.id for event in newest] == [ids[-1] for ids in world.sent.values()]


def raise_partitions(kafka: KafkaServer, topic: str, count: int) -> None:
    """As `kafka-topics --alter --partitions` does."""
    from confluent_kafka.admin import AdminClient, NewPartitions

    login = {"sasl.username": "cutover", "sasl.password": KAFKA_PASSWORDS["cutover"], "sasl.mechanism": "PLAIN"}
    client = AdminClient({"bootstrap.servers": kafka.bootstrap, "security.protocol": "SASL_PLAINTEXT", **login})
    for made in client.create_partitions([NewPartitions(topic, count)]).values():
        made.result(10)


def test_partitions_that_were_raised_stop_a_switch_by_name(
    redis_server: RedisServer, kafka_server: KafkaServer
) -> None:
    with RealWorld(redis_server, kafka_server) as world:
        migrate(world, Stage.SHADOW)
        world.publish(20)
        raise_partitions(kafka_server, world.topic, 5)
        kafka = world.cutover_log("kafka")
        eventually(lambda: kafka.facts().topics[world.topic].partitions == 5)  # a broker follows in its own time
        kafka.close()
        outcome = world.migrate(Stage.SCALE, TIMING)
        assert outcome.verdict == "does not hold"
        assert "kafka: partitions does not hold: expected 3 in each topic" in outcome.message
        assert f"found {world.topic} has 5" in outcome.message
        world.configure((world.topic,), partitions=5)  # as if config followed: the events of before lie elsewhere
        outcome = world.migrate(Stage.SCALE, TIMING)
        assert outcome.verdict == "does not hold" and "asks for 5 partitions" in outcome.message
        assert world.route().active == "redis"
        world.publish(20)
        world.subscribe()
        world.assert_ledger()

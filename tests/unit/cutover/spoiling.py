"""A world whose backends tell whole, healthy facts, and ways to spoil each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from adapters.event_bus.facts import Copies, Limits, LogFacts, Memory, Persistence, Rights, TopicFacts
from tests.unit.cutover.world import TOPIC, World

PERSISTENCE = Persistence(
    append_only=True, fsync="always", last_write_ok=True, last_rewrite_ok=True, last_snapshot_ok=True
)
MEMORY = Memory(used=10, limit=100, machine=1000, policy="noeviction")
LIMITS = Limits(
    retention_seconds=3600.0,
    retention_bytes=None,
    cleanup="delete",
    max_message_bytes=2_000_000,
    largest_batch=2_000_000,
    min_insync=2,
)
COPIES = Copies(replicas=3, in_sync=3)


def all_topics_of(facts: LogFacts, alter: Callable[[TopicFacts], TopicFacts]) -> LogFacts:
    """`facts` with every topic altered."""
    return replace(facts, topics={name: alter(topic) for name, topic in facts.topics.items()})


def make_whole(world: World) -> None:
    """Redis tells of persistence and memory, Kafka of limits and copies, as healthy ones do."""
    world.servers["redis"].faults.tell(lambda facts: replace(facts, persistence=PERSISTENCE, memory=MEMORY))
    world.servers["kafka"].faults.tell(
        lambda facts: replace(
            all_topics_of(facts, lambda topic: replace(topic, limits=LIMITS, copies=COPIES)), brokers=3, clock=None
        )
    )


def tells(backend: str, **changes: Any) -> Callable[[World], None]:
    """The backend says `changes` of itself."""
    return lambda world: world.servers[backend].faults.tell(lambda facts: replace(facts, **changes))


def tells_of_topics(backend: str, **changes: Any) -> Callable[[World], None]:
    """The backend says `changes` of each topic."""
    return lambda world: world.servers[backend].faults.tell(
        lambda facts: all_topics_of(facts, lambda topic: replace(topic, **changes))
    )


def adapters_tell(**changes: Any) -> Callable[[World], None]:
    """Adapters' records say `changes`."""

    def spoil(world: World) -> None:
        world.adapters.alter = lambda record: replace(record, **changes)

    return spoil


def trims_unread(world: World) -> None:
    """A group stands at the beginning, and events after it go."""
    server = world.servers["redis"]
    server.group(TOPIC, "slow", world.settings.partitions)
    server.trim(TOPIC, dict.fromkeys(world.log("redis").end(TOPIC), "2"))


RIGHTS = Rights(user="cutover")

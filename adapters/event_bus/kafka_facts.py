"""What Kafka tells of itself to who administers it: asked, changing nothing.

Its disks are not told: `DescribeLogDirs` is not in confluent-kafka 2.16, nor in the librdkafka beneath it
(librdkafka#5333 is open). Nor is the time: no answer of its protocol holds one. Nor are its super users:
`super.users` is the authorizer's setting, which DescribeConfigs leaves out; config must name none but administrators.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from adapters.event_bus.base import LogSettings
from adapters.event_bus.errors import BackendUnavailable, EventBusError
from adapters.event_bus.facts import Copies, Limits, LogFacts, Rights, TopicFacts
from adapters.event_bus.kafka_admin import CLUSTER, KafkaAdmin, Layout, Right
from adapters.event_bus.kafka_client import PARTITIONER
from adapters.event_bus.kafka_operations import own_operations
from adapters.event_bus.kafka_writer import largest_batch
from adapters.known import Fact, Unknown
from contracts.names import all_topics

_OWN_CLUSTER = frozenset({"ALTER", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"})
"""To seal (ALTER gives and takes rights), to make topics, and to know what is there."""
_OWN_TOPIC = frozenset({"ALTER_CONFIGS", "DESCRIBE", "DESCRIBE_CONFIGS", "READ"})
"""To set a topic's limits, and to compare what is in it."""
_EXCESS = frozenset({"ALL", "ALTER", "ALTER_CONFIGS", "CLUSTER_ACTION", "CREATE", "DELETE"})
"""What would let a service lift a seal, change a limit, or take events away."""
MOST_REPLICAS = 3


def replication(brokers: int) -> int:
    """Replicas of a topic that is made where so many brokers are live."""
    return min(MOST_REPLICAS, max(1, brokers))


def least_in_sync(replicas: int) -> int:
    """How many replicas must have an event before it counts as stored."""
    return max(1, replicas - 1)


def gather(client: KafkaAdmin, settings: LogSettings, wanted: Collection[Right], writers: Sequence[str]) -> LogFacts:
    """All facts. `wanted`: the rights that services and the mirror must have; `writers`: the services' users.

    Raises BackendUnavailable, AccessDenied.
    """
    layout = client.layout()
    topics = all_topics(settings.topics)
    present = [topic for topic in topics if topic in layout.topics]
    broker = client.configs("BROKER", [str(layout.brokers[0])])[str(layout.brokers[0])]
    configs = client.configs("TOPIC", present) if present else {}
    count = len(layout.brokers)
    copies = min((r for topic in present for r, _ in layout.topics[topic]), default=replication(count))
    return LogFacts(
        backend="kafka",
        version=f"cluster {layout.cluster}, {count} broker{'s' if count > 1 else ''}",
        durability=f"acks=all, {copies} replica{'s' if copies > 1 else ''} a partition"
        + ("" if copies > 1 else ": outlives the broker's process, not a loss of its machine's memory"),
        topics={topic: _topic(topic, layout, configs.get(topic), broker, settings) for topic in topics},
        partitioner=PARTITIONER,
        brokers=count,
        disk_used=Unknown("the client cannot ask for it (DescribeLogDirs is not in confluent-kafka)"),
        rights=_rights(client, present, wanted, writers, broker),
    )


def _topic(
    topic: str, layout: Layout, config: Mapping[str, str] | None, broker: Mapping[str, str], settings: LogSettings
) -> TopicFacts:
    if config is None:
        replicas = replication(len(layout.brokers))
        return TopicFacts(
            exists=False,
            limits=_limits(_as_made(broker, settings, replicas), settings),
            copies=Copies(replicas=replicas, in_sync=replicas),
        )
    partitions = layout.topics[topic]
    return TopicFacts(
        exists=True,
        partitions=len(partitions),
        retained=Unknown("Kafka's client cannot ask for sizes"),
        limits=_limits(config, settings),
        copies=Copies(replicas=min(r for r, _ in partitions), in_sync=min(s for _, s in partitions)),
    )


def topic_config(settings: LogSettings, replicas: int) -> dict[str, str]:
    """The settings with which a topic is made, and which are set again whenever Kafka joins."""
    return {
        "max.message.bytes": str(largest_batch(settings)),
        "min.insync.replicas": str(least_in_sync(replicas)),
        "cleanup.policy": "delete",
        "message.timestamp.type": "CreateTime",
        "unclean.leader.election.enable": "false",
    }


def _as_made(broker: Mapping[str, str], settings: LogSettings, replicas: int) -> dict[str, str]:
    """The settings that a topic would have that is made now: ours, and else the broker's."""
    units = (("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000))
    retention = next((int(broker[name]) * unit for name, unit in units if broker.get(name, "").lstrip("-")), None)
    inherited = {"retention.ms": str(retention)} if retention is not None else {}
    if "log.retention.bytes" in broker:
        inherited["retention.bytes"] = broker["log.retention.bytes"]
    return inherited | topic_config(settings, replicas)


def _limits(config: Mapping[str, str], settings: LogSettings) -> Fact[Limits]:
    names = ("retention.ms", "retention.bytes", "max.message.bytes", "min.insync.replicas", "cleanup.policy")
    missing = [name for name in names if name not in config]
    if missing:
        return Unknown(f"Kafka does not tell {', '.join(missing)} to this user")
    milliseconds, size = int(config["retention.ms"]), int(config["retention.bytes"])
    return Limits(
        retention_seconds=milliseconds / 1000 if milliseconds >= 0 else None,
        retention_bytes=size if size >= 0 else None,
        cleanup=config["cleanup.policy"],
        max_message_bytes=int(config["max.message.bytes"]),
        largest_batch=largest_batch(settings),
        min_insync=int(config["min.insync.replicas"]),
    )


def _rights(
    client: KafkaAdmin,
    topics: Sequence[str],
    wanted: Collection[Right],
    writers: Sequence[str],
    broker: Mapping[str, str],
) -> Fact[Rights]:
    if not broker.get("authorizer.class.name"):
        return Rights(user=client.user, seal_holds=False)
    try:
        own = own_operations(client.address, topics)
        allowed, denied = client.rights()
    except BackendUnavailable:
        raise
    except EventBusError as error:
        return Unknown(str(error))
    lacks = [f"{operation} on the cluster" for operation in sorted(_OWN_CLUSTER - own[CLUSTER])]
    lacks += [f"{operation} on {topic}" for topic in topics for operation in sorted(_OWN_TOPIC - own[topic])]
    return Rights(
        user=client.user,
        lacks=tuple(lacks),
        others_lack=_missing(wanted, allowed, denied, writers),
        excess=_excess(allowed, writers, topics),
    )


def _missing(
    wanted: Collection[Right],
    allowed: Collection[Right],
    denied: Collection[Right],
    writers: Sequence[str],
) -> tuple[str, ...]:
    """Of `wanted`, what is not allowed, or denied to others than services: theirs is the seal."""
    return tuple(
        f"{right.user}: {right.operation} on {right.kind.lower()} {right.name}"
        for right in sorted(wanted, key=lambda r: (r.user, r.kind, r.name, r.operation))
        if not any(given.covers(right) for given in allowed)
        or (right.user not in writers and any(refusal.covers(right) for refusal in denied))
    )


def _excess(allowed: Collection[Right], writers: Sequence[str], topics: Sequence[str]) -> tuple[str, ...]:
    """What services may do to the cluster or to `topics`; topics of others are not this switch's concern."""

    def ours(right: Right) -> bool:
        return right.kind != "TOPIC" or any(right.covers(replace(right, name=topic, prefix=False)) for topic in topics)

    return tuple(
        f"{right.user}: {right.operation} on {right.kind.lower()} {right.name}"
        for right in sorted(allowed, key=lambda r: (r.user, r.kind, r.name, r.operation))
        if right.user in ("*", *writers) and right.operation in _EXCESS and ours(right)
    )

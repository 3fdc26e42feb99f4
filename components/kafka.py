"""The Scale event bus: Kafka, as combined KRaft nodes in a StatefulSet. Pure.

Who may do what: `cutover` is the super user that makes topics and grants rights; `trading` and
`mirror` get theirs from it (adapters/event_bus); `broker` is how brokers know each other.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping

from components.containers import container
from components.manifests import disruption_budget, service, service_account, stateful_set
from components.pods import Manifest, Pod, Probes, env, field_env, tcp_probe
from components.settings import Settings
from components.sizes import resources
from contracts import names

SECRET = "event-bus-kafka"  # noqa: S105 - the name of a Secret, not one
CONTROLLER_PORT = 9093
BROKER_USER = "broker"
USERS = (BROKER_USER, names.KAFKA_ADMIN_USER, names.KAFKA_MIRROR_USER, names.KAFKA_APP_USER)
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_ENVELOPE_BYTES = 64 * 1024
"""What Kafka adds to an event at most: a batch's header and the record's own lengths."""
_INTERNAL_PARTITIONS = 10
"""Of Kafka's own topics for offsets and transactions: few groups and few producers use them, and
fewer partitions make a restart faster. Kafka's default is 50."""


def cluster_id(stack: str) -> str:
    """The cluster's id, the same whenever Kafka comes back: else it would refuse its own kept volume."""
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"https://crossover.dev/event-bus-kafka/{stack}")
    text = base64.urlsafe_b64encode(unique.bytes).decode().rstrip("=")
    # A leading dash would read as an option of the tool that formats the volume.
    return "A" + text[1:] if text.startswith("-") else text


def _host(settings: Settings, ordinal: int) -> str:
    return (
        f"{names.KAFKA_NAME}-{ordinal}.{names.KAFKA_NAME}.{settings.namespaces.backend}.svc.{settings.cluster_domain}"
    )


def _jaas(passwords: Mapping[str, str]) -> str:
    users = " ".join(f'user_{user}="{passwords[user]}"' for user in USERS)
    return f'{_PLAIN} required username="{BROKER_USER}" password="{passwords[BROKER_USER]}" {users};'


def properties(settings: Settings, ordinal: int, passwords: Mapping[str, str]) -> str:
    """server.properties of one node. `passwords`: user -> password, letters and digits."""
    bus, kafka = settings.event_bus, settings.event_bus.kafka
    alone = kafka.brokers == 1
    # A single node's controller is nobody else's business: loopback only.
    hosts = ["localhost"] if alone else [_host(settings, i) for i in range(kafka.brokers)]
    voters = ",".join(f"{i}@{host}:{CONTROLLER_PORT}" for i, host in enumerate(hosts))
    jaas = _jaas(passwords)
    values: dict[str, object] = {
        # A node that was killed may not come back before its old session is over: for a lone one that is the outage.
        "broker.session.timeout.ms": 5000 if alone else 9000,
        "broker.heartbeat.interval.ms": 1000 if alone else 2000,
        "process.roles": "broker,controller",
        "node.id": ordinal,
        "controller.quorum.voters": voters,
        "listeners": f"CLIENT://:{names.KAFKA_PORT},CONTROLLER://{'localhost' if alone else ''}:{CONTROLLER_PORT}",
        "advertised.listeners": f"CLIENT://{_host(settings, ordinal)}:{names.KAFKA_PORT}",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": jaas,
        "listener.name.controller.plain.sasl.jaas.config": jaas,
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{names.KAFKA_ADMIN_USER};User:{BROKER_USER}",
        "allow.everyone.if.no.acl.found": "false",
        "log.dirs": "/data/log",
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "num.partitions": bus.partitions,
        "default.replication.factor": kafka.replication,
        "min.insync.replicas": kafka.min_insync_replicas,
        "message.max.bytes": bus.max_event_bytes + _ENVELOPE_BYTES,
        "replica.fetch.max.bytes": bus.max_event_bytes + _ENVELOPE_BYTES,
        "log.retention.hours": kafka.retention_hours,
        "offsets.topic.num.partitions": _INTERNAL_PARTITIONS,
        "offsets.topic.replication.factor": kafka.replication,
        # A group's place must outlive the events it points at.
        "offsets.retention.minutes": max(kafka.retention_hours * 60 * 2, 7 * 24 * 60),
        "transaction.state.log.num.partitions": _INTERNAL_PARTITIONS,
        "transaction.state.log.replication.factor": kafka.replication,
        "transaction.state.log.min.isr": kafka.min_insync_replicas,
        "group.initial.rebalance.delay.ms": 0,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def config_files(settings: Settings, passwords: Mapping[str, str]) -> dict[str, str]:
    """One file a node, named after its pod."""
    return {
        f"{names.KAFKA_NAME}-{ordinal}.properties": properties(settings, ordinal, passwords)
        for ordinal in range(settings.event_bus.kafka.brokers)
    }


def manifests(settings: Settings, stack: str, config_hash: object) -> list[Manifest]:
    """What runs while Kafka is deployed; its Secret exists at every stage."""
    namespace, kafka = settings.namespaces.backend, settings.event_bus.kafka
    # Half of what it asks for: the rest is the page cache, which Kafka lives on.
    heap = resources(settings.size, names.KAFKA_NAME).memory // 2
    ready = tcp_probe(names.KAFKA_PORT)
    made = container(
        settings,
        names.KAFKA_NAME,
        "kafka",
        env=[
            field_env(names.ENV_POD_NAME, "metadata.name"),
            *env(
                KAFKA_CONFIG=f"/etc/kafka/$({names.ENV_POD_NAME}).properties",
                KAFKA_CLUSTER_ID=cluster_id(stack),
                KAFKA_HEAP_OPTS=f"-Xms{heap}m -Xmx{heap}m",
            ),
        ],
        ports={"kafka": names.KAFKA_PORT} | ({} if kafka.brokers == 1 else {"controller": CONTROLLER_PORT}),
        mounts={"/etc/kafka": ("config", True), "/data": ("data", False)},
        # The listener opens once the log is recovered, which takes minutes after an unclean end.
        probes=Probes(
            startup=tcp_probe(names.KAFKA_PORT, period=2, failures=300),
            readiness=ready,
            liveness=tcp_probe(names.KAFKA_PORT, period=10, failures=6),
        ),
    )
    pod = Pod(
        app=names.KAFKA_NAME,
        container=made,
        service_account=names.KAFKA_NAME,
        volumes={"config": {"secret": {"secretName": SECRET}}},
        hashes={"config": config_hash},
        # A clean stop moves leaders and closes the log; cut short, the next start recovers it.
        grace_seconds=120,
    )
    return [
        service_account(names.KAFKA_NAME, namespace),
        service(names.KAFKA_NAME, namespace, {"kafka": names.KAFKA_PORT}, headless=True),
        disruption_budget(names.KAFKA_NAME, namespace),
        stateful_set(
            pod, namespace, replicas=kafka.brokers, storage=kafka.storage, storage_class=settings.storage_class
        ),
    ]

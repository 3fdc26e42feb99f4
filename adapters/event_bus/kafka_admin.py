"""What a cutover asks of Kafka: topics, rights, seals, offsets and the positions of groups."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from adapters.event_bus.errors import BackendUnavailable, EventBusError, PermanentError
from adapters.event_bus.kafka_client import (
    ANSWER_SECONDS,
    SILENT,
    Handle,
    IsolationLevel,
    KafkaAddress,
    KafkaError,
    KafkaException,
    TopicPartition,
    admin,
)
from adapters.event_bus.kafka_consumer import KafkaConsumer, login_refused

CLUSTER = "kafka-cluster"
"""The name of the whole cluster in rights; its kind is BROKER."""
_VISIBLE_SECONDS = 5.0
_LOOK_SECONDS = 0.005
_LEADER_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_MOST_SPEAKERS = 32
_SHORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Right:
    """What `user` may do (an AclOperation's name) with what `name` names of `kind` (a ResourceType's name), or,
    with `prefix`, with all whose names begin so."""

    user: str
    operation: str
    kind: str
    name: str
    prefix: bool = False

    def binding(self) -> admin.AclBinding:
        """As Kafka's AclBinding."""
        return admin.AclBinding(
            admin.ResourceType[self.kind],
            self.name,
            admin.ResourcePatternType.PREFIXED if self.prefix else admin.ResourcePatternType.LITERAL,
            f"User:{self.user}",
            "*",
            admin.AclOperation[self.operation],
            admin.AclPermissionType.ALLOW,
        )

    def covers(self, other: Right) -> bool:
        """Whether who has this right has `other` too."""
        if self.prefix:
            named = other.name.startswith(self.name)
        else:
            named = self.name == "*" or (self.name == other.name and not other.prefix)
        who = self.user in ("*", other.user)
        return who and named and self.kind == other.kind and self.operation in ("ALL", other.operation)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where topics lie: for each partition of a topic, how many replicas it has and how many are in sync (none,
    where it has no leader)."""

    cluster: str
    brokers: tuple[int, ...]
    topics: Mapping[str, tuple[tuple[int, int], ...]]


class KafkaAdmin(Handle):
    """One admin client; it keeps its connection, so that a seal is quick. Thread-safe."""

    def __init__(self, address: KafkaAddress, client_id: str) -> None:
        super().__init__(address)
        self.user = address.username
        self.address = address
        self._admin = admin.AdminClient(address.config(client_id))
        self._partitions: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()
        self._speakers: dict[str, KafkaConsumer] = {}

    def trouble(self, error: KafkaException | KafkaError) -> EventBusError:
        told = error.args[0] if isinstance(error, KafkaException) else error
        if isinstance(told, KafkaError) and told.code() in SILENT:
            # An admin client is not told that its login was refused, only that nothing came; who answers took it.
            return login_refused(self.address) or super().trouble(error)
        return super().trouble(error)

    # -- topics

    def partitions(self, topic: str) -> tuple[int, ...]:
        """The partitions of `topic`. Their number never changes: it is asked for once."""
        known = self._partitions.get(topic)
        if known is None:
            found = self._listed(topic)
            if not found:
                raise BackendUnavailable(
                    f"Kafka at {self.where} has no topic {topic!r}, or this user may not see it. The Transition makes "
                    "the topics: run pulumi up"
                )
            known = self._partitions[topic] = found
        return known

    def _listed(self, topic: str) -> tuple[int, ...]:
        try:
            known = self._admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        except KafkaException as error:
            raise self.trouble(error) from error
        if known.error is not None and known.error.code() not in (
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError.LEADER_NOT_AVAILABLE,
        ):
            raise self.trouble(known.error)
        ready = known.error is None and all(p.leader >= 0 for p in known.partitions.values())
        return tuple(sorted(known.partitions)) if ready else ()

    def make_topics(self, topics: Sequence[str], partitions: int, replication: int, config: Mapping[str, str]) -> None:
        """Make those that are missing, set `config` on all, and wait until each has leaders.

        Raises PermanentError where one has another number of partitions.
        """
        wanted = [admin.NewTopic(topic, partitions, replication, config=dict(config)) for topic in topics]
        for topic, made in self._admin.create_topics(wanted, request_timeout=ANSWER_SECONDS).items():
            try:
                made.result(ANSWER_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self.trouble(error) from error
                self._set(topic, config)
        deadline = time.monotonic() + ANSWER_SECONDS
        for topic in topics:
            while not (found := self._listed(topic)):
                if time.monotonic() > deadline:
                    raise BackendUnavailable(f"Kafka at {self.where} made {topic!r}, but it has no leaders yet")
                time.sleep(0.02)  # a leader that is elected announces nothing
            if len(found) != partitions:
                raise PermanentError(
                    f"topic {topic!r} at {self.where} has {len(found)} partitions, not {partitions}: its keys would "
                    "not stay where they are. Set crossover:event_bus.partitions to that number, or delete the topic"
                )

    def _set(self, topic: str, config: Mapping[str, str]) -> None:
        entries = [
            admin.ConfigEntry(name, value, incremental_operation=admin.AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = admin.ConfigResource(admin.ResourceType.TOPIC, topic, incremental_configs=entries)
        self._all(self._admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS))

    # -- offsets

    def offsets(self, topic: str, spec: str) -> dict[int, int]:
        """The `earliest` offset of each partition, or the one after the `latest`, open transactions included."""
        deadline = time.monotonic() + _LEADER_SECONDS
        while True:
            try:
                return self._offsets(topic, spec)
            except BackendUnavailable:
                if time.monotonic() > deadline:
                    raise
                self._listed(topic)  # after a restart the client goes by leaders that are no more
                time.sleep(_RETRY_SECONDS)  # a leader that is elected announces nothing

    def _offsets(self, topic: str, spec: str) -> dict[int, int]:
        # The library left these two without types.
        asked = admin.OffsetSpec.earliest() if spec == "earliest" else admin.OffsetSpec.latest()  # type: ignore[no-untyped-call]
        answers = self._admin.list_offsets(
            {TopicPartition(topic, p): asked for p in self.partitions(topic)},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=ANSWER_SECONDS,
        )
        return {partition.partition: int(found.offset) for partition, found in self._all(answers).items()}

    # -- groups

    def groups(self) -> list[str]:
        """The ids of all groups that this user may see; waits for brokers that still load what they coordinate."""
        deadline = time.monotonic() + 3 * ANSWER_SECONDS
        while True:
            answer = self._one(self._admin.list_consumer_groups(request_timeout=ANSWER_SECONDS))
            if not answer.errors:
                return [group.group_id for group in answer.valid]
            # What the others answered is not all: a group that is missed would count as one that needs nothing.
            error = self.trouble(answer.errors[0])
            if not isinstance(error, BackendUnavailable) or time.monotonic() > deadline:
                raise error
            time.sleep(_RETRY_SECONDS)  # a coordinator that has loaded announces nothing

    def await_positions(self, group: str, topic: str) -> None:
        """Wait until the brokers tell positions: a fresh cluster makes its own topic for them when first asked.

        The client would wait the whole time-out for its first, unlucky question; so several short ones are asked.
        """
        deadline = time.monotonic() + 3 * ANSWER_SECONDS
        while True:
            try:
                self.positions(group, topic, seconds=_SHORT_SECONDS)
                return
            except BackendUnavailable:
                if time.monotonic() > deadline:
                    raise

    def positions(self, group: str, topic: str, seconds: float = ANSWER_SECONDS) -> dict[int, tuple[int, str]]:
        """Where `group` stands in each partition of `topic` in which it has a position, and the note beside it."""
        partitions = self.partitions(topic)
        with self._lock:
            return self._standing(group).committed(topic, partitions, seconds)

    def move(self, group: str, topic: str, positions: Mapping[int, int]) -> None:
        """Set positions of `group`. Raises GroupActive where it has members."""
        with self._lock:
            self._standing(group).commit(topic, positions)

    def _standing(self, group: str) -> KafkaConsumer:
        """A handle that speaks for `group` without being a member. Not the admin client, although that has
        calls for it: it crashes where the group's coordinator has just moved (librdkafka#5040)."""
        consumer = self._speakers.pop(group, None)
        if consumer is not None and consumer.given_up:
            consumer.close()
            consumer = None
        if consumer is None:
            consumer = KafkaConsumer(self.address, "crossover-positions", group, committed_only=False)
        self._speakers[group] = consumer
        if len(self._speakers) > _MOST_SPEAKERS:
            self._speakers.pop(next(iter(self._speakers))).close()
        return consumer

    def close(self) -> None:
        """Give up connections."""
        with self._lock:
            speakers, self._speakers = self._speakers, {}
        for speaker in speakers.values():
            speaker.close()

    # -- rights

    def grant(self, rights: Iterable[Right]) -> None:
        """Give `rights`; idempotent. They are in force when this returns."""
        wanted = {right.binding() for right in rights}
        self._all(self._admin.create_acls(list(wanted), request_timeout=ANSWER_SECONDS))
        self._until(lambda: wanted <= set(self._bindings()), "rights")

    def _bindings(self) -> Sequence[admin.AclBinding]:
        any_text: Any = None  # typed as str by the library, whose documentation says None for any
        everything = admin.AclBindingFilter(
            admin.ResourceType.ANY,
            any_text,
            admin.ResourcePatternType.ANY,
            any_text,
            any_text,
            admin.AclOperation.ANY,
            admin.AclPermissionType.ANY,
        )
        found: Sequence[admin.AclBinding] = self._one(
            self._admin.describe_acls(everything, request_timeout=ANSWER_SECONDS)
        )
        return found

    def deny_writes(self, topic: str, users: Sequence[str]) -> None:
        """From when this returns the brokers refuse writes of `users` to `topic`."""
        bindings = [_denial(topic, user) for user in users]
        self._all(self._admin.create_acls(bindings, request_timeout=ANSWER_SECONDS))
        principals = {f"User:{user}" for user in users}
        self._until(lambda: principals <= self.denied(topic), f"the rights on {topic}")

    def allow_writes(self, topic: str, users: Sequence[str]) -> None:
        """Take the refusal back."""
        filters = [_denials_of(topic, user) for user in users]
        self._all(self._admin.delete_acls(filters, request_timeout=ANSWER_SECONDS))
        principals = {f"User:{user}" for user in users}
        self._until(lambda: not principals & self.denied(topic), f"the rights on {topic}")

    def denied(self, topic: str) -> set[str]:
        """The principals that are refused writes to `topic`, as the answering broker enforces it."""
        found = self._one(self._admin.describe_acls(_denials_of(topic, None), request_timeout=ANSWER_SECONDS))
        return {str(binding.principal) for binding in found}

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        """The answer to a change means that it is recorded, not that a broker has it: so it is read back."""
        deadline = time.monotonic() + _VISIBLE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"Kafka at {self.where} took a change of {what}, but does not follow it yet")
            time.sleep(_LOOK_SECONDS)  # a broker that has caught up announces nothing

    # -- facts, changing nothing

    def layout(self) -> Layout:
        """The live brokers, and on which of them the topics lie that this user may see."""
        try:
            found = self._admin.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise self.trouble(error) from error
        for topic in found.topics.values():
            if topic.error is not None:
                raise self.trouble(topic.error)
        if not found.brokers:
            raise BackendUnavailable(f"Kafka at {self.where} knows of no live broker yet")
        topics = {
            name: tuple(
                (len(p.replicas), len(p.isrs) if p.leader >= 0 else 0) for _, p in sorted(topic.partitions.items())
            )
            for name, topic in found.topics.items()
        }
        return Layout(cluster=str(found.cluster_id), brokers=tuple(sorted(found.brokers)), topics=topics)

    def configs(self, kind: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The settings in force of each TOPIC or BROKER of `names`."""
        resources = [admin.ConfigResource(admin.ResourceType[kind], name) for name in names]
        answers = self._all(self._admin.describe_configs(resources, request_timeout=ANSWER_SECONDS))
        return {
            resource.name: {entry: str(value.value) for entry, value in found.items() if value.value is not None}
            for resource, found in answers.items()
        }

    def rights(self) -> tuple[frozenset[Right], frozenset[Right]]:
        """What is allowed, and what is denied; `*` stands for every user, and for every name."""
        allowed: set[Right] = set()
        denied: set[Right] = set()
        for binding in self._bindings():
            right = Right(
                binding.principal.removeprefix("User:"),
                cast(admin.AclOperation, binding.operation).name,
                cast(admin.ResourceType, binding.restype).name,
                binding.name,
                binding.resource_pattern_type == admin.ResourcePatternType.PREFIXED,
            )
            (allowed if binding.permission_type == admin.AclPermissionType.ALLOW else denied).add(right)
        return frozenset(allowed), frozenset(denied)

    def _one(self, answer: Future[Any]) -> Any:
        try:
            return answer.result(2 * ANSWER_SECONDS)
        except KafkaException as error:
            raise self.trouble(error) from error
        except TimeoutError as error:
            raise BackendUnavailable(f"Kafka at {self.where} gave no answer") from error

    def _all(self, answers: Mapping[Any, Future[Any]]) -> dict[Any, Any]:
        return {asked: self._one(answer) for asked, answer in answers.items()}


def _denial(topic: str, user: str) -> admin.AclBinding:
    return admin.AclBinding(
        admin.ResourceType.TOPIC,
        topic,
        admin.ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        admin.AclOperation.WRITE,
        admin.AclPermissionType.DENY,
    )


def _denials_of(topic: str, user: str | None) -> admin.AclBindingFilter:
    any_user: Any = None  # typed as str by the library, whose documentation says None for any
    return admin.AclBindingFilter(
        admin.ResourceType.TOPIC,
        topic,
        admin.ResourcePatternType.LITERAL,
        any_user if user is None else f"User:{user}",
        "*",
        admin.AclOperation.WRITE,
        admin.AclPermissionType.DENY,
    )

"""The one module that imports `confluent_kafka`: addresses, and foreign errors as our own.

The handles, which speak bytes, are kafka_producer.py, kafka_consumer.py and kafka_admin.py. A handle connects in the
background and again after a failure, as librdkafka does; what could not be done within the time given raises
BackendUnavailable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
    admin,
)

from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError, PermanentError

__all__ = [
    "OFFSET_BEGINNING",
    "Consumer",
    "IsolationLevel",
    "KafkaError",
    "KafkaException",
    "Message",
    "Producer",
    "TopicCollection",
    "TopicPartition",
    "admin",
]
"""Of the library, for the modules of the handles; the rest of this module is its own."""

_log = logging.getLogger(__name__)
_library_log = logging.getLogger(f"{__name__}.librdkafka")
_library_log.setLevel(logging.CRITICAL + 1)  # what matters comes as errors, in our own words

ANSWER_SECONDS = 10.0
"""How long one answer may take before it counts as none."""
PARTITIONER = "murmur2_random"
"""How every producer of ours, a service's or the mirror's, chooses the partition of a key: as Java clients do."""

DENIED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
"""The codes of errors which say that the user may not."""
_PERMANENT = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.SECURITY_DISABLED,
        KafkaError.UNSUPPORTED_VERSION,
    }
)
_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_REJOINING = frozenset({KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION})
_ACTIVE = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP})
SILENT = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
"""The codes of errors which only say that no broker answered."""


class WriteDenied(AccessDenied):
    """The topic may not be written by this user: it is sealed, or rights were never given."""


class SessionFenced(BackendUnavailable):
    """A newer producer of the same transactional id exists."""


class Rejoining(BackendUnavailable):
    """The group is between two generations: the same commit succeeds shortly."""


class GroupActive(BackendUnavailable):
    """The group has members: only they can move it."""


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where Kafka is: `host:port,...`. With a user name it logs in by SASL/PLAIN; `tls` encrypts."""

    bootstrap: str
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    def config(self, client_id: str, on_error: Callable[[KafkaError], None] | None = None) -> dict[str, Any]:
        """What every handle is configured with. An admin client must have no `on_error`: it would be called
        on a thread of the library's own, which then crashes."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "client.id": client_id,
            "security.protocol": ("SASL_" if self.username else "") + ("SSL" if self.tls else "PLAINTEXT"),
            "allow.auto.create.topics": False,
            "socket.keepalive.enable": True,
            # A dead broker is asked as often as this says and no less, because of the strategy below.
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 1000,
            "retry.backoff.ms": 10,
            # A lone broker that was too busy to tell its controller that it lives is named by no metadata for a moment.
            # With the other strategy the client then forgets it and never connects again (librdkafka#5301).
            "metadata.recovery.strategy": "rebootstrap",
            "log_level": 0,
        }
        if on_error is not None:
            config |= {"error_cb": on_error, "logger": _library_log}
        if self.username:
            config |= {"sasl.mechanism": "PLAIN", "sasl.username": self.username, "sasl.password": self.password}
        return config


def translate(error: KafkaError, where: str) -> EventBusError:
    """`error` as one of ours. No password stands in any of these texts."""
    code, text = error.code(), f"Kafka at {where}: {error.name()}: {error.str()}"
    if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return WriteDenied(f"{text}. The topic is sealed, or this user has no rights on it (the Transition gives them)")
    if code in DENIED:
        return AccessDenied(f"{text}. Check KAFKA_USERNAME and KAFKA_PASSWORD, and the user's ACLs")
    kinds: tuple[tuple[frozenset[int], type[EventBusError]], ...] = (
        (_PERMANENT, PermanentError),
        (_FENCED, SessionFenced),
        (_REJOINING, Rejoining),
        (_ACTIVE, GroupActive),
    )
    return next((kind(text) for codes, kind in kinds if code in codes), BackendUnavailable(text))


class Handle:
    """What producers, consumers and the admin client share: the last error that librdkafka told of."""

    def __init__(self, address: KafkaAddress) -> None:
        self.where = address.bootstrap
        self._last: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Called by librdkafka for what is no caller's answer: brokers lost, logins refused."""
        self._last = error
        _log.info("Kafka at %s: %s", self.where, error)

    def _serve(self) -> None:
        """Let librdkafka tell what it has to tell."""

    def trouble(self, error: KafkaException | KafkaError) -> EventBusError:
        """`error` as one of ours; where it only says that there was no answer, the reason that was told before."""
        found = error.args[0] if isinstance(error, KafkaException) else error
        if not isinstance(found, KafkaError):
            return PermanentError(f"Kafka at {self.where}: {found}")
        silent = found.code() in SILENT
        if silent:
            self._serve()
        if silent and self._last is not None and self._last.code() in DENIED:
            found = self._last
        return translate(found, self.where)

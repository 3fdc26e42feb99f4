"""What a backend tells of itself: the facts over which preflight and reports decide.

A fact that a backend has no notion of is None. One that it has, but that could not be had, is
Unknown with the reason: nothing may take that for a good answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.known import Clock, Fact, Unknown

_UNTOLD = Unknown("this backend does not tell")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What a topic holds. `bytes` as the backend stores them; `oldest_seconds` is the age of the oldest entry,
    on the backend's own clock, None where there is no entry."""

    entries: int
    bytes: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a topic keeps and takes. Retention None: for ever, without bound. `retention_bytes` and
    `min_insync` count for each partition. `largest_batch` is what our writers may send at once."""

    retention_seconds: float | None
    retention_bytes: int | None
    cleanup: str
    max_message_bytes: int
    largest_batch: int
    min_insync: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """On how many brokers a topic lies: of the partition that has the fewest."""

    replicas: int
    in_sync: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """One topic. One that does not exist yet has the limits with which it would be made."""

    exists: bool
    partitions: int | None = None
    retained: Fact[Retained] = _UNTOLD
    limits: Fact[Limits] | None = None
    copies: Fact[Copies] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """How a single server outlives its process. `fsync` is `always`, `everysec`, `no` or `unknown`."""

    append_only: bool
    fsync: str
    last_write_ok: bool
    last_rewrite_ok: bool
    last_snapshot_ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes in use, the limit that is set (0: none), those of the machine, and what happens at the limit."""

    used: int
    limit: int
    machine: int
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What users may do. `lacks`: what this run's own `user` would need and may not. `others_lack`: what
    services and the mirror may not but must. `excess`: what services may do that would undo a seal.
    `seal_holds` is False where nothing enforces rights, so that a seal would be empty words."""

    user: str
    lacks: tuple[str, ...] = ()
    others_lack: tuple[str, ...] = ()
    excess: tuple[str, ...] = ()
    seal_holds: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """One backend that answered. `unfit` says why it could not serve all the same, "" where it can.

    `partitioner` is how our writers and the mirror choose the partition of a key, `brokers` how many are
    live: both are empty or 0 where a topic has no partitions. `disk_used` is in bytes.
    """

    backend: str
    version: str
    durability: str
    unfit: str = ""
    topics: Mapping[str, TopicFacts] = field(default_factory=dict)
    partitioner: str = ""
    brokers: int = 0
    persistence: Fact[Persistence] | None = None
    memory: Fact[Memory] | None = None
    disk_used: Fact[int] = _UNTOLD
    clock: Fact[Clock] | None = None
    rights: Fact[Rights] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What retention took from `group` unread: in `partition`, after position `after` up to and with `until`.

    `certain` is False where entries went that the group may or may not have read: the backend cannot tell.
    """

    topic: str
    group: str
    partition: str
    after: str
    until: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.group} in {self.topic}/{self.partition}: after {self.after} up to {self.until}"

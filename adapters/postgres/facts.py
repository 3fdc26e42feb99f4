"""What one side tells of itself: the facts over which the preflight of the database decides.

A fact that could not be had is Unknown, with the reason: nothing may take that for a good answer. What is asked for
is in server_facts (the server and what goes on in it) and content_facts (what the moving schemas hold).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from adapters.known import Clock, Fact
from adapters.postgres.catalog import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Locale:
    """How a database stores and orders text. `recorded` and `actual`: the version of the collation's library when
    the database was made, and now; "" where it has none."""

    encoding: str
    provider: str
    collate: str
    ctype: str
    recorded: str = ""
    actual: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`version` as server_version_num. `read_only`: new transactions may not write (hosted servers set that where the
    disk is full). `encrypted`: this very connection is."""

    version: int
    version_text: str
    in_recovery: bool
    read_only: bool
    checksums: bool
    encrypted: bool
    locale: Locale


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A logical replication slot. `status` as wal_status; `safe_bytes`: what may still be written before it is
    lost, None where nothing limits it."""

    name: str
    plugin: str
    database: str
    active: bool
    status: str
    safe_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """What the server gives to replication. `keep_bytes`: what a slot may pile up, None without limit. `plugins`:
    those that it lets slots use, None where it does not restrict them. `synchronous`: synchronous_standby_names,
    and `standbys`: how many of them are connected."""

    wal_level: str
    slots_limit: int
    slots: tuple[Slot, ...]
    slots_used: int
    senders_limit: int
    senders_used: int
    keep_bytes: int | None
    plugins: tuple[str, ...] | None
    synchronous: str
    standbys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who asks. `member_of`: roles whose rights it has. `replica_role`: it may SET session_replication_role.
    `watches`: it sees what other sessions do."""

    name: str
    superuser: bool
    replication: bool
    bypass_rls: bool
    creates: bool
    replica_role: bool
    watches: bool
    subscribes: bool
    member_of: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """How many more this role may open to this database."""

    free: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """`database`: bytes of this database. `used`: of all that can be seen on the server's volume, WAL included."""

    database: int
    used: Fact[int]


@dataclass(frozen=True, slots=True)
class Extension:
    """One that is installed. `needed`: the moving schemas hold it, or something that depends on it."""

    name: str
    version: str
    schema: str
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Another client's session. `transaction_seconds` None: it is in no transaction. `query`: how the last one
    begins, without literals. `advisory`: it holds an advisory lock. `listens`: its last statement was LISTEN."""

    pid: int
    user: str
    application: str
    state: str
    transaction_seconds: float | None
    query_seconds: float
    query: str
    advisory: bool = False
    listens: bool = False

    def __str__(self) -> str:
        open_for = (
            "" if self.transaction_seconds is None else f", in a transaction for {self.transaction_seconds:.0f} s"
        )
        return f"pid {self.pid} ({self.user}{open_for}): {self.query or 'nothing yet'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDdl:
    """A lock that only DDL takes, held or waited for by another session."""

    pid: int
    relation: str
    mode: str
    granted: bool
    seconds: float
    query: str

    def __str__(self) -> str:
        return f"pid {self.pid} {'holds' if self.granted else 'waits for'} {self.mode} on {self.relation}: {self.query}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared transaction of this database."""

    gid: str
    owner: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What goes on in the database, beside our own sessions."""

    sessions: tuple[Session, ...] = ()
    ddl: tuple[RunningDdl, ...] = ()
    prepared: tuple[Prepared, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRange:
    """How far a sequence is. `limit`: where it ends, or its column's type does. `last` None: never called; `readable`
    False: the role may not know. `identity`: it belongs to an identity column."""

    name: str
    last: int | None
    limit: int
    increment: int
    cycles: bool = False
    readable: bool = True
    identity: bool = False

    @property
    def left(self) -> int:
        """How many values can still be given out, before it wraps or fails."""
        at = self.last if self.last is not None else 0
        return max(0, (self.limit - at) // self.increment)


class Kind(StrEnum):
    """What a Thing is."""

    UNLOGGED = "unlogged"
    TEMPORARY = "temporary"
    FOREIGN = "foreign table"
    PARTITIONED = "partitioned table"
    STRAY_PARTITION = "partition elsewhere"
    MATERIALISED = "materialised view"
    INHERITING = "inheriting table"
    RULE = "rule"
    TRIGGER = "trigger"
    RLS = "row-level security"
    GENERATED = "generated column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something in the moving schemas that rows alone do not carry. `mode` depends on `kind`: when a trigger or a rule
    fires (O, D, R, A as in pg_trigger.tgenabled), whether a view is populated, whether rows are hidden from us."""

    kind: Kind
    name: str
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """`moves`: its function lies in a moving schema."""

    name: str
    owner: str
    enabled: bool
    moves: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A dependency between a schema that moves and one that stays. `outward`: what moves depends on what stays."""

    outward: bool
    kind: str
    what: str
    on: str

    def __str__(self) -> str:
        return f"{self.what} on {self.on}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What `schemas` hold. `others`: schemas with tables that stay. `foreign_owners`: by owner whose rights the role
    does not have, the tables it owns. `roles_named`: by role, how it is named (owner, grant, policy). `collations`:
    those that columns name. `rows`: tables that hold any row. `large_objects` are of the whole database."""

    schemas: tuple[str, ...]
    missing: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    bytes: int = 0
    foreign_owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sequences: tuple[SequenceRange, ...] = ()
    things: tuple[Thing, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    foreign_keys: int = 0
    roles_named: Mapping[str, frozenset[str]] = field(default_factory=dict)
    collations: frozenset[str] = frozenset()
    large_objects: int = 0
    rows: tuple[str, ...] = ()

    def of(self, *kinds: Kind) -> tuple[Thing, ...]:
        """The things of these kinds."""
        return tuple(thing for thing in self.things if thing.kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFacts:
    """One side that answered. `bookkeeping`: an earlier try left its tables there. `roles`, `collations`: all that
    the server has. `available`: extensions that could be made, with the version that they would have. `wal_rate`: bytes
    of WAL that are written a second, while it was asked."""

    database: str
    server: Server
    role: Role
    clock: Clock
    replication: Fact[Replication]
    wal_rate: Fact[float]
    connections: Fact[Connections]
    storage: Fact[Storage]
    activity: Fact[Activity]
    contents: Fact[Contents]
    extensions: Fact[tuple[Extension, ...]]
    available: Fact[Mapping[str, str]]
    event_triggers: Fact[tuple[EventTrigger, ...]]
    roles: Fact[frozenset[str]]
    collations: Fact[frozenset[str]]
    bookkeeping: bool = False

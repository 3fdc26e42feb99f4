"""What turns each item of the database's preflight red, and what makes it unknown."""

from __future__ import annotations

from dataclasses import replace

from adapters.known import Clock, Unknown
from adapters.postgres.catalog import Column, Identity
from adapters.postgres.facts import (
    Activity,
    Connections,
    Crossing,
    EventTrigger,
    Extension,
    Kind,
    Prepared,
    RunningDdl,
    SequenceRange,
    Storage,
    Thing,
)
from adapters.postgres.masks import Masks
from cutover.database.preflight import Journey
from cutover.database.preflight.situation import Backup, Refused
from tests.unit.postgres.built_facts import ORDERS, SESSION, SLOT, Spoil, both, configured, locale, tells, whole

JOIN, SWITCH, LEAVE = Journey.JOIN, Journey.SWITCH, Journey.LEAVE
HOSTED, OWN = "hosted", "selfhosted"


def thing(kind: Kind, mode: str = "", name: str = "app.odd") -> Spoil:
    return tells(HOSTED, "contents", things=(Thing(kind=kind, name=name, mode=mode),))


def crossing(kind: str, outward: bool = True) -> Spoil:
    one = Crossing(outward=outward, kind=kind, what=f"{kind} odd", on="table auth.users")
    return tells(HOSTED, "contents", crossings=(one,))


def own_slot(name: str = HOSTED, **changes: object) -> Spoil:
    slot = replace(SLOT, **{"name": f"crossover_from_{name}", **changes})  # type: ignore[arg-type]
    return tells(name, "replication", slots=(slot,))


def busy(name: str = HOSTED, **changes: object) -> Spoil:
    return tells(name, activity=Activity(sessions=(replace(SESSION, **changes),)))  # type: ignore[arg-type]


def hides(*patterns: str) -> Spoil:
    return configured(masks=Masks(frozenset(patterns)))


def table(**changes: object) -> Spoil:
    return tells(HOSTED, "contents", tables=(replace(ORDERS, **changes),))  # type: ignore[arg-type]


DDL = RunningDdl(pid=7, relation="app.orders", mode="AccessExclusiveLock", granted=True, seconds=3.0, query="alter ...")
BACKUP = Backup(side=HOSTED, hours=1.0, place="x")
MOVING = EventTrigger(name="audit", owner="app", enabled=True, moves=True)

WRONG: list[tuple[str, Journey, Spoil, str, str]] = [
    # item, journey, what spoils it, found, fix
    ("hosted: reachable", JOIN, configured(facts={HOSTED: Refused("bad password")}), "bad password", "Secret"),
    ("selfhosted: reachable", JOIN, tells(OWN, "server", in_recovery=True), "standby", "primary's"),
    ("hosted: reachable", SWITCH, tells(HOSTED, "server", read_only=True), "may not write", "disk is full"),
    ("selfhosted: server versions", JOIN, tells(OWN, "server", version=160004), "selfhosted is 16, hosted is 17", "Up"),
    (
        "selfhosted: server versions",
        SWITCH,
        both(tells(OWN, "server", version=140004), tells(HOSTED, "server", version=140004)),
        "hosted is 14; selfhosted is 14",
        "Upgrade",
    ),
    ("hosted: wal_level", JOIN, tells(HOSTED, "replication", wal_level="replica"), "replica", "wal_level = logical"),
    ("hosted: replication slots", JOIN, tells(HOSTED, "replication", slots_used=5), "5 of 5", "max_replication_slots"),
    ("hosted: wal senders", JOIN, tells(HOSTED, "replication", senders_used=10), "10 of 10", "max_wal_senders"),
    ("selfhosted: slot plugins", JOIN, tells(OWN, "replication", plugins=("wal2json",)), "wal2json", "output_plugin"),
    ("hosted: slot", JOIN, own_slot(status="lost"), "crossover_from_hosted is lost", "pg_drop_replication_slot"),
    ("hosted: slot", JOIN, own_slot(plugin="wal2json"), "of plugin wal2json", "pg_drop_replication_slot"),
    ("hosted: slot", SWITCH, own_slot(status="unreserved"), "unreserved", "pg_drop_replication_slot"),
    ("selfhosted: slot", SWITCH, own_slot(OWN, active=False), "nobody reads", "pod that carries"),
    ("selfhosted: slot", SWITCH, tells(OWN, "replication", slots=()), "there is no crossover_from_self", "join anew"),
    ("hosted: slot name", JOIN, own_slot(database="other"), "belongs to database other", "another server"),
    (
        "hosted: piled-up WAL",
        JOIN,
        both(tells(HOSTED, "contents", bytes=10**10), tells(OWN, storage=Storage(database=1, used=0)),
             configured(volumes={OWN: 10**12})),
        "2.0 GB may pile up in 1000 s of copying, max_slot_wal_keep_size is 536.9 MB",
        "max_slot_wal_keep_size",
    ),
    (
        "hosted: piled-up WAL",
        JOIN,
        both(tells(HOSTED, "contents", bytes=4 * 10**9), tells(HOSTED, "replication", keep_bytes=None),
             configured(volumes={HOSTED: 900_000_000, OWN: 10**12})),
        "800.0 MB may pile up in 400 s of copying, nothing limits it, and 850.0 MB of the disk are free",
        "hour of less load",
    ),
    ("hosted: disk", SWITCH, tells(HOSTED, storage=Storage(database=1, used=950_000_000)), "950.0 MB of 1.0", "volume"),
    (
        "selfhosted: disk",
        JOIN,
        both(tells(HOSTED, "contents", bytes=450_000_000)),
        "50.0 MB of 1.0 GB are in use, 899.0 MB are to come",
        "crossover:database.selfhosted.storage",
    ),
    ("hosted: clock", JOIN, tells(HOSTED, clock=Clock(ahead=-3.0, within=0.1)), "-3.000 s off", "chrony"),
    ("hosted: connections", JOIN, tells(HOSTED, connections=Connections(free=9, limit=60)), "9 of 60", "max_connect"),
    ("hosted: synchronous commit", JOIN, tells(HOSTED, "replication", synchronous="x"), "'x', 0 are", "RESET"),
    ("selfhosted: data checksums", JOIN, tells(OWN, "server", checksums=False), "off", "pg_checksums --enable"),
    ("hosted: encryption", JOIN, tells(HOSTED, "server", encrypted=False), "no TLS", "verify-full"),
    ("selfhosted: encoding", JOIN, tells(OWN, "server", **locale(encoding="LATIN1")), "has LATIN1", "ENCODING"),
    ("selfhosted: collations", JOIN, tells(OWN, "server", **locale(collate="de_DE.utf8")), "libc de_DE.utf8", "LC_"),
    ("selfhosted: collations", JOIN, tells(OWN, "server", **locale(ctype="C")), "C.UTF-8, C", "LC_CTYPE"),
    ("selfhosted: collations", JOIN, tells(OWN, collations=frozenset[str]()), "pg_catalog.C is missing", "missing"),
    ("hosted: collation version", JOIN, tells(HOSTED, "server", **locale(actual="2")), "made with 1", "REINDEX"),
    ("hosted: rights", JOIN, tells(HOSTED, "role", replication=False), "lacks REPLICATION", 'ALTER ROLE "mover" REPL'),
    ("hosted: rights", LEAVE, tells(HOSTED, "role", creates=False), "lacks CREATE", 'ON DATABASE "trading" TO "mover"'),
    ("hosted: rights", JOIN, tells(HOSTED, "role", watches=False), "lacks pg_monitor", "GRANT pg_monitor"),
    ("hosted: no superuser", JOIN, tells(HOSTED, "role", superuser=True), "mover is one", "docs/database-preflight.md"),
    (
        "hosted: ownership",
        JOIN,
        tells(HOSTED, "contents", foreign_owners={"boss": ("app.a", "app.b")}),
        "app.a is boss's; app.b is boss's",
        'GRANT "boss" TO "mover"',
    ),
    ("hosted: row-level security", JOIN, thing(Kind.RLS, "hidden"), "app.odd", 'ALTER ROLE "mover" BYPASSRLS'),
    (
        "selfhosted: session_replication_role",
        JOIN,
        both(tells(OWN, "role", replica_role=False), tells(HOSTED, "contents", foreign_keys=3)),
        "3 foreign keys",
        'SET ON PARAMETER session_replication_role TO "mover"',
    ),
    (
        "hosted: session_replication_role",
        JOIN,
        both(tells(HOSTED, "role", replica_role=False), thing(Kind.TRIGGER, "O")),
        "app.odd would fire",
        "GRANT SET",
    ),
    ("selfhosted: roles and grants", JOIN, tells(OWN, roles=frozenset({"x"})), "app (owner)", 'CREATE ROLE "app" NOL'),
    ("hosted: schemas", JOIN, tells(HOSTED, "contents", missing=("gone",)), "gone does not exist", "database.schemas"),
    ("hosted: schemas", JOIN, tells(HOSTED, "contents", schemas=("crossover",)), "not the application's", "schemas"),
    (
        "hosted: replica identity",
        JOIN,
        table(key=(), primary_key=(), identity=Identity.NONE),
        "app.orders has no primary key",
        'ALTER TABLE "app"."orders" ADD PRIMARY KEY',
    ),
    ("hosted: replica identity", JOIN, table(key=(), identity=Identity.NONE), "IDENTITY NOTHING", "IDENTITY DEFAULT"),
    (
        "hosted: replica identity",
        JOIN,
        table(key=(), primary_key=(), identity=Identity.FULL),
        "FULL and no key",
        "ADD PRIMARY KEY",
    ),
    (
        "hosted: sequences and identity columns",
        JOIN,
        tells(HOSTED, "contents", sequences=(SequenceRange(name="app.s", last=31_000, limit=32_767, increment=1),)),
        "app.s has 1767 values left",
        "AS bigint",
    ),
    (
        "hosted: sequences and identity columns",
        SWITCH,
        tells(HOSTED, "contents", sequences=(SequenceRange(name="s", last=-90, limit=-100, increment=-2),)),
        "s has 5 values left",
        "AS bigint",
    ),
    (
        "hosted: sequences and identity columns",
        JOIN,
        tells(
            HOSTED, "contents",
            sequences=(SequenceRange(name="s", last=0, limit=9**9, increment=1, readable=False),),
        ),
        "s may not be read",
        "GRANT SELECT",
    ),
    ("selfhosted: extensions", JOIN, tells(OWN, extensions=(), available={}), "citext is not available", "Install"),
    ("selfhosted: extensions", JOIN, tells(OWN, extensions=(), available={"citext": "1.5"}), "1.6 is needed", "UPD"),
    ("selfhosted: extensions", JOIN, tells(OWN, extensions=(Extension("citext", "1.6", "x"),)), "in schema x", "SET"),
    ("hosted: unlogged tables", JOIN, thing(Kind.UNLOGGED), "app.odd", "SET LOGGED"),
    ("hosted: large objects", JOIN, tells(HOSTED, "contents", large_objects=3), "3 in this database", "lo_unlink"),
    (
        "hosted: generated columns",
        JOIN,
        table(columns=(Column("id", "bigint", True, generated=True),)),
        "app.orders.id",
        "REPLICA IDENTITY",
    ),
    ("hosted: partitions", JOIN, thing(Kind.STRAY_PARTITION), "app.odd", "DETACH"),
    ("hosted: foreign tables", JOIN, thing(Kind.FOREIGN), "app.odd", "DROP FOREIGN TABLE"),
    ("hosted: inheritance", JOIN, thing(Kind.INHERITING), "app.odd", "NO INHERIT"),
    ("hosted: rules", JOIN, thing(Kind.RULE, "A"), "app.odd", "ENABLE RULE"),
    ("hosted: triggers", JOIN, thing(Kind.TRIGGER, "R"), "app.odd", "ENABLE TRIGGER"),
    (
        "selfhosted: materialised views",
        SWITCH,
        tells(OWN, "contents", things=(Thing(kind=Kind.MATERIALISED, name="app.sums"),)),
        "app.sums was never filled",
        "REFRESH MATERIALIZED VIEW app.sums",
    ),
    ("selfhosted: event triggers", SWITCH, tells(HOSTED, event_triggers=(MOVING,)), "audit is missing", "CREATE EVENT"),
    ("hosted: foreign keys into schemas that stay", JOIN, crossing("constraint"), "on table auth.users", "DROP CONSTR"),
    ("hosted: policies into schemas that stay", JOIN, crossing("policy"), "policy odd", "request.jwt.claim.sub"),
    ("hosted: other references into schemas that stay", JOIN, crossing("attrdef"), "attrdef odd", "database.schemas"),
    ("hosted: references from schemas that stay", SWITCH, crossing("trigger", False), "trigger odd", "DROP TRIGGER"),
    (
        "selfhosted: empty target",
        JOIN,
        tells(OWN, "contents", rows=("app.orders",)),
        "app.orders holds rows of nobody known",
        "At selfhosted: DROP SCHEMA app CASCADE",
    ),
    ("hosted: DDL in flight", JOIN, tells(HOSTED, activity=Activity(ddl=(DDL,))), "pid 7 holds AccessEx", "backend(7)"),
    (
        "hosted: prepared transactions",
        JOIN,
        tells(HOSTED, activity=Activity(prepared=(Prepared("left", "app", 90.0),))),
        "left of app, 90 s old",
        "ROLLBACK PREPARED",
    ),
    ("hosted: long transactions", SWITCH, busy(transaction_seconds=31.0), "pid 42 (app, in a trans", "backend(42)"),
    ("hosted: session features", JOIN, busy(advisory=True), "holds an advisory lock", "pg_advisory_xact_lock"),
    ("hosted: session features", JOIN, busy(listens=True), "listens", "connection of its own"),
    ("selfhosted: sessions past the pooler", SWITCH, busy(OWN), "pid 42 (app)", "pg_terminate_backend(42)"),
    ("selfhosted: sessions past the pooler", LEAVE, busy(OWN), "pid 42 (app)", "pg_terminate_backend(42)"),
    ("hosted: masks", JOIN, hides("app.orders.note", "app.order.note"), "app.order.note names no col", "Correct it"),
    ("hosted: backup", JOIN, configured(backup=None), "none is noted", "crossover backup"),
    ("hosted: backup", SWITCH, configured(backup=replace(BACKUP, hours=24.5)), "24.5 h old, in x", "crossover backup"),
    ("hosted: backup", JOIN, configured(backup=replace(BACKUP, hours=float("nan"))), "nan h old", "crossover backup"),
    ("hosted: backup", JOIN, configured(backup=replace(BACKUP, side=OWN)), "of selfhosted, which", "crossover backup"),
]  # fmt: skip

MISSING: list[tuple[str, Journey, Spoil]] = [
    # item, journey, what makes that it cannot be known
    ("hosted: reachable", JOIN, configured(facts={HOSTED: Unknown("lost")})),
    *((f"hosted: {name}", JOIN, tells(HOSTED, replication=Unknown("lost"))) for name in (
        "wal_level", "replication slots", "wal senders", "slot plugins", "slot", "slot name", "piled-up WAL",
        "synchronous commit")),
    ("hosted: piled-up WAL", JOIN, tells(HOSTED, wal_rate=Unknown("lost"))),
    ("hosted: disk", JOIN, tells(HOSTED, storage=Unknown("lost"))),
    ("hosted: backup", JOIN, configured(backup=Unknown("no right"))),
    ("hosted: connections", JOIN, tells(HOSTED, connections=Unknown("lost"))),
    ("hosted: clock", JOIN, tells(HOSTED, clock=Clock(ahead=1.5, within=1.0))),
    *((f"hosted: {name}", JOIN, tells(HOSTED, contents=Unknown("lost"))) for name in (
        "ownership", "row-level security", "schemas", "replica identity", "sequences and identity columns",
        "unlogged tables", "temporary tables", "large objects", "generated columns", "partitions", "foreign tables",
        "inheritance", "rules", "triggers", "materialised views to fill", "foreign keys into schemas that stay",
        "policies into schemas that stay", "other references into schemas that stay",
        "references from schemas that stay", "session features")),
    ("hosted: masks", JOIN, both(hides("app.orders.note"), tells(HOSTED, contents=Unknown("lost")))),
    ("hosted: schemas", JOIN, tells(HOSTED, "contents", tables=())),
    ("hosted: replica identity", JOIN, tells(HOSTED, "contents", tables=())),
    ("hosted: session_replication_role", JOIN,
     both(tells(HOSTED, contents=Unknown("lost")), tells(HOSTED, "role", replica_role=False))),
    ("selfhosted: collations", JOIN, tells(OWN, collations=Unknown("lost"))),
    ("selfhosted: roles and grants", JOIN, tells(OWN, roles=Unknown("lost"))),
    ("selfhosted: extensions", JOIN, tells(OWN, extensions=Unknown("lost"))),
    ("selfhosted: extensions", JOIN, tells(HOSTED, extensions=Unknown("lost"))),
    ("selfhosted: event triggers", JOIN, tells(OWN, event_triggers=Unknown("lost"))),
    ("selfhosted: materialised views", SWITCH, tells(OWN, contents=Unknown("lost"))),
    ("selfhosted: empty target", JOIN, tells(OWN, contents=Unknown("lost"))),
    ("selfhosted: server versions", JOIN, configured(facts={OWN: whole().facts[OWN], HOSTED: Unknown("lost")})),
    ("selfhosted: encoding", JOIN, configured(facts={OWN: whole().facts[OWN], HOSTED: Unknown("lost")})),
    *((f"hosted: {name}", JOIN, tells(HOSTED, activity=Unknown("lost"))) for name in (
        "DDL in flight", "prepared transactions", "long transactions", "session features")),
    ("selfhosted: sessions past the pooler", SWITCH, tells(OWN, activity=Unknown("lost"))),
]  # fmt: skip

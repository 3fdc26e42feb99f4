"""Facts of two sides that are as they should be, and how to spoil them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from adapters.known import Clock
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.catalog import Column, Table
from adapters.postgres.facts import (
    Activity,
    Connections,
    Contents,
    EventTrigger,
    Extension,
    Locale,
    Replication,
    Role,
    SequenceRange,
    Server,
    Session,
    SideFacts,
    Slot,
    Storage,
)
from cutover.database.preflight.situation import Backup, Journey, Situation

ORDERS = Table("app", "orders", (Column("id", "bigint", True), Column("note", "text")), ("id",), ("id",), owner="app")
SLOT = Slot(name="", plugin="pgoutput", database="trading", active=True, status="reserved", safe_bytes=400_000_000)
LOCALE = Locale(encoding="UTF8", provider="libc", collate="C.UTF-8", ctype="C.UTF-8", recorded="1", actual="1")
SESSION = Session(
    pid=42,
    user="app",
    application="engine",
    state="idle",
    transaction_seconds=None,
    query_seconds=1.0,
    query="select 1",
)


def side(name: str, *, superuser: bool, slot: bool) -> SideFacts:
    """A side that is as it should be."""
    return SideFacts(
        database="trading",
        server=Server(
            version=170012,
            version_text="17.12",
            in_recovery=False,
            read_only=False,
            checksums=True,
            encrypted=True,
            locale=LOCALE,
        ),
        role=Role(
            name="mover",
            superuser=superuser,
            replication=True,
            bypass_rls=True,
            creates=True,
            replica_role=True,
            watches=True,
            subscribes=superuser,
            member_of=frozenset({"mover", "app"}),
        ),
        clock=Clock(ahead=0.01, within=0.001),
        replication=Replication(
            wal_level="logical",
            slots_limit=5,
            slots=(replace(SLOT, name=slot_name(name)),) if slot else (),
            slots_used=1 if slot else 0,
            senders_limit=10,
            senders_used=1,
            keep_bytes=512 << 20,
            plugins=("pgoutput", "test_decoding"),
            synchronous="",
            standbys=0,
        ),
        wal_rate=1e6,
        connections=Connections(free=80, limit=97),
        storage=Storage(database=10_000_000, used=50_000_000),
        activity=Activity(sessions=(SESSION,) if name == "hosted" else ()),
        contents=Contents(
            schemas=("app",),
            tables=(ORDERS,),
            bytes=1_000_000,
            sequences=(SequenceRange(name="app.orders_id_seq", last=5, limit=2**63 - 1, increment=1, identity=True),),
            roles_named={"app": frozenset({"owner"}), "mover": frozenset({"grant"})},
            collations=frozenset({"pg_catalog.C"}),
            rows=("app.orders",) if name == "hosted" else (),
        ),
        extensions=(Extension("citext", "1.6", "extensions", needed=True), Extension("plpgsql", "1.0", "pg_catalog")),
        available={"citext": "1.6"},
        event_triggers=(EventTrigger(name="watch", owner="platform", enabled=True, moves=False),),
        roles=frozenset({"app", "mover", "postgres"}),
        collations=frozenset({"pg_catalog.C"}),
    )


def whole(journey: Journey = Journey.JOIN) -> Situation:
    """A situation in which every item holds."""
    slot = journey is Journey.SWITCH
    hosted, selfhosted = (side("hosted", superuser=False, slot=slot), side("selfhosted", superuser=True, slot=slot))
    return Situation(
        journey=journey,
        source="hosted",
        target="selfhosted",
        facts={"hosted": hosted, "selfhosted": selfhosted},
        volumes={"hosted": 1_000_000_000, "selfhosted": 1_000_000_000},
        encrypt=frozenset({"hosted", "selfhosted"}),
        backup=Backup(side="hosted", hours=1.0, place="backups/one of here"),
    )


Spoil = Callable[[Situation], Situation]


def tells(name: str, group: str = "", **changes: Any) -> Spoil:
    """That side says something else: of a group of facts, or as a whole."""

    def spoil(at: Situation) -> Situation:
        found: Any = at.facts[name]
        spoilt = replace(found, **({group: replace(getattr(found, group), **changes)} if group else changes))
        return replace(at, facts={**at.facts, name: spoilt})

    return spoil


def configured(**changes: Any) -> Spoil:
    """Config says something else."""
    return lambda at: replace(at, **changes)


def both(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(at: Situation) -> Situation:
        for one in spoils:
            at = one(at)
        return at

    return spoil


def locale(**changes: Any) -> Mapping[str, Any]:
    """For tells(side, "server", ...)."""
    return {"locale": replace(LOCALE, **changes)}

"""What is made wrong on real servers, each thing by itself, and which item of the database's preflight it turns red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cutover.database.preflight import Journey, Limits
from tests.contract.two_postgres import OWN_ROLE

JOIN, SWITCH, LEAVE = Journey.JOIN, Journey.SWITCH, Journey.LEAVE


@dataclass(frozen=True, slots=True)
class Case:
    """What is made wrong: statements by the platform's superuser, by the migration role, by our own side's. `undo` by
    the first and the last: what is of a whole server. `turns`: the items that are red, each with a part of what is
    found. `database`: how our side's is made."""

    turns: Mapping[str, str]
    journey: Journey = JOIN
    admin: Sequence[str] = ()
    mover: Sequence[str] = ()
    own: Sequence[str] = ()
    undo: Sequence[str] = ()
    undo_own: Sequence[str] = ()
    schemas: Sequence[str] | None = None
    database: Mapping[str, str] = field(default_factory=dict)
    sessions: Sequence[tuple[str, str, str]] = ()
    configured: Mapping[str, object] = field(default_factory=dict)


_UID = "(SELECT auth.uid())"
CASES: dict[str, Case] = {
    "no key": Case(
        {"hosted: replica identity": "public.odd has no primary key"}, mover=["create table public.odd (a int)"]
    ),
    "full without a key": Case(
        {"hosted: replica identity": "public.odd has REPLICA IDENTITY FULL and no key"},
        mover=["create table public.odd (a int)", "alter table public.odd replica identity full"],
    ),
    "identity nothing": Case(
        {"hosted: replica identity": "NOTHING"},
        mover=["create table public.odd (a int primary key)", "alter table public.odd replica identity nothing"],
    ),
    "a sequence near its end": Case(
        {"hosted: sequences and identity columns": "public.odd_a_seq has 767 values left"},
        mover=[
            "create table public.odd (a smallint generated always as identity primary key)",
            "select setval('public.odd_a_seq', 32000)",
        ],
    ),
    "a bigint sequence on an int column": Case(
        {"hosted: sequences and identity columns": "public.odd_a_seq has 647 values left"},
        mover=[
            "create table public.odd (a serial primary key)",
            "alter sequence public.odd_a_seq as bigint",
            "select setval('public.odd_a_seq', 2147483000)",
        ],
    ),
    "an older extension": Case(
        {"selfhosted: extensions": "citext is 1.4"},
        mover=[
            "create extension citext schema extensions",
            "create table public.odd (a extensions.citext primary key)",
        ],
        own=["create schema extensions", "create extension citext schema extensions version '1.4'"],
    ),
    "an extension in a schema that moves": Case(
        {"selfhosted: extensions": "moddatetime is in schema extensions, not in public"},
        admin=["create extension moddatetime schema public"],
        own=["create schema extensions", "create extension moddatetime schema extensions"],
    ),
    "an extension elsewhere": Case(
        {"selfhosted: extensions": "pg_trgm is in schema public, not in extensions"},
        mover=[
            "create extension pg_trgm schema extensions",
            "create index on public.watchlists using gin (symbol extensions.gin_trgm_ops)",
        ],
        own=["create extension pg_trgm schema public"],
    ),
    "a role that a grant names": Case(
        {"selfhosted: roles and grants": "lonely (grant)"},
        mover=["create role lonely", "grant select on public.watchlists to lonely"],
        undo=["drop owned by lonely", "drop role lonely"],
    ),
    "a role that a policy names": Case(
        {"selfhosted: roles and grants": "lonely (policy)"},
        mover=["create role lonely", "create policy odd on public.watchlists to lonely using (true)"],
        undo=["drop policy odd on public.watchlists", "drop role lonely"],
    ),
    "another order of text": Case(
        {"selfhosted: collations": "hosted has libc C.UTF-8, C.UTF-8, selfhosted has libc C, C"},
        database={"lc_collate": "C", "lc_ctype": "C"},
    ),
    "another encoding": Case(
        {"selfhosted: encoding": "selfhosted has LATIN1", "selfhosted: collations": "libc C, C"},
        database={"encoding": "LATIN1", "lc_collate": "C", "lc_ctype": "C"},
    ),
    "another collation version": Case(
        {"hosted: collation version": "made with 0"},
        admin=["update pg_database set datcollversion = '0' where datname = current_database()"],
    ),
    "an unlogged table": Case(
        {"hosted: unlogged tables": "public.odd"}, mover=["create unlogged table public.odd (a int primary key)"]
    ),
    "a large object": Case({"hosted: large objects": "1 in this"}, mover=["select lo_create(0)"]),
    "a computed key": Case(
        {"hosted: generated columns": "public.odd.b"},
        mover=["create table public.odd (a int, b int generated always as (a + 1) stored primary key)"],
    ),
    "a partition elsewhere": Case(
        {"hosted: partitions": "public.odd with aside.part"},
        mover=[
            "create schema aside",
            "create table public.odd (a int primary key) partition by range (a)",
            "create table aside.part partition of public.odd for values from (0) to (9)",
        ],
        schemas=["public"],
    ),
    "a foreign table": Case(
        {"hosted: foreign tables": "public.odd"},
        admin=[
            "create extension postgres_fdw schema extensions",
            "create server there foreign data wrapper postgres_fdw",
            "create foreign table public.odd (a int) server there",
        ],
    ),
    "inheritance": Case(
        {"hosted: inheritance": "public.child"},
        mover=[
            "create table public.odd (a int primary key)",
            "create table public.child (b int, primary key (a)) inherits (public.odd)",
        ],
    ),
    "a rule that always fires": Case(
        {"hosted: rules": "odd on public.watchlists"},
        mover=[
            "create rule odd as on insert to public.watchlists do also select 1",
            "alter table public.watchlists enable always rule odd",
        ],
    ),
    "a trigger that always fires": Case(
        {"hosted: triggers": "odd on public.watchlists"},
        mover=[
            "create function public.odd() returns trigger language plpgsql as 'begin return new; end'",
            "create trigger odd before insert on public.watchlists for each row execute function public.odd()",
            "alter table public.watchlists enable replica trigger odd",
        ],
    ),
    "a materialised view that was never filled": Case(
        {"selfhosted: materialised views": "public.sums was never filled"},
        SWITCH,
        own=["create materialized view public.sums as select 1 as a with no data"],
    ),
    "an event trigger of the application's": Case(
        {"selfhosted: event triggers": "audit is missing"},
        SWITCH,
        admin=[
            "create function public.audit() returns event_trigger language plpgsql as 'begin end'",
            "create event trigger audit on ddl_command_end execute function public.audit()",
        ],
    ),
    "a foreign key into auth": Case(
        {"hosted: foreign keys into schemas that stay": "odd_owner_fkey on table public.odd on table auth.users"},
        mover=["create table public.odd (owner uuid primary key references auth.users)"],
    ),
    "a policy that asks auth": Case(
        {"hosted: policies into schemas that stay": "on table public.watchlists on function auth.uid()"},
        mover=[f"create policy odd on public.watchlists using (owner = {_UID})"],
    ),
    "a default of auth's": Case(
        {"hosted: other references into schemas that stay": "public.odd on function auth.uid()"},
        mover=["create table public.odd (a uuid primary key default auth.uid())"],
    ),
    "a view of auth": Case(
        {"hosted: other references into schemas that stay": "public.odd on table auth.users"},
        mover=["create view public.odd as select id from auth.users"],
    ),
    "a trigger of auth's that writes into what moves": Case(
        {"hosted: references from schemas that stay": "on table auth.users on function public.handle_new_user()"},
        admin=[
            "create function public.handle_new_user() returns trigger language plpgsql as 'begin return new; end'",
            "create trigger made after insert on auth.users for each row execute function public.handle_new_user()",
        ],
    ),
    "a foreign key from a schema that stays": Case(
        {"hosted: references from schemas that stay": "on table storage.odd on table public.watchlists"},
        admin=["create table storage.odd (a bigint primary key references public.watchlists)"],
    ),
    "rows of somebody else's": Case(
        {"selfhosted: empty target": "public.watchlists holds rows of nobody known"},
        own=["create table public.watchlists (a int primary key)", "insert into public.watchlists values (1)"],
    ),
    "a schema that is not there": Case({"hosted: schemas": "gone does not exist"}, schemas=["public", "gone"]),
    "somebody else's table": Case(
        {"hosted: ownership": "public.odd is postgres's"}, admin=["create table public.odd (a int primary key)"]
    ),
    "rows that are hidden": Case(
        {"hosted: row-level security": "public.watchlists"},
        mover=["alter table public.watchlists force row level security"],
        admin=["alter role hosted nobypassrls"],
        undo=["alter role hosted bypassrls"],
    ),
    "triggers that cannot be held off": Case(
        {"hosted: session_replication_role": "1 foreign keys"},
        mover=["create table public.odd (a bigint primary key references public.watchlists)"],
        admin=["revoke set on parameter session_replication_role from hosted"],
        undo=["grant set on parameter session_replication_role to hosted"],
    ),
    "no right to replicate": Case(
        {"hosted: rights": "hosted lacks REPLICATION"},
        admin=["alter role hosted noreplication"],
        undo=["alter role hosted replication"],
    ),
    "no right to make a publication": Case(
        {"hosted: rights": "hosted lacks CREATE on the database"},
        admin=["do $$begin execute format('revoke create on database %I from hosted', current_database()); end$$"],
    ),
    "few connections": Case(
        {"hosted: connections": "of 5 are free"},
        admin=["alter role hosted connection limit 5"],
        undo=["alter role hosted connection limit -1"],
    ),
    "no free slot": Case(
        {"hosted: replication slots": "5 of 5 are in use"},
        admin=["select pg_create_physical_replication_slot('odd_' || n) from generate_series(1, 5) as n"],
        undo=["select pg_drop_replication_slot(slot_name) from pg_replication_slots"],
    ),
    "a slot of another kind with our name": Case(
        {"hosted: slot": "of plugin test_decoding"},
        admin=["select pg_create_logical_replication_slot('crossover_from_hosted', 'test_decoding')"],
        undo=["select pg_drop_replication_slot('crossover_from_hosted')"],
    ),
    "a server that is read-only": Case(
        {"selfhosted: reachable": "new transactions may not write"},
        own=[
            "do $$begin execute format('alter database %I set default_transaction_read_only = on',"
            " current_database()); end$$"
        ],
    ),
    "a disk that is full": Case(
        {"selfhosted: disk": "of 1.0 MB are in use"}, configured={"volumes": {"selfhosted": 1_000_000}}
    ),
    "no encryption where it is asked for": Case(
        {"hosted: encryption": "no TLS"}, configured={"encrypt": frozenset({"hosted"})}
    ),
    "DDL in flight": Case(
        {"hosted: DDL in flight": "holds ShareRowExclusiveLock on public.watchlists: lock table public.watchlists"},
        sessions=[("hosted", "hosted", "begin;lock table public.watchlists in share row exclusive mode")],
    ),
    "a prepared transaction": Case(
        {"hosted: prepared transactions": "odd of hosted"},
        mover=["begin", "insert into public.watchlists (owner, symbol) values (gen_random_uuid(), 'X')",
               "prepare transaction 'odd'"],
        undo=["rollback prepared 'odd'"],
    ),
    "a long transaction": Case(
        {"hosted: long transactions": "in a transaction for"},
        sessions=[("hosted", "hosted", "begin;select 'a secret'")],
        configured={"limits": Limits(transaction_seconds=0.0)},
    ),
    "a session's advisory lock": Case(
        {"hosted: session features": "holds an advisory lock"},
        sessions=[("hosted", "hosted", "select pg_advisory_lock(1)")],
    ),
    "a session that listens": Case(
        {"hosted: session features": "listens"}, sessions=[("hosted", "hosted", "LISTEN signals")]
    ),
    "a session past the pooler": Case(
        {"selfhosted: sessions past the pooler": f"({OWN_ROLE})"},
        LEAVE,
        sessions=[("selfhosted", OWN_ROLE, "select 1")],
    ),
}  # fmt: skip

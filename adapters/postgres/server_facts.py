"""Asks a server for its settings, its room, its role's rights, and what goes on in it. Changes nothing.

Names of the catalog stand unqualified here: with the empty search_path of our sessions only pg_catalog is looked in.
"""

from __future__ import annotations

import re
import time
from typing import Any

from adapters.known import Clock, Fact, Unknown
from adapters.postgres.driver import Connection, lsn
from adapters.postgres.facts import (
    Activity,
    Connections,
    Locale,
    Prepared,
    Replication,
    Role,
    RunningDdl,
    Server,
    Session,
    Slot,
    Storage,
)

OURS = "crossover"
"""How the application_name of our own sessions begins: nobody has to wait for those."""
_QUERY_SHOWN = 80
_SETTINGS = (
    "wal_level", "max_replication_slots", "max_wal_senders", "max_slot_wal_keep_size", "output_plugin_libraries",
    "synchronous_standby_names",
)  # fmt: skip
_SERVER = """
select current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
       current_setting('default_transaction_read_only')::bool,
       current_setting('data_checksums') = 'on',
       coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)
"""
_LOCALE = """
select pg_encoding_to_char(encoding), to_jsonb(d) ->> 'datlocprovider', to_jsonb(d) ->> 'datcollate',
       to_jsonb(d) ->> 'datctype', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', ''),
       coalesce(to_jsonb(d) ->> 'datcollversion', ''), coalesce(pg_database_collation_actual_version(oid), '')
  from pg_database d where datname = current_database()
"""
_SLOTS = """
select slot_name, plugin, database, active, coalesce(wal_status, ''), safe_wal_size
  from pg_replication_slots where slot_type = 'logical' order by 1
"""
_USED = """
select (select count(*) from pg_replication_slots),
       (select count(*) from pg_stat_get_wal_senders()),
       (select count(*) from pg_stat_get_wal_senders() where sync_state in ('sync', 'quorum'))
"""
_ROLE = """
select r.rolname, r.rolsuper, r.rolreplication, r.rolbypassrls,
       has_database_privilege(current_database(), 'create'),
       has_parameter_privilege('session_replication_role', 'set'),
       pg_has_role(r.oid, 'pg_read_all_stats', 'usage'),
       array(select m.rolname::text from pg_roles m where pg_has_role(r.oid, m.oid, 'usage'))
  from pg_roles r where r.rolname = current_user
"""
_CONNECTIONS = """
with used as (
  select count(*) as everywhere, count(*) filter (where datname = current_database()) as here,
         count(*) filter (where usename = current_user) as ours
    from pg_stat_activity where backend_type = 'client backend')
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int, everywhere,
       datconnlimit, here, rolconnlimit, ours
  from used, pg_database, pg_roles where datname = current_database() and rolname = current_user
"""
_USED_BYTES = """
select (select sum(pg_database_size(oid))::bigint from pg_database where datallowconn or datistemplate)
       + (select coalesce(sum(size), 0)::bigint from pg_ls_waldir())
"""
_SESSIONS = """
select a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
       extract(epoch from clock_timestamp() - a.xact_start)::float8,
       coalesce(extract(epoch from clock_timestamp() - a.query_start), 0)::float8, coalesce(a.query, ''),
       exists (select from pg_locks l where l.pid = a.pid and l.locktype = 'advisory' and l.granted)
  from pg_stat_activity a
 where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
   and not starts_with(coalesce(a.application_name, ''), %s)
 order by a.xact_start nulls last, a.pid
"""
# Neither reading nor writing rows takes these. Autovacuum does, and gives way.
_DDL = """
select l.pid, n.nspname || '.' || c.relname, l.mode, l.granted,
       coalesce(extract(epoch from clock_timestamp() - a.query_start), 0)::float8, coalesce(a.query, '')
  from pg_locks l
  join pg_database d on d.oid = l.database and d.datname = current_database()
  join pg_class c on c.oid = l.relation
  join pg_namespace n on n.oid = c.relnamespace
  join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and n.nspname = any(%s) and l.pid <> pg_backend_pid()
   and not starts_with(coalesce(a.application_name, ''), %s) and a.backend_type <> 'autovacuum worker'
   and (l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
        or l.mode = 'ShareUpdateExclusiveLock'
           and exists (select from pg_stat_progress_create_index p where p.pid = l.pid and p.relid = l.relation))
 order by 1, 2, 3
"""
_PREPARED = """
select gid, owner, extract(epoch from clock_timestamp() - prepared)::float8
  from pg_prepared_xacts where database = current_database() order by prepared
"""
_LITERAL = re.compile(
    r"""
      \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?$)   # with escapes
    | '(?:[^']|'')*(?:'|$)
    | \$(\w*)\$.*?(?:\$\1\$|$)
    | (?<![\w.$"])\d[\w.]*
    """,
    re.DOTALL | re.VERBOSE,
)
_LISTEN = re.compile(r"\s*listen\b", re.IGNORECASE)


def shown(query: str) -> str:
    """The beginning of a statement, on one line, without its literals: they may be anybody's data, or a password."""
    text = " ".join(_LITERAL.sub("?", query).split())
    return text if len(text) <= _QUERY_SHOWN else text[: _QUERY_SHOWN - 3] + "..."


def only(connection: Connection, query: str, *given: object) -> tuple[Any, ...]:
    """The one row of `query`."""
    row = connection.execute(query, given or None).fetchone()
    return tuple(row) if row is not None else ()


def clock(connection: Connection) -> Clock:
    """The server's clock against ours. The shortest of three round trips tells best."""
    found: list[Clock] = []
    for _ in range(3):
        before, started = time.time(), time.monotonic()
        (there,) = only(connection, "select extract(epoch from clock_timestamp())::float8")
        took = time.monotonic() - started
        found.append(Clock(ahead=there - (before + took / 2), within=took / 2))
    return min(found, key=lambda one: one.within)


def server(connection: Connection) -> Server:
    """What it is."""
    version, text, recovery, read_only, checksums, encrypted = only(connection, _SERVER)
    encoding, provider, collate, ctype, locale, recorded, actual = only(connection, _LOCALE)
    names = {"c": "libc", "i": "icu", "b": "builtin"}
    at = Locale(
        encoding=encoding,
        provider=names.get(provider, provider),
        # What orders text is the provider's locale; the C library's is beside it, and means nothing then.
        collate=collate if provider == "c" else locale,
        ctype=ctype if provider == "c" else locale,
        recorded=recorded,
        actual=actual,
    )
    return Server(
        version=version,
        version_text=text,
        in_recovery=recovery,
        read_only=read_only,
        checksums=checksums,
        encrypted=encrypted,
        locale=at,
    )


def replication(connection: Connection) -> Replication:
    """Settings, and what of them is in use."""
    rows = connection.execute("select name, setting from pg_settings where name = any(%s)", (list(_SETTINGS),))
    settings: dict[str, str] = dict(rows.fetchall())
    slots, senders, standbys = only(connection, _USED)
    keep, plugins = int(settings["max_slot_wal_keep_size"]), settings.get("output_plugin_libraries")
    return Replication(
        wal_level=settings["wal_level"],
        slots_limit=int(settings["max_replication_slots"]),
        slots=tuple(
            Slot(name=name, plugin=plugin, database=database, active=active, status=status, safe_bytes=safe)
            for name, plugin, database, active, status, safe in connection.execute(_SLOTS).fetchall()
        ),
        slots_used=slots,
        senders_limit=int(settings["max_wal_senders"]),
        senders_used=senders,
        keep_bytes=None if keep < 0 else keep << 20,
        plugins=None if plugins is None else tuple(part.strip() for part in plugins.split(",") if part.strip()),
        synchronous=settings.get("synchronous_standby_names", ""),
        standbys=standbys,
    )


def wal_position(connection: Connection) -> int:
    """How many bytes of WAL were ever written. Fails on a standby."""
    (text,) = only(connection, "select pg_current_wal_insert_lsn()::text")
    return lsn(text)


def role(connection: Connection) -> Role:
    """Who we are there."""
    name, superuser, replicates, bypasses, creates, replica_role, watches, member_of = only(connection, _ROLE)
    members = frozenset(member_of)
    return Role(
        name=name,
        superuser=superuser,
        replication=replicates,
        bypass_rls=bypasses,
        creates=creates,
        replica_role=replica_role,
        watches=watches,
        # The right came with 16; before that only a superuser subscribes.
        subscribes=superuser or "pg_create_subscription" in members,
        member_of=members,
    )


def connections(connection: Connection) -> Connections:
    """Of the server's, the database's and the role's limit the tightest."""
    most, everywhere, here_most, here, own_most, own = only(connection, _CONNECTIONS)
    limits = [
        (most, everywhere),
        *((limit, used) for limit, used in ((here_most, here), (own_most, own)) if limit >= 0),
    ]
    free, limit = min((limit - used, limit) for limit, used in limits)
    return Connections(free=free, limit=limit)


def storage(connection: Connection, watches: bool) -> Storage:
    """Bytes in use. Those of other databases and of WAL are told only to whom sees statistics."""
    (database,) = only(connection, "select pg_database_size(current_database())")
    used: Fact[int] = Unknown("the role is no member of pg_monitor, so sizes of WAL and other databases are hidden")
    if watches and only(connection, "select has_function_privilege('pg_ls_waldir()', 'execute')") == (True,):
        (used,) = only(connection, _USED_BYTES)
    return Storage(database=database, used=used)


def activity(connection: Connection, schemas: tuple[str, ...]) -> Activity:
    """Sessions of others, DDL on `schemas`, prepared transactions. Asked only where the role sees sessions."""
    sessions = [
        Session(
            pid=pid,
            user=user,
            application=application,
            state=state,
            transaction_seconds=since,
            query_seconds=query_since,
            query=shown(query),
            advisory=advisory,
            listens=state == "idle" and _LISTEN.match(query) is not None,
        )
        for pid, user, application, state, since, query_since, query, advisory in connection.execute(
            _SESSIONS, (OURS,)
        ).fetchall()
    ]
    ddl = [
        RunningDdl(pid=pid, relation=relation, mode=mode, granted=granted, seconds=seconds, query=shown(query))
        for pid, relation, mode, granted, seconds, query in connection.execute(_DDL, (list(schemas), OURS)).fetchall()
    ]
    prepared = [Prepared(*row) for row in connection.execute(_PREPARED).fetchall()]
    return Activity(sessions=tuple(sessions), ddl=tuple(ddl), prepared=tuple(prepared))

"""Asks a database for what its schemas hold that rows alone do not carry. Changes nothing.

Names of the catalog stand unqualified here: with the empty search_path of our sessions only pg_catalog is looked in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from adapters.postgres.bookkeeping import SCHEMA
from adapters.postgres.catalog import Table, tables
from adapters.postgres.driver import Connection, sql
from adapters.postgres.facts import Contents, Crossing, EventTrigger, Extension, Kind, SequenceRange, Thing
from adapters.postgres.server_facts import only

PLATFORM_SCHEMAS = (
    "auth", "storage", "realtime", "_realtime", "vault", "extensions", "graphql", "graphql_public", "pgbouncer",
    "supabase_functions", "supabase_migrations", "pgsodium", "pgsodium_masks", "pgtle", "cron", "net", "etl",
)  # fmt: skip
"""Schemas of a hosted platform (Supabase's): they stay, whoever owns what is in them, unless config names them."""

_OWNED = """
select distinct n.nspname::text
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relpersistence <> 't'
   and pg_has_role(coalesce(%s::name, current_user), c.relowner, 'usage')
   and n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema' and n.nspname <> all(%s)
   and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                      and d.deptype = 'e')
 order by 1
"""
# Objects of a schema, those without a schema of their own by what they belong to.
_HOME = """
home as (
  select 'pg_class'::regclass::oid as classid, oid as objid, relnamespace as ns from pg_class
  union all select 'pg_proc'::regclass, oid, pronamespace from pg_proc
  union all select 'pg_type'::regclass, oid, typnamespace from pg_type
  union all select 'pg_constraint'::regclass, oid, connamespace from pg_constraint
  union all select 'pg_operator'::regclass, oid, oprnamespace from pg_operator
  union all select 'pg_opclass'::regclass, oid, opcnamespace from pg_opclass
  union all select 'pg_collation'::regclass, oid, collnamespace from pg_collation
  union all select 'pg_ts_config'::regclass, oid, cfgnamespace from pg_ts_config
  union all select 'pg_statistic_ext'::regclass, oid, stxnamespace from pg_statistic_ext
  union all select 'pg_namespace'::regclass, oid, oid from pg_namespace
  union all select 'pg_default_acl'::regclass, oid, defaclnamespace from pg_default_acl
  union all select 'pg_attrdef'::regclass, d.oid, c.relnamespace from pg_attrdef d join pg_class c on c.oid = d.adrelid
  union all select 'pg_trigger'::regclass, t.oid, c.relnamespace from pg_trigger t join pg_class c on c.oid = t.tgrelid
  union all select 'pg_policy'::regclass, p.oid, c.relnamespace from pg_policy p join pg_class c on c.oid = p.polrelid
  union all select 'pg_rewrite'::regclass, r.oid, c.relnamespace
              from pg_rewrite r join pg_class c on c.oid = r.ev_class),
member as (select classid, objid, refobjid as extension from pg_depend where deptype = 'e'),
moving as (select oid as ns from pg_namespace where nspname = any(%(schemas)s))
"""
_CROSSINGS = f"""
with {_HOME}
select distinct a.ns in (table moving), d.classid::regclass::text,
       pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0)
  from pg_depend d
  join home a on (a.classid, a.objid) = (d.classid, d.objid)
  join home b on (b.classid, b.objid) = (d.refclassid, d.refobjid)
  join pg_namespace an on an.oid = a.ns
  join pg_namespace bn on bn.oid = b.ns
 where d.deptype in ('n', 'a') and (a.ns in (table moving)) <> (b.ns in (table moving))
   and d.refclassid <> 'pg_namespace'::regclass and d.classid <> 'pg_default_acl'::regclass
   and not exists (select from member m
                    where (m.classid, m.objid) in ((d.classid, d.objid), (d.refclassid, d.refobjid)))
   and an.nspname not like 'pg\\_%%' and an.nspname <> 'information_schema'
   and bn.nspname not like 'pg\\_%%' and bn.nspname <> 'information_schema'
 order by 1, 2, 3, 4
"""  # noqa: S608 - constants
_NEEDED = f"""
with {_HOME}
select distinct m.extension::oid
  from pg_depend d
  join home a on (a.classid, a.objid) = (d.classid, d.objid)
  join member m on (m.classid, m.objid) = (d.refclassid, d.refobjid)
 where a.ns in (table moving)
union select oid from pg_extension where extnamespace in (table moving)
"""  # noqa: S608 - constants
_EXTENSIONS = f"""
select e.extname, e.extversion, n.nspname, e.oid in ({_NEEDED})
  from pg_extension e join pg_namespace n on n.oid = e.extnamespace order by 1
"""  # noqa: S608 - constants
_ROLES_NAMED = f"""
with {_HOME}
select distinct r.rolname::text, s.deptype::text
  from pg_shdepend s
  join home a on (a.classid, a.objid) = (s.classid, s.objid)
  join pg_roles r on r.oid = s.refobjid
 where s.dbid = (select oid from pg_database where datname = current_database())
   and s.refclassid = 'pg_authid'::regclass and a.ns in (table moving)
"""  # noqa: S608 - constants
_WAYS = {"o": "owner", "a": "grant", "i": "grant", "r": "policy"}
_SEQUENCES = """
select n.nspname || '.' || c.relname, s.seqincrement, s.seqcycle, has_sequence_privilege(c.oid, 'usage, select'),
       case when has_sequence_privilege(c.oid, 'usage, select') then pg_sequence_last_value(c.oid) end, s.seqstart,
       case when s.seqincrement < 0 then s.seqmin
            when t.atttypid = 'int2'::regtype then least(s.seqmax, 32767)
            when t.atttypid = 'int4'::regtype then least(s.seqmax, 2147483647) else s.seqmax end,
       coalesce(t.attidentity, '') <> ''
  from pg_sequence s
  join pg_class c on c.oid = s.seqrelid
  join pg_namespace n on n.oid = c.relnamespace
  left join lateral (
    select a.atttypid, a.attidentity from pg_depend d
      join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
     where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass
       and d.refobjsubid > 0 and d.deptype in ('a', 'i') limit 1) t on true
 where n.nspname = any(%(schemas)s) and c.relpersistence <> 't'
 order by 1
"""
_THINGS = """
with here as (
  select c.*, n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = any(%(schemas)s))
select 'unlogged', name, '' from here where relkind in ('r', 'S') and relpersistence = 'u'
union all
select 'temporary', relname::text, '' from pg_class where relkind = 'r' and relpersistence = 't'
union all
select 'foreign table', name, '' from here where relkind = 'f'
union all
select 'partitioned table', name, '' from here where relkind = 'p'
union all
select 'materialised view', name, case when relispopulated then 'populated' else '' end from here where relkind = 'm'
union all
select 'partition elsewhere', pn.nspname || '.' || p.relname || ' with ' || cn.nspname || '.' || c.relname, ''
  from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_namespace cn on cn.oid = c.relnamespace
  join pg_class p on p.oid = i.inhparent join pg_namespace pn on pn.oid = p.relnamespace
 where c.relispartition and c.relkind <> 'I' and c.relkind <> 'i'
   and (cn.nspname = any(%(schemas)s)) <> (pn.nspname = any(%(schemas)s))
union all
select distinct 'inheriting table', h.name, '' from here h join pg_inherits i on i.inhrelid = h.oid
 where h.relkind = 'r' and not h.relispartition
union all
select 'rule', r.rulename || ' on ' || h.name, r.ev_enabled::text from pg_rewrite r join here h on h.oid = r.ev_class
 where h.relkind in ('r', 'p') and r.rulename <> '_RETURN'
union all
select 'trigger', t.tgname || ' on ' || h.name, t.tgenabled::text from pg_trigger t join here h on h.oid = t.tgrelid
 where h.relkind in ('r', 'p') and not t.tgisinternal
union all
select 'row-level security', name, case when row_security_active(oid) then 'hidden' else '' end from here
 where relkind in ('r', 'p') and relrowsecurity
union all
select 'generated column', h.name || '.' || a.attname, '' from here h join pg_attribute a on a.attrelid = h.oid
 where h.relkind in ('r', 'p') and a.attgenerated <> '' and not a.attisdropped
 order by 1, 2
"""
_EVENT_TRIGGERS = """
select e.evtname, pg_get_userbyid(e.evtowner), e.evtenabled <> 'D', n.nspname = any(%(schemas)s)
  from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid join pg_namespace n on n.oid = p.pronamespace order by 1
"""
_COLLATIONS = """
select distinct cn.nspname || '.' || co.collname
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_collation co on co.oid = a.attcollation join pg_namespace cn on cn.oid = co.collnamespace
 where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p') and not a.attisdropped and co.collname <> 'default'
   and cn.nspname <> all(%(schemas)s)
"""
_FOREIGN_KEYS = """
select count(*) from pg_constraint c join pg_namespace n on n.oid = c.connamespace
 where c.contype = 'f' and n.nspname = any(%(schemas)s)
"""
_SIZE = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'm')
"""
_READABLE = "select has_table_privilege(%s, 'select') and not row_security_active(%s)"
_MISSING = "select array(select unnest(%(schemas)s::text[]) except select nspname::text from pg_namespace order by 1)"
_BOOKKEEPING = (
    "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = %s and c.relname = 'chunk')"
)


def owned_schemas(connection: Connection, role: str | None = None) -> tuple[str, ...]:
    """The schemas that move where config names none: those with tables that `role` (None: who asks) owns, itself or
    through a role that it is a member of; without ours, and without a platform's."""
    rows = connection.execute(_OWNED, (role, [*PLATFORM_SCHEMAS, SCHEMA])).fetchall()
    return tuple(row[0] for row in rows)


def contents(connection: Connection, schemas: Sequence[str], member_of: frozenset[str]) -> Contents:
    """What `schemas` hold, as far as it is not simply rows."""
    given = {"schemas": list(schemas)}
    found = tables(connection, schemas)
    owners: dict[str, list[str]] = defaultdict(list)
    for table in found:
        if table.owner not in member_of:
            owners[table.owner].append(str(table))
    named: dict[str, set[str]] = defaultdict(set)
    for name, way in connection.execute(_ROLES_NAMED, given).fetchall():
        named[name].add(_WAYS.get(way, "grant"))
    everywhere = owned_schemas(connection)
    return Contents(
        schemas=tuple(schemas),
        missing=tuple(connection.execute(_MISSING, given).fetchall()[0][0]) if schemas else (),
        others=tuple(name for name in everywhere if name not in schemas),
        tables=found,
        bytes=connection.execute(_SIZE, given).fetchall()[0][0],
        foreign_owners={owner: tuple(names) for owner, names in owners.items()},
        sequences=tuple(_sequences(connection, given)),
        things=tuple(
            Thing(kind=Kind(kind), name=name, mode=mode)
            for kind, name, mode in connection.execute(_THINGS, given).fetchall()
        ),
        crossings=_crossings(connection, given),
        foreign_keys=connection.execute(_FOREIGN_KEYS, given).fetchall()[0][0],
        roles_named={name: frozenset(ways) for name, ways in named.items()},
        collations=frozenset(row[0] for row in connection.execute(_COLLATIONS, given).fetchall()),
        large_objects=only(connection, "select count(*) from pg_largeobject_metadata")[0],
        rows=tuple(str(table) for table in found if _has_rows(connection, table)),
    )


def _sequences(connection: Connection, given: Mapping[str, object]) -> list[SequenceRange]:
    return [
        SequenceRange(
            name=name,
            last=last if last is not None else start,
            limit=limit,
            increment=increment,
            cycles=cycles,
            readable=readable,
            identity=identity,
        )
        for name, increment, cycles, readable, last, start, limit, identity in connection.execute(
            _SEQUENCES, given
        ).fetchall()
    ]


def _crossings(connection: Connection, given: Mapping[str, object]) -> tuple[Crossing, ...]:
    return tuple(
        Crossing(outward=outward, kind=kind.removeprefix("pg_"), what=what, on=on)
        for outward, kind, what, on in connection.execute(_CROSSINGS, given).fetchall()
    )


def _has_rows(connection: Connection, table: Table) -> bool:
    """Statistics do not tell an empty table from one that nobody has looked at. One that may not be read, or hides
    rows, is judged by its size."""
    if connection.execute(_READABLE, (table.qualified, table.qualified)).fetchone() != (True,):
        return table.bytes > 0
    query = sql.SQL("select exists (select from only {}.{})").format(
        sql.Identifier(table.schema), sql.Identifier(table.name)
    )
    return bool((connection.execute(query).fetchone() or (False,))[0])


def extensions(connection: Connection, schemas: Sequence[str]) -> tuple[Extension, ...]:
    """Those that are installed. What the text of a function uses is not known to the server, so not to us."""
    return tuple(Extension(*row) for row in connection.execute(_EXTENSIONS, {"schemas": list(schemas)}).fetchall())


def available(connection: Connection) -> dict[str, str]:
    """Extensions that could be made, with the version that they would have."""
    return dict(connection.execute("select name::text, default_version from pg_available_extensions").fetchall())


def event_triggers(connection: Connection, schemas: Sequence[str]) -> tuple[EventTrigger, ...]:
    """All of the database."""
    return tuple(
        EventTrigger(name=name, owner=owner, enabled=enabled, moves=moves)
        for name, owner, enabled, moves in connection.execute(_EVENT_TRIGGERS, {"schemas": list(schemas)}).fetchall()
    )


def roles(connection: Connection) -> frozenset[str]:
    """All of the server."""
    return frozenset(row[0] for row in connection.execute("select rolname::text from pg_roles").fetchall())


def collations(connection: Connection) -> frozenset[str]:
    """All that the database has."""
    query = "select n.nspname || '.' || c.collname from pg_collation c join pg_namespace n on n.oid = c.collnamespace"
    return frozenset(row[0] for row in connection.execute(query).fetchall())


def bookkeeping(connection: Connection) -> bool:
    """Whether an earlier try left its tables there."""
    return bool(only(connection, _BOOKKEEPING, SCHEMA)[0])

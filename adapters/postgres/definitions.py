"""What is declared in some schemas of a server, as text: for comparing two servers, or one with itself later.

Definitions are as pg_get_... print them under driver.SESSION, so all names in them are qualified, and unqualified
functions here are those of pg_catalog. No estimate, value of a sequence or OID is in them: only what DDL changes. What
belongs to an extension is left out.

Deliberately absent: publications and subscriptions (the move makes some), comments, security labels, operators, casts
and text search objects of one's own, and event triggers, which belong to the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

from adapters.postgres.driver import Address, Connection, translated
from adapters.postgres.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Definition:
    """One declared thing: `name` is unique within its `kind`."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Declared:
    """All of them, and what is needed to judge them: the roles of the server, and its major version."""

    definitions: tuple[Definition, ...]
    roles: frozenset[str]
    major: int
    unreadable: tuple[str, ...] = ()
    """Sequences whose values the role may not read."""


_OWN = """not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.{0}'::regclass
    and d.objid = {1}.oid and d.deptype = 'e')"""
_PARTS = {
    "name": "format('%%I.%%I', n.nspname, c.relname)",
    "tables": "c.relkind in ('r', 'p', 'f')",
    "signature": "format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))",
    "own_pg_proc": _OWN.format("pg_proc", "p"),
    "own_pg_type": _OWN.format("pg_type", "t"),
    "own_pg_collation": _OWN.format("pg_collation", "o"),
    "relation": "pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "and n.nspname = any(%(schemas)s) and c.relpersistence <> 't' and " + _OWN.format("pg_class", "c"),
}
"""What stands for $... in the statements below."""
_KINDS: Mapping[str, str] = {
    "schema": """
select quote_ident(nspname), '' from pg_catalog.pg_namespace where nspname = any(%(schemas)s)""",
    "table": """
select $name, concat_ws(' ', c.relkind, c.relpersistence,
       case when c.relrowsecurity then 'row security' end, case when c.relforcerowsecurity then 'forced' end,
       (select string_agg(o, ',' order by o) from unnest(c.reloptions) o),
       'partitioned ' || pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
       (select 'inherits ' || string_agg(i.inhparent::regclass::text, ',' order by i.inhseqno)
          from pg_catalog.pg_inherits i where i.inhrelid = c.oid))
  from $relation where $tables""",
    "column": """
select $name || '.' || quote_ident(a.attname), concat_ws(' ',
       format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
       case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
       case when a.attgenerated = '' then 'default ' || pg_get_expr(d.adbin, d.adrelid)
            else 'generated as ' || pg_get_expr(d.adbin, d.adrelid) end,
       case a.attidentity when 'a' then 'identity always' when 'd' then 'identity by default' end)
  from $relation join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type t on t.oid = a.atttypid
  left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
 where $tables""",
    "constraint": """
select $name || '.' || quote_ident(k.conname), pg_get_constraintdef(k.oid)
  from $relation join pg_catalog.pg_constraint k on k.conrelid = c.oid
 where k.contype in ('c', 'f', 'p', 'u', 'x') and k.conparentid = 0""",
    "index": """
select format('%%I.%%I', n.nspname, i.relname), concat_ws(' ', pg_get_indexdef(i.oid),
       case when not x.indisvalid then '(invalid)' end)
  from $relation join pg_catalog.pg_index x on x.indrelid = c.oid join pg_catalog.pg_class i on i.oid = x.indexrelid""",
    "policy": """
select $name || '.' || quote_ident(p.polname), concat_ws(' ', p.polcmd,
       case when p.polpermissive then 'permissive' else 'restrictive' end,
       'to ' || (select string_agg(case r when 0 then 'public' else pg_get_userbyid(r)::text end, ','
                                              order by pg_get_userbyid(r)) from unnest(p.polroles) r),
       'using ' || pg_get_expr(p.polqual, c.oid), 'check ' || pg_get_expr(p.polwithcheck, c.oid))
  from $relation join pg_catalog.pg_policy p on p.polrelid = c.oid""",
    "trigger": """
select $name || '.' || quote_ident(t.tgname),
       pg_get_triggerdef(t.oid) || case t.tgenabled when 'O' then '' else ' enabled ' || t.tgenabled::text end
  from $relation join pg_catalog.pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal and t.tgparentid = 0""",
    "rule": """
select $name || '.' || quote_ident(r.rulename),
       pg_get_ruledef(r.oid) || case r.ev_enabled when 'O' then '' else ' enabled ' || r.ev_enabled::text end
  from $relation join pg_catalog.pg_rewrite r on r.ev_class = c.oid and r.rulename <> '_RETURN'""",
    "view": """
select $name, concat_ws(' ', c.relkind, c.reloptions::text, pg_get_viewdef(c.oid))
  from $relation where c.relkind in ('v', 'm')""",
    "sequence": """
select $name, concat_ws(' ', format_type(s.seqtypid, null), 'start', s.seqstart, 'by', s.seqincrement,
       'from', s.seqmin, 'to', s.seqmax, 'cache', s.seqcache, case when s.seqcycle then 'cycle' end,
       (select 'of ' || o.refobjid::regclass::text || '.' || quote_ident(a.attname)
          from pg_catalog.pg_depend o
          join pg_catalog.pg_attribute a on a.attrelid = o.refobjid and a.attnum = o.refobjsubid
         where o.classid = 'pg_catalog.pg_class'::regclass and o.objid = c.oid and o.deptype in ('a', 'i')
           and o.refclassid = 'pg_catalog.pg_class'::regclass limit 1))
  from $relation join pg_catalog.pg_sequence s on s.seqrelid = c.oid""",
    "statistics": """
select format('%%I.%%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid)
  from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
 where n.nspname = any(%(schemas)s)""",
    "function": """
select $signature,
       case when p.prokind = 'a' then
         (select concat_ws(' ', 'aggregate', g.aggtransfn::text, g.aggfinalfn::text, g.aggcombinefn::text,
                 format_type(g.aggtranstype, null), g.agginitval, g.aggsortop::regoperator::text)
            from pg_catalog.pg_aggregate g where g.aggfnoid = p.oid)
       else pg_get_functiondef(p.oid) end
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where n.nspname = any(%(schemas)s) and $own_pg_proc""",
    "type": """
select format('%%I.%%I', n.nspname, t.typname), concat_ws(' ', t.typtype,
       (select 'enum ' || string_agg(quote_literal(e.enumlabel), ',' order by e.enumsortorder)
          from pg_catalog.pg_enum e where e.enumtypid = t.oid),
       case when t.typtype = 'd' then concat_ws(' ', format_type(t.typbasetype, t.typtypmod),
              case when t.typnotnull then 'not null' end, 'default ' || t.typdefault,
              case when t.typcollation <> 0 then 'collate ' || t.typcollation::regcollation::text end) end,
       (select string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid), ',' order by k.conname)
          from pg_catalog.pg_constraint k where k.contypid = t.oid and k.contype = 'c'),
       (select 'range of ' || format_type(r.rngsubtype, null) from pg_catalog.pg_range r where r.rngtypid = t.oid),
       (select string_agg(quote_ident(a.attname) || ' '
                                     || format_type(a.atttypid, a.atttypmod), ',' order by a.attnum)
          from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped))
  from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
 where n.nspname = any(%(schemas)s) and $own_pg_type
   and (t.typtype in ('e', 'd', 'r')
        or exists (select from pg_catalog.pg_class k where k.oid = t.typrelid and k.relkind = 'c'))""",
    "collation": """
select format('%%I.%%I', n.nspname, o.collname), concat_ws(' ', o.collprovider, o.collcollate, o.collctype,
       to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale',
       case when not o.collisdeterministic then 'nondeterministic' end)
  from pg_catalog.pg_collation o join pg_catalog.pg_namespace n on n.oid = o.collnamespace
 where n.nspname = any(%(schemas)s) and $own_pg_collation""",
    "extension": "select extname::text, extversion from pg_catalog.pg_extension",
    "grant": """
select format('%%s to %%s', o.name, case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee) end),
       string_agg(g.privilege_type || case when g.is_grantable then '*' else '' end, ', '
                             order by g.privilege_type, g.is_grantable)
  from (
    select $name as name, c.relowner as owner, coalesce(c.relacl, acldefault(
             (case c.relkind when 'S' then 's' else 'r' end)::"char", c.relowner)) as acl
      from $relation where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S')
    union all
    select $name || '.' || quote_ident(a.attname), c.relowner, a.attacl
      from $relation join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attacl is not null
    union all
    select $signature, p.proowner,
           coalesce(p.proacl, acldefault('f', p.proowner))
      from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
     where n.nspname = any(%(schemas)s) and $own_pg_proc
    union all
    select quote_ident(n.nspname), n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
      from pg_catalog.pg_namespace n where n.nspname = any(%(schemas)s)
  ) o cross join lateral aclexplode(o.acl) g
 where g.grantee <> o.owner
 group by o.name, g.grantee""",
    "owner": """
select $name, pg_get_userbyid(c.relowner)::text
  from $relation where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S')
union all
select $signature,
       pg_get_userbyid(p.proowner)
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where n.nspname = any(%(schemas)s) and $own_pg_proc
union all
select quote_ident(nspname), pg_get_userbyid(nspowner) from pg_catalog.pg_namespace
 where nspname = any(%(schemas)s)""",
    "replica identity": """
select $name, concat_ws(' ', c.relreplident, (select x.indexrelid::regclass::text
         from pg_catalog.pg_index x where x.indrelid = c.oid and x.indisreplident))
  from $relation where c.relkind in ('r', 'p')""",
    "column storage": """
select $name || '.' || quote_ident(a.attname), concat_ws(' ', a.attnum, a.attstorage, a.attcompression)
  from $relation join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where $tables""",
    "default grants": """
select format('%%I %%s %%s', n.nspname, pg_get_userbyid(d.defaclrole), d.defaclobjtype), d.defaclacl::text
  from pg_catalog.pg_default_acl d join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
 where n.nspname = any(%(schemas)s)""",
}
"""Each kind: how its names and definitions are read. The last four, owner and on, differ from server to server."""
_UNREADABLE = """
select $name from $relation
 where case c.relkind when 'S' then not has_sequence_privilege(c.oid, 'SELECT, USAGE') end
 order by 1"""


def declared(connection: Connection, schemas: Sequence[str]) -> Declared:
    """What is declared in `schemas`, in the order of kinds and names. Raises PostgresError."""
    if connection.closed:
        raise Unavailable("the connection is closed")
    given = {"schemas": list(schemas)}
    found: list[Definition] = []
    with translated(_address(connection)):
        for kind, statement in _KINDS.items():
            rows = connection.execute(_statement(statement), given).fetchall()
            found += sorted((Definition(kind, str(name), str(text)) for name, text in rows), key=lambda one: one.name)
        roles = connection.execute("select rolname::text from pg_catalog.pg_roles").fetchall()
        unreadable = connection.execute(_statement(_UNREADABLE), given).fetchall()
    major = connection.info.server_version // 10000
    return Declared(tuple(found), frozenset(row[0] for row in roles), major, tuple(row[0] for row in unreadable))


def _statement(text: str) -> bytes:
    return Template(text).substitute(_PARTS).encode()


def _address(connection: Connection) -> Address:
    """Where a connection leads: for the texts of errors."""
    info = connection.info
    return Address(info.host, info.port, info.dbname, info.user)

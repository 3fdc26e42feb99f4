"""A database as one file, by pg_dump, and back. With what a role may read, and what another server can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres import programs
from adapters.postgres.bookkeeping import SCHEMA
from adapters.postgres.catalog import quoted
from adapters.postgres.driver import Address, Connection, connect, sql, translated

APPLICATION = "crossover-backup"
_LOCK_MS = 30_000
_SCHEMAS = r"""
select n.nspname::text,
       coalesce(bool_and(has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))
                filter (where c.relkind in ('r', 'p') or c.relkind = 'S'), true)
  from pg_namespace n left join pg_class c on c.relnamespace = n.oid and not exists (
         select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 where n.nspname not like 'pg\_%%' and n.nspname <> 'information_schema' and n.nspname <> %s
 group by n.nspname order by 1
"""
_MEMBERS = """
select e.extname::text, coalesce(array_agg(n.nspname || ' ' || c.relname) filter (where c.oid is not null), '{}')
  from pg_extension e
  left join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
                       and d.classid = 'pg_class'::regclass
  left join pg_class c on c.oid = d.objid
  left join pg_namespace n on n.oid = c.relnamespace
 group by e.extname order by 1
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a dump holds: `schemas`; those `left_out`, for the role may not read all in them."""

    schemas: tuple[str, ...]
    left_out: tuple[str, ...]


def scope(connection: Connection) -> Scope:
    """All schemas of users and of a platform, without our bookkeeping: that is of no use elsewhere."""
    rows = connection.execute(_SCHEMAS, (SCHEMA,)).fetchall()
    return Scope(tuple(name for name, may in rows if may), tuple(name for name, may in rows if not may))


def dump(source: Address, path: Path, left_out: Sequence[str], snapshot: str, *, seconds: float) -> None:
    """Dump the database as it is in `snapshot`, which its exporter keeps open, to `path`. Without publications and
    subscriptions: they are of the place, not of the data. Raises Refused, Unavailable, StatementFailed."""
    with connect(source, APPLICATION) as connection:
        programs.fits("pg_dump", connection.info.server_version // 10_000)
    command = [
        "pg_dump", "--format=custom", "--compress=1", f"--snapshot={snapshot}", "--no-password", "--encoding=UTF8",
        "--quote-all-identifiers", "--no-publications", "--no-subscriptions", f"--lock-wait-timeout={_LOCK_MS}",
        f"--file={path}", *(f"--exclude-schema={quoted(name)}" for name in (SCHEMA, *left_out)),
    ]  # fmt: skip
    programs.run(command, source, seconds)


def dump_roles(source: Address, path: Path, *, seconds: float) -> None:
    """The roles of the server with their memberships, without passwords: a full restore needs them first."""
    command = [
        "pg_dumpall", "--roles-only", "--no-role-passwords", "--no-password", f"--database={source.database}",
        f"--file={path}",
    ]  # fmt: skip
    programs.run(command, source, seconds)


def role_names(connection: Connection) -> tuple[str, ...]:
    """The roles of the server, without its own."""
    rows = connection.execute(
        r"select rolname::text from pg_roles where rolname not like 'pg\_%' order by 1"
    ).fetchall()
    return tuple(row[0] for row in rows)


def extensions(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Those that are installed, each with its tables and sequences as `schema name`."""
    return {name: tuple(members) for name, members in connection.execute(_MEMBERS).fetchall()}


def make_room(server: Address, database: str, roles: Sequence[str], encoding: str) -> Address:
    """An empty database of that encoding at `server`, which is thrown away later, and the roles that things of it may
    name: superusers, for some things (event triggers) may belong to no other."""
    with connect(server, APPLICATION) as connection, translated(server):
        there = set(role_names(connection))
        for name in roles:
            if name not in there:
                connection.execute(sql.SQL("create role {} superuser nologin").format(sql.Identifier(name)))
        made = sql.SQL("create database {} template template0 encoding {}")
        connection.execute(made.format(sql.Identifier(database), sql.Literal(encoding)))
    return Address(server.host, server.port, database, server.user, server.password, server.sslmode, server.sslrootcert)


def restore(path: Path, target: Address, without: dict[str, tuple[str, ...]], *, seconds: float) -> None:
    """Restore all of `path` into the empty database `target`, but for the extensions `without` and their rows. The
    first error ends it. Raises Refused, Unavailable, StatementFailed."""
    listed = programs.run(["pg_restore", "--list", str(path)], target, seconds)
    wanted = path.with_name(path.name + ".list")
    wanted.write_text("".join(line for line in listed.splitlines(True) if not _of(line, without)))
    command = [
        "pg_restore", "--exit-on-error", "--no-password", "--no-security-labels", "--no-tablespaces", "--jobs=2",
        f"--use-list={wanted}", f"--dbname={target.database}", str(path),
    ]  # fmt: skip
    try:
        programs.run(command, target, seconds)
    finally:
        wanted.unlink()


def _of(line: str, without: dict[str, tuple[str, ...]]) -> bool:
    """Whether an entry of the list (`12; 0 16400 TABLE DATA schema name owner`) is one of these extensions'."""
    for name, members in without.items():
        if f" EXTENSION - {name} " in line or f" COMMENT - EXTENSION {name} " in line:
            return True
        if any(f" {kind} {member} " in line for kind in ("TABLE DATA", "SEQUENCE SET") for member in members):
            return True
    return False

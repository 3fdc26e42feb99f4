"""The schemas that move: dumped by pg_dump, made at the other side, and their indexes, keys and triggers built there.

Each item of a dump is one transaction, and what is there already is passed: so this goes on after a kill at any
statement. Nothing is compared here: that both sides are alike in the end is a check of its own.

Not made here: what belongs to no schema (casts, languages, servers, roles), and large objects.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from adapters.postgres import programs
from adapters.postgres.catalog import Table, quoted
from adapters.postgres.driver import SESSION, Address, Connection, connect, psycopg, translate, translated
from adapters.postgres.dumped import Item, Roles, Sifted, Waves, items, sift, takes, waves
from adapters.postgres.errors import Stopped, Unavailable

APPLICATION = "crossover-schema"
_DUMP_SECONDS = 600.0
_LOCK_MS = 30_000
_ATTEMPTS = 5
"""For one item: two foreign keys may meet in a deadlock on partitions, whose names no item holds."""
_EXISTS = frozenset({"42P06", "42P07", "42710", "42723"})
"""SQLSTATEs: schema, relation, object, function is there already."""
_ALLOWED = """
select pg_catalog.has_schema_privilege(%s, oid, 'create') and pg_catalog.has_schema_privilege(%s, oid, 'usage')
  from pg_catalog.pg_namespace where nspname = %s
"""
_MAKING: Mapping[str, str] = {
    **SESSION, "check_function_bodies": "off", "client_min_messages": "warning", "lock_timeout": "0",
}  # fmt: skip
"""No lock_timeout: a foreign key may wait for another that reads the same large table."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension, and the schema that its objects are in."""

    name: str
    schema: str
    version: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What was dumped and can be made at the other side: `before` the rows and after them, and what was `left_out`, by
    name, with the reason."""

    before: tuple[Item, ...]
    after: Waves
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Building:
    """How indexes are built: so many `workers`, and how much each may take."""

    workers: int = 2
    settings: Mapping[str, str] = field(
        default_factory=lambda: {"maintenance_work_mem": "256MB", "max_parallel_maintenance_workers": "2"}
    )


def dump(source: Address, schemas: Sequence[str], roles: Roles, *, program: str = "pg_dump") -> Schema:
    """Dump `schemas`. Raises StatementFailed where `program` is older than the server or a schema is not there,
    Refused, Unavailable."""
    with connect(source, APPLICATION) as connection:
        programs.fits(program, connection.info.server_version // 10_000)
    before, after = (
        sift(items(_run(source, schemas, section, program)), roles) for section in ("pre-data", "post-data")
    )
    made = Sifted(tuple(item for item in before.items if not _standard(item)), before.left_out)
    return Schema(made.items, waves(after.items), made.left_out + after.left_out)


def _standard(item: Item) -> bool:
    """What every database has: only the owner of the database may write it anew."""
    return item.kind == "COMMENT" and "'standard public schema'" in item.sql


def _run(source: Address, schemas: Sequence[str], section: str, program: str) -> str:
    """What pg_dump writes."""
    command = [
        program, "--schema-only", f"--section={section}", "--no-owner", "--no-tablespaces", "--no-publications",
        "--no-subscriptions", "--no-security-labels", "--quote-all-identifiers", "--no-password", "--strict-names",
        "--encoding=UTF8", f"--lock-wait-timeout={_LOCK_MS}", *(f"--schema={quoted(name)}" for name in schemas),
    ]  # fmt: skip
    return programs.run(command, source, _DUMP_SECONDS)


def roles_of(target: Connection, owner: str, source_roles: Sequence[str]) -> Roles:
    """The roles of the target; what `source_roles` (owners at the source) may do there goes to `owner`."""
    rows = target.execute("select rolname from pg_catalog.pg_roles").fetchall()
    return Roles(frozenset(row[0] for row in rows), dict.fromkeys(source_roles, owner))


def extensions(connection: Connection) -> tuple[Extension, ...]:
    """What is installed, by name."""
    rows = connection.execute(
        "select e.extname, n.nspname, e.extversion from pg_catalog.pg_extension e"
        " join pg_catalog.pg_namespace n on n.oid = e.extnamespace order by 1"
    ).fetchall()
    return tuple(Extension(*row) for row in rows)


def ensure_extensions(at: Address, wanted: Sequence[Extension], owner: str) -> None:
    """Install those that are missing, in the schemas that they have at the source, which `owner` may use. Of the
    version that the target has: whether it is new enough is for preflight. Raises StatementFailed, Refused."""
    with connect(at, APPLICATION) as target:
        for extension in wanted:
            name, schema = quoted(extension.name), quoted(extension.schema)
            try:
                if extension.schema != "pg_catalog":
                    target.execute(f"create schema if not exists {schema}".encode())
                    target.execute(f"grant usage on schema {schema} to {quoted(owner)}".encode())
                target.execute(f"create extension if not exists {name} with schema {schema} cascade".encode())
            except psycopg.Error as error:
                ours = translate(error, at)
                raise type(ours)(f"extension {extension.name}: {ours}") from error


def make(target: Address, wanted: Sequence[Item], owner: str) -> tuple[str, ...]:
    """Make the items of pre-data, owned by `owner`; those that were there already, by name."""
    with _Maker(target, owner, {}) as maker:
        return tuple(str(item) for item in wanted if not maker.made(item))


def build(
    target: Address, wanted: Sequence[Item], owner: str, building: Building, stop: threading.Event | None = None,
    *, parallel: bool = True,
) -> tuple[str, ...]:  # fmt: skip
    """Build items of post-data, owned by `owner`; those that were there already, by name. The first failure ends all.
    Raises StatementFailed and others with the item's name; Stopped."""
    work = _Work(wanted, stop or threading.Event())
    workers = max(1, min(building.workers, len(wanted))) if parallel else 1
    with ExitStack() as stack:
        makers = [stack.enter_context(_Maker(target, owner, building.settings)) for _ in range(workers)]
        threads = [
            threading.Thread(target=work.run, args=(maker,), name=f"build-{number}")
            for number, maker in enumerate(makers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if work.failure is not None:
        raise work.failure
    if work.stopped:
        raise Stopped(f"{target}: told to stop with {len(work.waiting)} of {len(wanted)} items to be built")
    return tuple(work.there)


def build_keys(
    target: Address, schema: Schema, owner: str, building: Building, stop: threading.Event | None = None
) -> None:
    """What the stream needs before it applies anything: primary keys, and indexes chosen as replica identity."""
    build(target, schema.after.keys, owner, building, stop)


def build_rest(
    target: Address, schema: Schema, owner: str, building: Building, stop: threading.Event | None = None
) -> None:
    """All else, wave by wave, then the content of the materialised views."""
    for parallel, wave in schema.after.rest:
        build(target, wave, owner, building, stop, parallel=parallel)
    refresh(target, schema)


def refresh(target: Address, schema: Schema) -> None:
    """Fill the materialised views of `schema` that have no content: in the order in which they were made, for one may
    read another."""
    made = {item.schema for item in schema.before} - {"-"}
    with connect(target, APPLICATION, session=_MAKING) as connection, translated(target):
        rows = connection.execute(
            "select n.nspname, c.relname from pg_catalog.pg_class c"
            " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind = 'm' and not c.relispopulated and n.nspname = any(%s) order by c.oid",
            (sorted(made),),
        ).fetchall()
        for row in rows:
            connection.execute(f"refresh materialized view {quoted(row[0])}.{quoted(row[1])}".encode())


def analyze(target: Address, tables: Sequence[Table]) -> None:
    """Let the planner know what was copied: without it the first queries there would be planned blindly."""
    with connect(target, APPLICATION, session=_MAKING) as connection, translated(target):
        for table in tables:
            connection.execute(f"analyze {table.qualified}".encode())


class _Work:
    """Items that some threads build, so that none waits for a lock that another holds."""

    def __init__(self, wanted: Sequence[Item], stop: threading.Event) -> None:
        self.waiting = list(wanted)
        self.there: list[str] = []
        self.failure: BaseException | None = None
        self.stopped = False
        self._running: list[Item] = []
        self._stop = stop
        self._changed = threading.Condition()

    def run(self, maker: _Maker) -> None:
        """Build items until there is none left, or one failed."""
        while (item := self._next()) is not None:
            failure: BaseException | None = None
            made = True
            try:
                made = maker.retried(item)
            except BaseException as error:  # told to whom waits for this thread
                failure = error
            with self._changed:
                self._running.remove(item)
                self.failure = self.failure or failure
                if not made:
                    self.there.append(str(item))
                self._changed.notify_all()

    def _next(self) -> Item | None:
        with self._changed:
            while True:
                if self._stop.is_set() and self.waiting:
                    self.stopped = True
                if not self.waiting or self.failure is not None or self.stopped:
                    return None
                item = takes(self.waiting, self._running)
                if item is not None:
                    self.waiting.remove(item)
                    self._running.append(item)
                    return item
                self._changed.wait()


class _Maker:
    """One session in which `owner` makes things, whoever connected."""

    def __init__(self, target: Address, owner: str, settings: Mapping[str, str]) -> None:
        self._target = target
        self._owner = owner
        self._connection = connect(target, APPLICATION, session={**_MAKING, **settings})
        try:
            with translated(target):
                self._become_owner()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _become_owner(self) -> None:
        self._connection.execute(f"set role {quoted(self._owner)}".encode())

    def retried(self, item: Item) -> bool:
        """`made`, again where nothing but a lock was in the way."""
        for attempt in Retrying(
            retry=retry_if_exception_type(_Again), stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=2.0), reraise=True,
        ):  # fmt: skip
            with attempt:
                return self.made(item)
        raise AssertionError("unreachable: Retrying returns or raises")

    def made(self, item: Item) -> bool:
        """Make `item`, whole or not at all; False where it was there already."""
        try:
            if item.kind == "SCHEMA" or (item.kind in {"ACL", "COMMENT"} and item.name.startswith("SCHEMA ")):
                self._make_as_connected(item)
            else:
                self._connection.execute(item.sql.encode())
        except psycopg.Error as error:
            if self._there(item, error):
                return False
            ours = translate(error, self._target)
            again = isinstance(ours, Unavailable) and not self._connection.broken
            raise (_Again if again else type(ours))(f"{item}: {ours}") from error
        return True

    def _make_as_connected(self, item: Item) -> None:
        """The owner may make no schemas, and `public` is not its own."""
        with self._connection.transaction():
            self._connection.execute("reset role")
            if item.kind == "SCHEMA":
                self._ensure_schema(item.name)
            else:
                self._connection.execute(item.sql.encode())
            self._become_owner()

    def _ensure_schema(self, name: str) -> None:
        schema, owner = quoted(name), quoted(self._owner)
        known = self._connection.execute(_ALLOWED, (self._owner, self._owner, name)).fetchone()
        if known is None:
            self._connection.execute(f"create schema {schema} authorization {owner}".encode())
        elif not known[0]:
            self._connection.execute(f"grant all on schema {schema} to {owner}".encode())

    def _there(self, item: Item, error: psycopg.Error) -> bool:
        """Whether `error` says that `item` had been made before."""
        if error.sqlstate in _EXISTS:
            return True
        if error.sqlstate == "42P16" and "PRIMARY KEY" in item.sql:
            return True  # "multiple primary keys"
        if item.kind != "TABLE ATTACH" or error.sqlstate != "42809":
            return False
        row = self._connection.execute(
            "select relispartition from pg_catalog.pg_class where oid = pg_catalog.to_regclass(%s)",
            (f"{quoted(item.schema)}.{quoted(item.name)}",),
        ).fetchone()
        return row is not None and bool(row[0])


class _Again(Unavailable):
    """A deadlock or the like: nothing happened, and the connection is well."""

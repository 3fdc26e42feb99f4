"""A database copied by us, by `pg_dump -Fd -j2` and then `pg_restore -j2`, and by pgcopydb where it is installed:
schema, rows, indexes, foreign keys.

One table is large and its keys are skewed, some are small. All work with two connections to the source; pg_restore
cannot begin before pg_dump has ended. pg_dump compresses by gzip unless told otherwise, which costs it most of its
time: so it is also measured without.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.postgres import schema
from adapters.postgres.catalog import tables
from adapters.postgres.copying import Copy, CopySettings
from adapters.postgres.driver import Address, connect, sql
from adapters.postgres.schema import Building
from benchmarks.frame import Figure, ratios, take_turns
from benchmarks.resident import MIB, Peak, peak
from tests.contract.postgres_server import Postgres
from tests.contract.two_postgres import HOSTED_ROLE, OWN_ROLE, SETTINGS, Pair, address, new_pair, two_servers

ENV_ROWS = "CROSSOVER_BENCH_ROWS"
DEFAULT_ROWS = 1_000_000
"""About 200 MB."""
ROUNDS = 3
JOBS = 2
LIMIT, AIM = 0.8, 0.5
PLAIN_LIMIT, PLAIN_AIM = 1.0, 0.8
"""Without compression both spend their time in the same work of the same two servers; what is won is that reading and
writing overlap, and that the large table is not one stream: nothing, where two processes fill the machine already."""
MEMORY_LIMIT, MEMORY_AIM = 64, 32
"""MiB, of any table: what is in hand is a block of each of the workers."""
SCHEMA = "bench"
SERVERS = {
    **SETTINGS, "fsync": "on", "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
}  # fmt: skip
_SMALL = 4
_DUMPING = "`pg_dump -Fd -j{0}{1}`, then `pg_restore -j{0}`"
_STATEMENTS = (
    f"create schema {SCHEMA}",
    "select setseed(0.5)",
    *(
        f"create table {SCHEMA}.small_{number} (id int primary key, name text not null unique)"
        for number in range(_SMALL)
    ),
    *(
        f"insert into {SCHEMA}.small_{number} select g, md5(g::text) from generate_series(0, 9999) g"  # noqa: S608
        for number in range(_SMALL)
    ),
    f"""create table {SCHEMA}.large (
          id bigint primary key, account int not null references {SCHEMA}.small_0, symbol text not null,
          price numeric(14, 4) not null, quantity bigint not null, at timestamptz not null, note text, detail jsonb)""",
    f"create index on {SCHEMA}.large (account, at)",
    f"create index on {SCHEMA}.large (symbol)",
)
_ROWS = f"""
insert into {SCHEMA}.large
select g + (power(g / {{rows}}::float8, 12) * 1e15)::bigint, floor(power(random(), 4) * 10000)::int,
       'SYM' || g % 500, (random() * 1000)::numeric(14, 4), g % 10000, '2024-01-01'::timestamptz + g * interval '1 s',
       md5(g::text), jsonb_build_object('venue', g % 7, 'tag', md5((g + 1)::text))
  from generate_series(1, {{rows}}) g
"""  # noqa: S608 - names and a number


@dataclass(frozen=True, slots=True)
class Move:
    """One copy of the whole: how long it took, and how much memory of this process."""

    seconds: float
    memory: Peak


class World:
    """Two servers, and the database that is copied from one into a new one of the other, again and again."""

    def __init__(self, hosted: Postgres, own: Postgres, rows: int) -> None:
        self._own = own
        self.rows = rows
        self.pair: Pair = new_pair(hosted, own)
        with connect(self.pair.hosted, "bench") as connection:
            for statement in (*_STATEMENTS, _ROWS.format(rows=rows)):
                connection.execute(statement.encode())
        with connect(self.pair.hosted_admin, "bench") as admin:
            admin.execute("vacuum analyze")

    def size(self) -> int:
        """Bytes of the large table, without indexes."""
        with connect(self.pair.hosted, "bench") as connection:
            return next(t.bytes for t in tables(connection, [SCHEMA]) if t.name == "large")

    def moved(self, move: Callable[[Address], None], then: Callable[[Address], None] = lambda _: None) -> Move:
        """Copy into a new database, which is looked at, handed on to `then`, and dropped."""
        target = address(self._own, "moved", "postgres")
        with connect(address(self._own, "postgres", "postgres"), "bench") as admin:
            admin.execute(sql.SQL("create database moved owner {}").format(sql.Identifier(OWN_ROLE)))
            admin.execute("checkpoint")
            try:
                begun = time.monotonic()
                _, memory = peak(lambda: move(target))
                taken = Move(time.monotonic() - begun, memory)
                self._look(target)
                then(target)
                return taken
            finally:
                admin.execute("drop database moved with (force)")

    def _look(self, target: Address) -> None:
        """All of it is there: a copy that left something out would be fast."""
        with connect(target, "bench") as connection:
            found = connection.execute(
                f"select (select count(*) from {SCHEMA}.large), "  # noqa: S608 - names of this module
                f"(select count(*) from pg_index where indrelid::regclass::text like '{SCHEMA}.%'), "
                "(select count(*) from pg_constraint where contype = 'f' and convalidated)"
            ).fetchone()
        assert found == (self.rows, 3 + 2 * _SMALL, 1), found

    def ours(self, target: Address) -> None:
        """As a move does it, only without a pause for the stream."""
        with connect(target, "bench") as connection:
            roles = schema.roles_of(connection, OWN_ROLE, [HOSTED_ROLE])
        wanted = schema.dump(self.pair.hosted, [SCHEMA], roles)
        schema.make(target, wanted.before, OWN_ROLE)
        with connect(self.pair.hosted, "bench") as connection:
            found = tables(connection, [SCHEMA])
        Copy(self.pair.hosted, target, found, CopySettings(workers=JOBS)).run()
        building = Building(workers=JOBS)
        schema.build_keys(target, wanted, OWN_ROLE, building)
        schema.build_rest(target, wanted, OWN_ROLE, building)

    def theirs(self, target: Address, *options: str) -> None:
        """pg_dump into a folder, then pg_restore from it."""
        with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder:
            there = str(Path(folder) / "dump")
            _run(self.pair.hosted, "pg_dump", "-Fd", f"-j{JOBS}", *options, "-f", there, f"--schema={SCHEMA}")
            _run(target, "pg_restore", f"-j{JOBS}", "--no-owner", f"--role={OWN_ROLE}", "-d", target.database, there)

    def pgcopydb(self, target: Address) -> None:
        """`pgcopydb clone`, which pipes rows as we do, and builds a table's indexes while it copies the next one."""
        source = self.pair.hosted
        uri = "postgresql://{0.user}@{0.host}:{0.port}/{0.database}?sslmode=disable"
        given = {"PGCOPYDB_SOURCE_PGURI": uri.format(source), "PGCOPYDB_TARGET_PGURI": uri.format(target)}
        options = ("--no-owner", "--no-acl", "--skip-large-objects", "--skip-extensions")
        jobs = (f"--table-jobs={JOBS}", f"--index-jobs={JOBS}")
        with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder:
            subprocess.run(
                ("pgcopydb", "clone", *jobs, *options, "--dir", str(Path(folder) / "work")),
                # Both servers have the same password, and so it stands in no argument.
                env={**os.environ, "PGPASSWORD": source.password, **given}, check=True, capture_output=True, text=True,
            )  # fmt: skip


def _run(at: Address, *command: str) -> None:
    subprocess.run(command, env={**os.environ, **at.environment}, check=True)


def _by_pgcopydb(world: World) -> Callable[[Address], None] | None:
    """How pgcopydb copies; None, and a line that says so, where it is not there or cannot: it keeps to few versions."""
    if shutil.which("pgcopydb") is None:
        print("pgcopydb is not installed (Debian and Ubuntu have it): no figure against it")
        return None
    try:
        world.moved(world.pgcopydb)
    except subprocess.CalledProcessError as error:
        print(f"pgcopydb ended with {error.returncode}: no figure against it. It said: {error.stderr[-500:]}")
        return None
    return world.pgcopydb


def figures() -> list[Figure]:
    """Time against pg_dump and pg_restore and against pgcopydb, and memory."""
    with two_servers(SERVERS) as (hosted, own):
        world = World(hosted, own, int(os.environ.get(ENV_ROWS, DEFAULT_ROWS)))
        what = f"{world.rows} rows, {world.size() / 1e6:.0f} MB, and {_SMALL} small tables"
        movers: dict[str, Callable[[Address], None]] = {
            "ours": world.ours,
            "gzip": world.theirs,
            "plain": lambda target: world.theirs(target, "-Z0"),
        }
        if (theirs := _by_pgcopydb(world)) is not None:
            movers["pgcopydb"] = theirs
        rounds = take_turns(ROUNDS, {name: partial(world.moved, mover) for name, mover in movers.items()})
    seconds = {name: [move.seconds for move in moves] for name, moves in rounds.items()}
    memory = max(move.memory.rise for move in rounds["ours"])
    return [
        _ratio("copy_ratio", (LIMIT, AIM), seconds["ours"], seconds["gzip"], _DUMPING.format(JOBS, ""), what),
        _ratio(
            "copy_ratio_uncompressed", (PLAIN_LIMIT, PLAIN_AIM), seconds["ours"], seconds["plain"],
            _DUMPING.format(JOBS, " -Z0"), what,
        ),
        *(
            _ratio("copy_ratio_pgcopydb", (LIMIT, AIM), seconds["ours"], seconds[name],
                   f"`pgcopydb clone` with {JOBS} jobs, which also analyses the tables", what)
            for name in seconds.keys() & {"pgcopydb"}
        ),
        Figure(
            figure="copy_memory", value=memory / MIB, unit="MiB", limit=MEMORY_LIMIT, aim=MEMORY_AIM, at_most=True,
            how=f"resident memory of this process at its peak, beyond what it had before; {what}",
        ),
    ]  # fmt: skip


def _ratio(
    name: str, bounds: tuple[float, float], ours: list[float], theirs: list[float], peer: str, what: str
) -> Figure:
    ratio = ratios(ours, theirs)
    return Figure(
        figure=name, value=ratio.median, unit="x", limit=bounds[0], aim=bounds[1], at_most=True,
        how=f"schema, rows, indexes and foreign keys in {statistics.median(ours):.1f} s with {JOBS} workers, against "
        f"{statistics.median(theirs):.1f} s of {peer}; {what}; {ratio.text}",
    )  # fmt: skip

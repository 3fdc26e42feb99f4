"""A database copied by us, and by `pg_dump -Fd -j2` and then `pg_restore -j2`: schema, rows, indexes, foreign keys.

One table is large and its keys are skewed, some are small. Both work with two connections to the source; pg_restore
cannot begin before pg_dump has ended. pg_dump compresses by gzip unless told otherwise, which costs it most of its
time: so it is also measured without.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres import schema
from adapters.postgres.catalog import tables
from adapters.postgres.copying import Copy, CopySettings
from adapters.postgres.driver import Address, connect, sql
from adapters.postgres.schema import Building
from benchmarks.frame import Figure, ratios, take_turns
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
_SCHEMA = "bench"
_MIB = float(1 << 20)
_SERVERS = {
    **SETTINGS, "fsync": "on", "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
}  # fmt: skip
_SMALL = 4
_STATEMENTS = (
    f"create schema {_SCHEMA}",
    "select setseed(0.5)",
    *(
        f"create table {_SCHEMA}.small_{number} (id int primary key, name text not null unique)"
        for number in range(_SMALL)
    ),
    *(
        f"insert into {_SCHEMA}.small_{number} select g, md5(g::text) from generate_series(0, 9999) g"  # noqa: S608
        for number in range(_SMALL)
    ),
    f"""create table {_SCHEMA}.large (
          id bigint primary key, account int not null references {_SCHEMA}.small_0, symbol text not null,
          price numeric(14, 4) not null, quantity bigint not null, at timestamptz not null, note text, detail jsonb)""",
    f"create index on {_SCHEMA}.large (account, at)",
    f"create index on {_SCHEMA}.large (symbol)",
)
_ROWS = f"""
insert into {_SCHEMA}.large
select g + (power(g / {{rows}}::float8, 12) * 1e15)::bigint, floor(power(random(), 4) * 10000)::int,
       'SYM' || g % 500, (random() * 1000)::numeric(14, 4), g % 10000, '2024-01-01'::timestamptz + g * interval '1 s',
       md5(g::text), jsonb_build_object('venue', g % 7, 'tag', md5((g + 1)::text))
  from generate_series(1, {{rows}}) g
"""  # noqa: S608 - names and a number


@dataclass(frozen=True, slots=True)
class Move:
    """One copy of the whole: how long it took, and how much memory of this process."""

    seconds: float
    memory: int = 0


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
            return next(t.bytes for t in tables(connection, [_SCHEMA]) if t.name == "large")

    def moved(self, move: Callable[[Address], None]) -> Move:
        """Copy into a new database, which is looked at and dropped afterwards."""
        target = address(self._own, "moved", "postgres")
        with connect(address(self._own, "postgres", "postgres"), "bench") as admin:
            admin.execute(sql.SQL("create database moved owner {}").format(sql.Identifier(OWN_ROLE)))
            admin.execute("checkpoint")
            try:
                before = _reset_peak()
                begun = time.monotonic()
                move(target)
                taken = Move(time.monotonic() - begun, _status("VmHWM") - before)
                self._look(target)
                return taken
            finally:
                admin.execute("drop database moved with (force)")

    def _look(self, target: Address) -> None:
        """All of it is there: a copy that left something out would be fast."""
        with connect(target, "bench") as connection:
            found = connection.execute(
                f"select (select count(*) from {_SCHEMA}.large), "  # noqa: S608 - names of this module
                f"(select count(*) from pg_index where indrelid::regclass::text like '{_SCHEMA}.%'), "
                "(select count(*) from pg_constraint where contype = 'f' and convalidated)"
            ).fetchone()
        assert found == (self.rows, 3 + 2 * _SMALL, 1), found

    def ours(self, target: Address) -> None:
        """As a move does it, only without a pause for the stream."""
        with connect(target, "bench") as connection:
            roles = schema.roles_of(connection, OWN_ROLE, [HOSTED_ROLE])
        wanted = schema.dump(self.pair.hosted, [_SCHEMA], roles)
        schema.make(target, wanted.before, OWN_ROLE)
        with connect(self.pair.hosted, "bench") as connection:
            found = tables(connection, [_SCHEMA])
        Copy(self.pair.hosted, target, found, CopySettings(workers=JOBS)).run()
        building = Building(workers=JOBS)
        schema.build_keys(target, wanted, OWN_ROLE, building)
        schema.build_rest(target, wanted, OWN_ROLE, building)

    def theirs(self, target: Address, *options: str) -> None:
        """pg_dump into a folder, then pg_restore from it."""
        with tempfile.TemporaryDirectory(prefix="crossover-bench-") as folder:
            there = str(Path(folder) / "dump")
            _run(self.pair.hosted, "pg_dump", "-Fd", f"-j{JOBS}", *options, "-f", there, f"--schema={_SCHEMA}")
            _run(target, "pg_restore", f"-j{JOBS}", "--no-owner", f"--role={OWN_ROLE}", "-d", target.database, there)


def _run(at: Address, *command: str) -> None:
    subprocess.run(command, env={**os.environ, **at.environment}, check=True)


def _reset_peak() -> int:
    """Let the peak of resident memory begin anew; what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def figures() -> list[Figure]:
    """Time against pg_dump and pg_restore, and memory."""
    with two_servers(_SERVERS) as (hosted, own):
        world = World(hosted, own, int(os.environ.get(ENV_ROWS, DEFAULT_ROWS)))
        what = f"{world.rows} rows, {world.size() / 1e6:.0f} MB, and {_SMALL} small tables"
        rounds = take_turns(
            ROUNDS,
            {
                "ours": lambda: world.moved(world.ours),
                "gzip": lambda: world.moved(world.theirs),
                "plain": lambda: world.moved(lambda target: world.theirs(target, "-Z0")),
            },
        )
    seconds = {name: [move.seconds for move in moves] for name, moves in rounds.items()}
    memory = max(move.memory for move in rounds["ours"])
    return [
        _ratio("copy_ratio", (LIMIT, AIM), seconds["ours"], seconds["gzip"], f"-j{JOBS}", what),
        _ratio(
            "copy_ratio_uncompressed", (PLAIN_LIMIT, PLAIN_AIM), seconds["ours"], seconds["plain"],
            f"-j{JOBS} -Z0", what,
        ),
        Figure(
            figure="copy_memory", value=memory / _MIB, unit="MiB", limit=64, aim=32, at_most=True,
            how=f"resident memory of this process at its peak, beyond what it had before; {what}",
        ),
    ]  # fmt: skip


def _ratio(
    name: str, bounds: tuple[float, float], ours: list[float], theirs: list[float], options: str, what: str
) -> Figure:
    ratio = ratios(ours, theirs)
    return Figure(
        figure=name, value=ratio.median, unit="x", limit=bounds[0], aim=bounds[1], at_most=True,
        how=f"schema, rows, indexes and foreign keys in {statistics.median(ours):.1f} s with {JOBS} workers, against "
        f"{statistics.median(theirs):.1f} s of `pg_dump -Fd {options}`, then `pg_restore -j{JOBS}`; {what}; "
        f"{ratio.text}",
    )  # fmt: skip

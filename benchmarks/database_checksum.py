"""What it costs to compare the rows of two servers, against counting them at the slower side.

Both sides are on this machine, so both are counted at the same time too: otherwise the comparison would pay for a
second server on the same cores. The count that is the measure reads the rows, as it does of a table that is written
to; of one that was just vacuumed Postgres counts the entries of an index, a tenth of the bytes: that is measured too.
CROSSOVER_BENCH_ROWS sets how many rows; 10 million of them are 2 GB.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from adapters.postgres.catalog import tables
from adapters.postgres.driver import SESSION, Address, Connection, connect
from benchmarks.frame import Figure, Spread, ratios, take_turns
from benchmarks.resident import MIB, peak
from tests.contract.two_postgres import new_pair, two_servers
from validation.database.rows import compare
from validation.result import Verdict

ENV_ROWS = "CROSSOVER_BENCH_ROWS"
DEFAULT_ROWS = 1_000_000
ROUNDS = 9
LIMIT, AIM = 3, 1.5
MEMORY_LIMIT, MEMORY_AIM = 64, 32
"""MiB, of any table: sums come here, and rows only where they differ."""
SCHEMA = "bench"
_CREATE = f"""
create table {SCHEMA}.trades (id bigint primary key, account integer not null, symbol text not null,
    price numeric(18, 6) not null, quantity bigint not null, at timestamptz not null, note text)
"""
_FILL = f"""
insert into {SCHEMA}.trades
select n, n % 1000, 'SYM' || n % 50, (n % 100000) / 100.0, n % 77, '2024-01-01'::timestamptz + n * interval '1 s',
       repeat(md5(n::text), 4) from generate_series(1, %s) n
"""  # noqa: S608  SCHEMA is a constant


def checksum(a: Address, b: Address, schema: str, rounds: int = ROUNDS) -> list[Figure]:
    """The comparison of `schema` at both sides against count(*) of the slower side; the rows must be the same."""
    reading = {**SESSION, "enable_indexonlyscan": "off"}
    memory = 0

    def compared() -> float:
        nonlocal memory
        seconds, most = peak(lambda: _timed(lambda: _same(a, b, *sides)))
        memory = max(memory, most.rise)
        return seconds

    with ThreadPoolExecutor(1) as beside, ExitStack() as stack:
        first, second, reader, other = (
            stack.enter_context(connect(at, "bench", session=session))
            for session in (SESSION, reading)
            for at in (a, b)
        )
        found = tables(first, [schema])
        sides = found, tables(second, [schema])
        names = [table.qualified for table in found]
        seconds = take_turns(
            rounds,
            {
                "planned": lambda: _counted(first, second, names, beside),
                "count": lambda: _counted(reader, other, names, beside),
                "checksum": compared,
            },
        )
    rows, size = sum(table.rows for table in found), sum(table.bytes for table in found) / 1e6
    of = f"about {rows} rows, {size:.0f} MB a side; {rows / statistics.median(seconds['checksum']):.0f} rows/s"
    times, planned = (ratios(seconds["checksum"], seconds[name]) for name in ("count", "planned"))
    return _figures(times, planned, memory, of)


def _figures(times: Spread, planned: Spread, memory: int, of: str) -> list[Figure]:
    return [
        Figure(
            figure="checksum_to_count", value=times.median, unit="x", limit=LIMIT, aim=AIM, at_most=True,
            how="rows of both sides compared against count(*) at both sides at once, the slower one's time; both read "
            f"the rows, with the processes that the servers give a query; {of}; {times.text}",
        ),
        Figure(
            figure="checksum_to_index_count", value=planned.median, unit="x", at_most=True,
            how=f"the same against count(*) as planned right after VACUUM, by an index alone; {of}; {planned.text}",
        ),
        Figure(
            figure="compare_memory", value=memory / MIB, unit="MiB", limit=MEMORY_LIMIT, aim=MEMORY_AIM, at_most=True,
            how=f"resident memory of this process at its peak, beyond what it had before; {of}",
        ),
    ]  # fmt: skip


def figures() -> list[Figure]:
    """The figures on two servers and a table of this module's own."""
    count = int(os.environ.get(ENV_ROWS, DEFAULT_ROWS))
    with two_servers() as (hosted, own):
        pair = new_pair(hosted, own)
        for address in (pair.hosted, pair.own):
            with connect(address, "bench") as connection:
                connection.execute(f"create schema {SCHEMA}")
                connection.execute(_CREATE)
                connection.execute(_FILL.replace("n % ", "n %% "), (count,))
                connection.execute(f"vacuum (analyze, freeze) {SCHEMA}.trades")
        return checksum(pair.hosted, pair.own, SCHEMA)


def _same(a: Address, b: Address, *sides: object) -> None:
    found = compare(a, b, *sides)  # type: ignore[arg-type]
    if found.verdict is not Verdict.HOLDS:
        raise AssertionError(f"the sides differ: {found.report().failures()}")


def _counted(a: Connection, b: Connection, names: list[str], beside: ThreadPoolExecutor) -> float:
    """The seconds of the slower side."""
    other = beside.submit(_timed, lambda: _count(b, names))
    return max(_timed(lambda: _count(a, names)), other.result())


def _count(connection: Connection, names: list[str]) -> None:
    for name in names:
        connection.execute(f"select count(*) from only {name}".encode()).fetchall()  # noqa: S608  of the catalog, quoted


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

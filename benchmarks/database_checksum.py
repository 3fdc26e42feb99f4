"""What it costs to compare the rows of two servers, against counting them at the slower side.

Both sides are on this machine, so both are counted at the same time too: otherwise the comparison would pay for a
second server on the same cores. CROSSOVER_BENCH_ROWS sets how many rows; 10 million of them are 2 GB.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from adapters.postgres.catalog import tables
from adapters.postgres.driver import Address, Connection, connect
from benchmarks.frame import Figure, ratios, take_turns
from tests.contract.two_postgres import new_pair, two_servers
from validation.database.rows import compare
from validation.result import Verdict

ENV_ROWS = "CROSSOVER_BENCH_ROWS"
DEFAULT_ROWS = 1_000_000
ROUNDS = 5
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
    with connect(a, "bench") as first, connect(b, "bench") as second:
        found = tables(first, [schema])
        sides = found, tables(second, [schema])
        with ThreadPoolExecutor(1) as beside:
            seconds = take_turns(
                rounds,
                {
                    "count": lambda: _counted(first, second, [table.qualified for table in found], beside),
                    "checksum": lambda: _timed(lambda: _same(a, b, *sides)),
                },
            )
    times = ratios(seconds["checksum"], seconds["count"])
    rows, size = sum(table.rows for table in found), sum(table.bytes for table in found) / 1e6
    rate = rows / statistics.median(seconds["checksum"])
    return [
        Figure(
            figure="checksum_to_count", value=times.median, unit="x", limit=3, aim=1.5, at_most=True,
            how=f"rows of both sides compared against count(*) at both sides at once, the slower one's time; "
            f"about {rows} rows, {size:.0f} MB a side; {rate:.0f} rows/s; {times.text}",
        )
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

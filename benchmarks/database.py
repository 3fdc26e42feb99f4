"""What moving the database costs, on two real Postgres servers on loopback.

`make bench NAME=database` takes all figures; `python -m benchmarks database PART ...` some of them. How many rows the
large table has is set by CROSSOVER_BENCH_ROWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import copying, database_checksum
from benchmarks.frame import Figure

PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "copy": copying.figures,
    "checksum": database_checksum.figures,
}


def run(parts: Sequence[str] = ()) -> list[Figure]:
    """The figures of `parts`, of all where none is named. Raises KeyError for a part that is not there."""
    return [figure for part in parts or PARTS for figure in PARTS[part]()]

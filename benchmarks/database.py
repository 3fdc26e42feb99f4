"""What moving the database costs, on two real Postgres servers and a real PgBouncer on loopback.

`make bench NAME=database` takes all figures but those of `memory`, in about seven minutes; `python -m benchmarks
database PART ...` some of them. How many rows the large table has is set by CROSSOVER_BENCH_ROWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import copying, database_checksum, database_memory, database_path, database_pause
from benchmarks.frame import Figure
from tests.contract.pooler.bench import find_pgbouncer
from tests.contract.postgres_server import find_postgres

PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "copy": copying.figures,
    "checksum": database_checksum.figures,
    "path": database_path.figures,
    "pause": database_pause.figures,
    "memory": database_memory.figures,
}
_ASKED_FOR = {"memory"}
"""Runs only where it is named: it takes minutes, and gigabytes of disk."""


def run(parts: Sequence[str] = ()) -> list[Figure]:
    """The figures of `parts`, of all that are not long where none is named. Raises KeyError for a part that is not
    there."""
    wanted = [PARTS[part] for part in parts or PARTS if part in parts or part not in _ASKED_FOR]
    if find_postgres() is None or find_pgbouncer() is None:
        raise SystemExit(
            "this benchmark needs a Postgres server's binaries (CROSSOVER_POSTGRES_BIN) and PgBouncer "
            "(CROSSOVER_PGBOUNCER): nothing was measured. Install them, or name where they are"
        )
    return [figure for part in wanted for figure in part()]

"""One part of a table carried from one server to the other, exactly once. The decisions are copying.py's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.postgres import chunks
from adapters.postgres.catalog import quoted
from adapters.postgres.chunks import Planned
from adapters.postgres.driver import SESSION, Address, lsn, lsn_text
from adapters.postgres.errors import Conflict, Refused
from adapters.postgres.piping import End, Piped, pipe
from adapters.postgres.side import Side, open_side, opened

APPLICATION = "crossover-copy"
_BOTH = {**SESSION, "client_encoding": "UTF8", "standard_conforming_strings": "on"}
READING: Mapping[str, str] = {
    # The source serves: one process a connection, and ranges of keys by their index.
    **_BOTH, "jit": "off", "max_parallel_workers_per_gather": "0", "random_page_cost": "1.1",
}  # fmt: skip
WRITING: Mapping[str, str] = {
    # A part that is lost with the server is copied again: only the end of all has to be durable.
    **_BOTH, "synchronous_commit": "off",
}  # fmt: skip
LOCK_MS = 1000
"""Writers queue behind a lock that is waited for: so it is waited for briefly, and often."""
_CLAIM = "select done is not null from crossover.chunk where relation = %s and part = %s for update"
_DONE = """
update crossover.chunk set copied_rows = %s, copied_bytes = %s, seen = %s::pg_catalog.pg_lsn, done = now()
 where relation = %s and part = %s
"""


@dataclass(frozen=True, slots=True)
class Held:
    """The one snapshot for tables without a key: it holds exactly what was committed in them before `exact`."""

    name: str
    exact: int


@contextlib.contextmanager
def held(source: Address, relations: Sequence[str], patience: Callable[[Callable[[], None]], None]) -> Iterator[Held]:
    """Such a snapshot of `relations` (quoted), for as long as a block lasts. `patience` calls what it is given until
    the lock is had."""
    with opened(source, APPLICATION, READING) as holder:
        with opened(source, APPLICATION, READING) as locker:
            patience(lambda: _lock(locker, relations))
            holder.run("begin isolation level repeatable read read only")
            name, at = holder.row(
                "select pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_wal_insert_lsn()::text"
            )
        yield Held(name, lsn(at))


def _lock(locker: Side, relations: Sequence[str]) -> None:
    locker.run("rollback; begin")
    locker.run(f"set local lock_timeout = {LOCK_MS}")
    locker.run(f"lock table only {', only '.join(relations)} in share mode")


class Carrier:
    """The two connections of one worker, opened when they are needed."""

    def __init__(self, source: Address, target: Address, travelling: frozenset[str]) -> None:
        self._source = source
        self._target = target
        self._travelling = travelling
        self._open: tuple[Side, Side] | None = None

    def close(self) -> None:
        """Give up both, and with them what was under way."""
        sides, self._open = self._open, None
        for side in sides or ():
            side.close()

    def carry(self, each: Planned, held: Held | None, moved: Callable[[int], None]) -> Piped:
        """One part, whole or not at all. Nothing where it turns out to be copied: by a run that was thought dead, or
        by an attempt whose answer was lost. After an error the connections are closed."""
        try:
            source, target = self._sides()
            return self._carry(source, target, each, held, moved)
        except BaseException:
            self.close()
            raise

    def _sides(self) -> tuple[Side, Side]:
        if self._open is None:
            target = open_side(self._target, APPLICATION, WRITING)
            try:
                # Where it is refused nothing is lost: triggers and foreign keys come after the rows.
                with contextlib.suppress(Refused):
                    target.run("set session_replication_role = replica")
                self._open = open_side(self._source, APPLICATION, READING), target
            except BaseException:
                target.close()
                raise
        return self._open

    def _carry(
        self, source: Side, target: Side, each: Planned, held: Held | None, moved: Callable[[int], None]
    ) -> Piped:
        part = each.part
        target.run("begin")
        claimed = target.rows(_CLAIM, (part.relation, part.number))
        if not claimed:
            raise Conflict("it is not in crossover.chunk any more: another run has begun it anew")
        if claimed[0][0]:
            target.run("rollback")
            return Piped(0, 0)
        source.run("begin isolation level repeatable read read only")
        if held is not None:
            source.run(f"set transaction snapshot '{held.name}'")
        # The first query takes the snapshot, and then is run: so this is after all that the snapshot holds.
        (seen,) = source.row("select pg_catalog.pg_current_wal_insert_lsn()::text")
        piped = self._pipe(source, target, each, moved)
        at = seen if held is None else lsn_text(held.exact)
        target.run(_DONE, (piped.rows, piped.bytes, at, part.relation, part.number))
        target.run("commit")
        source.run("rollback")
        return piped

    def _pipe(self, source: Side, target: Side, each: Planned, moved: Callable[[int], None]) -> Piped:
        table = each.table
        form = "binary" if chunks.binary(table, self._travelling) else "text"
        columns = ", ".join(quoted(column.name) for column in table.stored)
        given = f"copy ({chunks.select(table, each.part)}) to stdout (format {form})"
        taken = f"copy {table.qualified} {f'({columns})' if columns else ''} from stdin (format {form})"
        return pipe(End(source, given), End(target, taken), moved)

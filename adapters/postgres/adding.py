"""Tables that came later, copied while the streams run.

They are read in one snapshot, taken when nobody is in the midst of writing to them: so it holds all that was written
before they were published. At the target they are filled in one transaction, which has the stream's mark before the
snapshot is taken: what a carrier applied by then is in the snapshot too, so to delete it loses nothing; none applies
more until all is there; and the stream that leads back takes it for ours. From before they are published until then the
stream is applied as while it catches up (copying.py), for what it brings may touch rows that are not there yet.
"""

# ruff: noqa: S608 - what is put into statements are constants, and names that catalog.quoted quotes

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from adapters.postgres import bookkeeping, chunks
from adapters.postgres.carrying import LOCK_MS, READING, held
from adapters.postgres.catalog import Table, quoted
from adapters.postgres.driver import Address, lsn_text
from adapters.postgres.errors import Refused
from adapters.postgres.piping import End, pipe
from adapters.postgres.planning import travelling_types
from adapters.postgres.side import Side, opened
from adapters.postgres.target import TARGET_SESSION

APPLICATION = "crossover-adding"
ADDED = "crossover.added"
"""The part under which they stand in crossover.chunk."""
_UNKNOWN = (1 << 64) - 1
"""Beyond any commit."""
_SEEN = f"""
insert into {bookkeeping.SCHEMA}.{bookkeeping.CHUNK} (relation, part, cut, seen, done)
values ('{ADDED}', 0, '', %s::pg_catalog.pg_lsn, pg_catalog.now())
on conflict (relation, part) do update set seen = excluded.seen, done = excluded.done
"""
_MARKED = f"""
insert into {bookkeeping.SCHEMA}.{bookkeeping.MARK} values (%s, '0/0', pg_catalog.now())
on conflict (stream) do update set at = excluded.at
"""


def expect(target: Side) -> None:
    """Before they are published: what the stream brings may be in a copy that is not made yet."""
    target.run(_SEEN, (lsn_text(_UNKNOWN),))


def copy(
    source: Address, target: Address, stream: str, added: Sequence[Table],
    patience: Callable[[Callable[[], None]], None],
) -> int:  # fmt: skip
    """Fill `added` at the target, whatever is there; how many rows they have. `stream`: that from the source;
    `patience` calls what it is given until the lock is had. May be done again."""
    rows, names = 0, [table.qualified for table in added]
    with opened(source, APPLICATION, READING) as here, opened(target, APPLICATION, TARGET_SESSION) as there:
        travelling = travelling_types(here)
        with suppress(Refused):  # where nothing would fire
            there.run("set session_replication_role = replica")

        def both(lock: Callable[[], None]) -> None:
            lock()  # first: who writes at the source may wait for the carrier, and that for the mark
            _take_mark(there, stream)

        with held(source, names, lambda lock: patience(lambda: both(lock))) as snapshot:
            here.run("begin isolation level repeatable read read only")
            here.run(f"set transaction snapshot '{snapshot.name}'")
            for name in names:
                there.run(f"delete from only {name}")
            for table in added:
                rows += _piped(here, there, table, travelling)
            there.run(_SEEN, (lsn_text(snapshot.exact),))
            there.run("commit")
    return rows


def _take_mark(there: Side, stream: str) -> None:
    """Begin the transaction at the target, behind whatever a carrier has under way."""
    there.run("rollback; begin")
    there.run(f"set local lock_timeout = {LOCK_MS}")
    there.run(_MARKED, (stream,))
    there.run("set local lock_timeout = 0")


def _piped(here: Side, there: Side, table: Table, travelling: frozenset[str]) -> int:
    form = "binary" if chunks.binary(table, travelling) else "text"
    columns = ", ".join(quoted(column.name) for column in table.stored)
    listed = f"({columns})" if columns else ""
    given = f"copy (select {columns} from only {table.qualified}) to stdout (format {form})"
    taken = f"copy {table.qualified} {listed} from stdin (format {form})"
    return pipe(End(here, given), End(there, taken), lambda _: None).rows

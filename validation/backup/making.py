"""Making a backup beside the data: dump, restore into a server that is thrown away, and compare the two.

The dump, and what it is compared by, are of one snapshot of the source, so both are exact although others write. The
restore goes into a server of the pod's own at every stage, and never into one that serves or follows: what is written
there would pile up behind the slots that the move needs, and take the room that its rows need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adapters.postgres import checksums, dumping
from adapters.postgres.catalog import SequenceState, Table, sequences, tables
from adapters.postgres.checksums import Span
from adapters.postgres.driver import Address, Connection, connect, translated
from adapters.postgres.errors import PostgresError, Unavailable
from validation.result import Check, Report

DUMP, ROLES, CONTENT = "database.dump", "roles.sql", "content.json"
"""The files that are made here: the dump, the roles of its server, and what was found in the snapshot."""
_SECONDS = 3600.0
"""How long each of the programs may take."""
_RESTORED = "restored"
_FIX = "Make another backup; where it fails again, see what pg_restore said"


class TableContent(BaseModel):
    """The rows of a table: how many, and the sum of their hashes, a number beyond 64 bits as text."""

    model_config = ConfigDict(frozen=True)

    rows: int
    checksum: str


class Content(BaseModel):
    """What a backup holds, as the snapshot had it. `left_out`: schemas that the role may not read."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    side: str
    server: str
    lsn: str
    tables: dict[str, TableContent]
    sequences: dict[str, int]
    large_objects: int
    left_out: tuple[str, ...] = ()
    not_restored: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables.values())


@dataclass(frozen=True, slots=True)
class _Snapshot:
    connection: Connection
    name: str
    at: datetime
    lsn: str


def make(side: str, source: Address, scratch: Address, folder: Path, say: Callable[[str], None]) -> Report:
    """Dump the database of `source` into `folder`, restore it at `scratch`, and say what holds. The files are good only
    where all of the report does. Raises PostgresError where no dump could be made."""
    began = time.monotonic()
    with _snapshot(source) as snapshot:
        scope = dumping.scope(snapshot.connection)
        say(f"dumping {len(scope.schemas)} schemas of {side}, as of {snapshot.at:%Y-%m-%dT%H:%M:%SZ}")
        # Before the dump: sequences are of no snapshot, and what is dumped may not be behind what was seen.
        others = _others(snapshot.connection, scope.schemas)
        dumping.dump(source, folder / DUMP, scope.left_out, snapshot.name, seconds=_SECONDS)
        dumping.dump_roles(source, folder / ROLES, seconds=_SECONDS)
        say(f"dumped {(folder / DUMP).stat().st_size} bytes in {time.monotonic() - began:.1f} s; counting its rows")
        there = _content(side, snapshot, scope, others)
        roles, extensions = dumping.role_names(snapshot.connection), dumping.extensions(snapshot.connection)
        encoding = _one(snapshot.connection, "select current_setting('server_encoding')")
    try:
        missing = _missing(scratch, extensions)
        target = dumping.make_room(scratch, _RESTORED, roles, encoding)
        say(f"restoring it into a server of its own{_without(missing)}")
        dumping.restore(folder / DUMP, target, missing, seconds=_SECONDS)
        with connect(target, dumping.APPLICATION) as connection, translated(target):
            found, restored = measure(connection, scope.schemas), _others(connection, scope.schemas)
    except PostgresError as error:
        check = Check.that("restore", False, expected="the dump restores whole", found=str(error), fix=_FIX)
        return Report(subject=f"backup of {side}", checks=(check,))
    content = there.model_copy(update={"not_restored": tuple(missing)})
    (folder / CONTENT).write_text(content.model_dump_json(indent=1))
    figures = {"tables": len(there.tables), "rows": there.rows, "seconds": round(time.monotonic() - began, 1)}
    return Report(subject=f"backup of {side}", checks=compared(content, found, restored), figures=figures)


@contextmanager
def _snapshot(source: Address) -> Iterator[_Snapshot]:
    """One that pg_dump may use as well, as long as this lasts."""
    with connect(source, dumping.APPLICATION, autocommit=False) as connection, translated(source):
        connection.execute("set transaction isolation level repeatable read, read only")
        row = connection.execute(
            "select pg_export_snapshot(), transaction_timestamp(), pg_current_wal_insert_lsn()::text"
        ).fetchone()
        assert row is not None  # noqa: S101 - a select without from has a row
        yield _Snapshot(connection, *row)
        connection.rollback()


def _content(side: str, snapshot: _Snapshot, scope: dumping.Scope, others: tuple[dict[str, int], int]) -> Content:
    known, objects = others
    return Content(
        at=snapshot.at, side=side, server=_one(snapshot.connection, "select current_setting('server_version')"),
        lsn=snapshot.lsn, tables=measure(snapshot.connection, scope.schemas), sequences=known, large_objects=objects,
        left_out=scope.left_out,
    )  # fmt: skip


def _one(connection: Connection, statement: str) -> str:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None  # noqa: S101 - a select without from has a row
    return str(row[0])


def measure(connection: Connection, schemas: Sequence[str]) -> dict[str, TableContent]:
    """Rows and checksum of every table of `schemas`."""
    return {str(table): _measured(connection, table) for table in tables(connection, schemas)}


def _measured(connection: Connection, table: Table) -> TableContent:
    ((rows, checksum),) = checksums.digest(table, Span(), ()).rows(connection)
    return TableContent(rows=rows, checksum=str(checksum))


def _others(connection: Connection, schemas: Sequence[str]) -> tuple[dict[str, int], int]:
    """Where each sequence stands, and how many large objects there are."""
    known = {f"{one.schema}.{one.name}": _stands(one) for one in sequences(connection, schemas)}
    return known, int(_one(connection, "select count(*) from pg_largeobject_metadata"))


def _stands(one: SequenceState) -> int:
    """As a number that only grows while the sequence is used; one that cycles says nothing."""
    return 0 if one.cycles else one.last if one.increment > 0 else -one.last


def _missing(scratch: Address, extensions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The extensions that a plain Postgres has not got. What uses them fails to restore, and is told so by name."""
    with connect(scratch, dumping.APPLICATION) as connection, translated(scratch):
        have = {row[0] for row in connection.execute("select name::text from pg_available_extensions").fetchall()}
    return {name: members for name, members in extensions.items() if name not in have}


def _without(missing: dict[str, tuple[str, ...]]) -> str:
    return f", without the extensions {', '.join(missing)}, which it has not got" if missing else ""


def compared(there: Content, found: dict[str, TableContent], others: tuple[dict[str, int], int]) -> tuple[Check, ...]:
    """What was restored against the snapshot."""
    wrong = [
        f"{name}: {_told(there.tables.get(name))} in the snapshot, {_told(found.get(name))} restored"
        for name in sorted(there.tables.keys() | found.keys())
        if there.tables.get(name) != found.get(name)
    ]
    known, objects = others
    left = there.left_out
    # A sequence goes on while it is dumped: it may be beyond the snapshot, and never before it.
    lost = [name for name, stood in there.sequences.items() if known.get(name, stood - 1) < stood]
    odd = [] if objects == there.large_objects else [f"{there.large_objects} in the snapshot, {objects} restored"]
    return (
        Check.none_wrong(
            "rows", wrong=len(wrong), of=len(there.tables), what="tables that differ", fix=_FIX,
            detail="; ".join(wrong[:5]),
        ),
        Check.that(
            "sequences", not lost, expected="none is behind the snapshot",
            found=", ".join(lost[:5]) or f"{len(known)} are not", fix=_FIX,
        ),
        Check.that(
            "large objects", not odd, expected="as many as in the snapshot", found="".join(odd) or str(objects),
            fix=_FIX,
        ),
        Check.that(
            "what is in it" + " (told only)" * bool(left or there.not_restored), True, expected="all",
            found="; ".join(
                [f"not in it, for the role may not read it: schema {name}" for name in left]
                + [f"in it, and not restored: extension {name}" for name in there.not_restored]
            )
            or "all",
        ),
    )  # fmt: skip


def _told(table: TableContent | None) -> str:
    return "missing" if table is None else f"{table.rows} rows of checksum {table.checksum}"


def await_scratch(scratch: Address, seconds: float) -> None:
    """Wait until the server that is thrown away takes connections. Raises Unavailable after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connect(scratch, dumping.APPLICATION, seconds=5).close()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)  # it announces nothing

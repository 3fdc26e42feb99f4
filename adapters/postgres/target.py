"""Where changes are written: one connection, in whose transactions the mark goes first.

The mark is written by compare-and-set: of two writers that believe in the same mark only one commits, and one that
comes back finds out whether its last COMMIT, of which it heard nothing, took effect.
"""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from adapters.postgres import bookkeeping, catalog
from adapters.postgres.applying import Statement
from adapters.postgres.catalog import Table, quoted
from adapters.postgres.driver import (
    SESSION,
    Address,
    Connection,
    TupleRow,
    connect,
    lsn,
    lsn_text,
    pq,
    psycopg,
    translate,
    translated,
)
from adapters.postgres.errors import Conflict, PostgresError, StatementFailed, Unavailable
from adapters.postgres.masks import Masks
from adapters.postgres.pgoutput import Begin

TARGET_SESSION: Mapping[str, str] = {
    **SESSION,
    # Durable here before it is confirmed there; never waiting for a standby, which may be the stream that leads back.
    "synchronous_commit": "local",
}
_MARK = f"{bookkeeping.SCHEMA}.{bookkeeping.MARK}"
_FIRST = f"insert into {_MARK} values (%s, '0/0', pg_catalog.now()) on conflict do nothing"
_MOVE = (
    f"update {_MARK} set applied = $1::pg_catalog.pg_lsn, at = pg_catalog.now() "
    "where stream = $2 and applied = $3::pg_catalog.pg_lsn"
)
_READ = f"select applied::text from {_MARK} where stream = %s"
_STRICT_FROM = f"select pg_catalog.max(seen)::text from {bookkeeping.SCHEMA}.{bookkeeping.CHUNK}"
_KNOWN = f"select pg_catalog.to_regclass('{bookkeeping.SCHEMA}.{bookkeeping.STRAY}') is not null"
_DECIDED = f"""
select carried from {bookkeeping.SCHEMA}.{bookkeeping.STRAY}
 where stream = %s and lsn = %s::pg_catalog.pg_lsn and xid = %s and done is not null
"""
_Cursor = psycopg.RawCursor[TupleRow]
_OPERATORS = """
select n.nspname, c.relname, a.attname, opn.nspname, o.oprname
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  cross join lateral unnest(i.indkey::int2[], i.indclass::oid[]) as k(attnum, class)
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
  join pg_catalog.pg_opclass oc on oc.oid = k.class
  join pg_catalog.pg_amop am on am.amopfamily = oc.opcfamily and am.amopstrategy = 3
   and am.amoplefttype = oc.opcintype and am.amoprighttype = oc.opcintype
  join pg_catalog.pg_operator o on o.oid = am.amopopr
  join pg_catalog.pg_namespace opn on opn.oid = o.oprnamespace
 where (i.indisprimary or i.indisreplident) and n.nspname = %s and opn.nspname <> 'pg_catalog'
"""


def applied(connection: Connection, stream: str) -> int | None:
    """How far `stream` (bookkeeping.slot_name of its source) is applied here: the LSN of the last commit, None where
    nothing was ever."""
    row = connection.execute(_READ, (stream,)).fetchone()
    return lsn(row[0]) if row and lsn(row[0]) else None


class Writer:
    """One session that executes statements of applying.py. Owned by one thread.

    Everything may raise Unavailable, Refused, StatementFailed; writing raises Conflict, too. After an error it can
    only be closed. `carries`: triggers and foreign keys shall be off, where the role may do that.
    """

    def __init__(
        self,
        address: Address,
        *,
        application: str = "crossover",
        carries: bool = True,
        masks: Masks | None = None,
    ) -> None:
        self.masks = masks or Masks()
        """What of a row no error may tell."""
        self._address = address
        self._connection = connect(address, application, session=TARGET_SESSION)
        try:
            with translated(address):
                self.replica_role = carries and self._take_replica_role()
                """Whether triggers and foreign keys are off for what is applied."""
                self._set_up()
                self._connection.autocommit = False
                self._connection.prepare_threshold = 3
        except BaseException:
            self._connection.close()
            raise

    def _set_up(self) -> None:
        """What else has to be known before the first transaction."""

    def _take_replica_role(self) -> bool:
        try:
            self._connection.execute("set session_replication_role = replica")
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def tables(self, schema: str) -> Mapping[str, tuple[Table, Mapping[str, str]]]:
        """The tables of `schema` as they are now, by name, with the operators by which their keys are compared."""
        with translated(self._address), self._leaving_no_transaction():
            operators: dict[str, dict[str, str]] = {}
            for _, table, column, namespace, name in self._connection.execute(_OPERATORS, (schema,)).fetchall():
                operators.setdefault(table, {})[column] = f"operator({quoted(namespace)}.{name})"
            return {
                table.name: (table, operators.get(table.name, {}))
                for table in catalog.tables(self._connection, [schema])
            }

    @contextmanager
    def _leaving_no_transaction(self) -> Iterator[None]:
        """What is read between transactions opens none that would then stay open."""
        idle = self._connection.info.transaction_status == pq.TransactionStatus.IDLE
        yield
        if idle:
            self._connection.rollback()

    def rows(self, statement: Statement) -> list[TupleRow]:
        """What a query answers, in the transaction that is open or begins with it."""
        with translated(self._address):
            return _Cursor(self._connection).execute(statement.text, statement.values).fetchall()

    def execute(self, statements: Sequence[Statement]) -> None:
        """Execute all in one round trip, and look that each touched what it had to."""
        done: list[tuple[Statement, _Cursor]] = []
        try:
            with self._connection.pipeline():
                for statement in statements:
                    cursor = _Cursor(self._connection)
                    done.append((statement, cursor))
                    cursor.execute(statement.text, statement.values)
        except psycopg.Error as error:
            raise self._translated(error, done) from error
        for statement, cursor in done:
            if statement.rows is not None and cursor.rowcount != statement.rows:
                raise self._missed(statement, cursor.rowcount)

    def end(self) -> None:
        """Commit what is open."""
        with translated(self._address):
            self._connection.commit()

    def _missed(self, statement: Statement, rows: int) -> PostgresError:
        return Conflict(
            f"{statement.told()}: {rows} rows were changed where {statement.rows} should have been: the sides differ"
        )

    def _translated(self, error: psycopg.Error, done: Sequence[tuple[Statement, _Cursor]]) -> PostgresError:
        """Ours for `error`, with the table, without values."""
        found = translate(error, self._address)
        if not isinstance(found, StatementFailed):
            return found
        failed = next((statement for statement, cursor in done if cursor.pgresult is None), None)
        where = failed.told(error.diag.message_detail or "") if failed is not None else "a change"
        code = error.sqlstate or ""
        if not code.startswith("23"):
            return StatementFailed(f"{self._address}: {where}: {type(error).__name__} (SQLSTATE {code})")
        what = error.diag.constraint_name or "a column"
        return Conflict(f"{where}: {type(error).__name__} of {what}: the sides differ")

    def close(self) -> None:
        """Give the connection up; what was not committed is rolled back."""
        with suppress(psycopg.Error):
            self._connection.close()


class Target(Writer):
    """The session that applies `stream`."""

    def __init__(
        self, address: Address, stream: str, *, application: str = "crossover", masks: Masks | None = None
    ) -> None:
        self._stream = stream
        self._ahead: list[Statement] = []
        self._begun = 0
        self.mark = 0
        """The last commit of the source that is applied here."""
        self.strict_from = 0
        """Commits before it may be in the copy already."""
        super().__init__(address, application=application, masks=masks)

    def _set_up(self) -> None:
        self._connection.execute(_FIRST, (self._stream,))
        self.mark = applied(self._connection, self._stream) or 0
        row = self._connection.execute(_STRICT_FROM).fetchone()
        self.strict_from = lsn(row[0]) if row and row[0] else 0

    def passes(self, begin: Begin) -> bool | None:
        """What a person decided of a transaction that the gate does not let through: whether it is to be applied
        here, False where it is passed over; None where nobody has."""
        with translated(self._address), self._leaving_no_transaction():
            row = self._connection.execute(_KNOWN).fetchone()
            if row is None or not row[0]:
                return None
            told = (self._stream, lsn_text(begin.commit), begin.xid)
            found = self._connection.execute(_DECIDED, told).fetchone()
        return None if found is None else bool(found[0])

    def begin(self, commit: int) -> None:
        """Begin a transaction for what was committed at `commit`. Nothing is sent yet."""
        self._begun = commit
        self._ahead = [self._moving(commit, self.mark)]  # first: by it the stream that leads back knows the transaction
        if not self.replica_role:
            self._ahead.append(Statement("set constraints all deferred", (), None, _MARK))

    def write(self, statements: Sequence[Statement]) -> None:
        """Execute all in one round trip, behind what begins the transaction."""
        ahead, self._ahead = self._ahead, []
        self.execute([*ahead, *statements])

    def commit(self, last: int, statements: Sequence[Statement]) -> None:
        """Write the rest and commit, with the mark at `last`: the last transaction of the source that is in it."""
        moving = [self._moving(last, self._begun)] if last != self._begun else []
        self.write([*statements, *moving])
        self.end()
        self.mark = last

    def _moving(self, to: int, since: int) -> Statement:
        return Statement(_MOVE, (lsn_text(to), self._stream, lsn_text(since)), 1, _MARK)

    def _missed(self, statement: Statement, rows: int) -> PostgresError:
        if statement.table == _MARK:
            return Unavailable(f"{self._address}: another process applies {self._stream}: its mark has moved")
        return super()._missed(statement, rows)

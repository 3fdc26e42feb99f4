"""PgBouncer's admin console: what it does now, and what makes it stand still, point elsewhere, and go on.

Its traps, each tested on a real PgBouncer:

- `PAUSE` has no time-out: it ends when no transaction runs. A `RESUME` from elsewhere leaves it waiting for ever. So it
  runs on a connection of its own, with a deadline here; on expiry a second connection resumes, then the first closes.
- `PAUSE` of one database lets the next login open a server connection, which is then killed; that counts as a failed
  login, for which clients are turned away after `RESUME`. So the whole pooler is paused, never one database.
- A `PAUSE` that meets a server connection in login kills it, to the same effect. So new ones are held back before it,
  and those under way are awaited.
- `RELOAD` answers with success though the file cannot be read. So what it should have changed must be looked at.
- Nothing tells whose pause it is. Whoever pauses must note it; a pause without a note is somebody else's.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from adapters.postgres.driver import Address, make_conninfo, pq, psycopg, translated
from adapters.postgres.errors import StatementFailed, Unavailable

SECONDS = 3.0
"""How long the console may take to answer anything but PAUSE, in seconds."""
_LOOK_SECONDS = 0.02
_LOGIN_SECONDS = 1.0
"""How long logins under way are awaited before a PAUSE, in seconds: one to a dead server takes longer, and fails."""
_PAUSED, _NOT_PAUSED = "already suspended/paused", "pooler is not paused/suspended"
_QUERY_TIMEOUT, _IDLE_TIMEOUT = "query_timeout", "idle_transaction_timeout"
_POOL_SIZE = "default_pool_size"


class AlreadyPaused(StatementFailed):
    """It is paused or suspended."""


class PoolState(StrEnum):
    """Whether it hands out server connections. SUSPENDED looks like PAUSED before PgBouncer 1.22."""

    ACTIVE = "active"
    PAUSED = "paused"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class PooledDatabase:
    """An entry of [databases]. `paused`: by `PAUSE name`, which the state does not show."""

    name: str
    host: str
    port: int
    database: str
    user: str
    paused: bool


@dataclass(frozen=True, slots=True)
class Server:
    """A connection to Postgres. `state` is `active` while a transaction has it; `pid` is that of its backend there;
    `client` names the client's application, where it gave one, and its address."""

    database: str
    user: str
    state: str
    pid: int
    client: str


class Console:
    """Opens a connection when it is first asked, and again after it was lost. Not for several threads at once.

    `address.host` is the folder of its Unix socket, or a host. Who runs as the pooler's own Unix user needs no password
    there, as the user `pgbouncer`. Everything raises Unavailable where it does not answer within `seconds`.
    """

    def __init__(self, address: Address, *, seconds: float = SECONDS) -> None:
        self._address = address
        self._seconds = seconds
        self._main: psycopg.Connection | None = None

    def close(self) -> None:
        """Give up the connection. A pause stays."""
        main, self._main = self._main, None
        if main is not None:
            main.close()

    # -- what it does now

    def version(self) -> tuple[int, int]:
        """Major and minor."""
        text = self._show("VERSION")[0]["version"].split()[-1]
        major, minor = text.split(".")[:2]
        return int(major), int(minor)

    def state(self) -> PoolState:
        """Whether all of it is paused or suspended, by whomever."""
        try:
            told = {row["key"]: row["value"] for row in self._show("STATE")}
        except StatementFailed:
            return self._probed_state()
        return next((state for state in PoolState if told.get(state) == "yes"), PoolState.ACTIVE)

    def _probed_state(self) -> PoolState:
        """Older ones do not show it. KILL without a database is refused in any state, and says in which."""
        try:
            self.run("KILL")
        except AlreadyPaused:
            return PoolState.PAUSED
        except StatementFailed:
            return PoolState.ACTIVE
        raise StatementFailed(f"{self._address}: KILL without a database was not refused")

    def databases(self) -> tuple[PooledDatabase, ...]:
        """The entries of [databases], as loaded; without the console itself."""
        return tuple(
            PooledDatabase(
                row["name"], row["host"], int(row["port"]), row["database"], row["force_user"], row["paused"] != "0"
            )
            for row in self._show("DATABASES")
            if row["name"] != "pgbouncer"
        )

    def servers(self) -> tuple[Server, ...]:
        """The connections to Postgres."""
        rows = self._show("SERVERS")
        if not rows:
            return ()
        clients = {row["ptr"]: row for row in self._show("CLIENTS")}
        return tuple(
            Server(
                row["database"], row["user"], row["state"], int(row["remote_pid"] or 0),
                _client(clients.get(row["link"])),
            )
            for row in rows
        )  # fmt: skip

    def active(self) -> tuple[Server, ...]:
        """Those that a transaction has, or that are not yet clean after one."""
        return tuple(server for server in self.servers() if server.state not in ("idle", "used", "new", "login"))

    def setting(self, name: str) -> str:
        """A parameter's value."""
        found = [row["value"] for row in self._show("CONFIG") if row["key"] == name]
        if not found:
            raise StatementFailed(f"{self._address}: there is no parameter {name}")
        return found[0]

    # -- what changes it

    def pause(
        self,
        seconds: float,
        *,
        given_up: Callable[[], bool] = lambda: False,
        stay: bool = False,
        expired: Callable[[Sequence[Server]], None] = lambda servers: None,
    ) -> bool:
        """Pause all of it, and wait until no transaction runs; whether that was so within `seconds`, and before
        `given_up()`. Otherwise it goes on as before, or (`stay`) stays paused with what still runs; `expired` is told
        what that is.

        Raises AlreadyPaused, by whomever it is.
        """
        with self._connection() as own:
            with self._no_logins():
                deadline = time.monotonic() + seconds
                self._ask(own.pgconn, "PAUSE")
                # The answer, if it is an error, comes at once; without one it pauses by now.
                done = self._answered(own.pgconn, time.monotonic() + _LOOK_SECONDS)
            while not done and time.monotonic() < deadline and not given_up():
                done = self._answered(own.pgconn, min(deadline, time.monotonic() + _LOOK_SECONDS))
            if done:
                self._result(own.pgconn)
                return True
            expired(self.active())
            if not stay:
                self.resume()  # before the connection closes that still waits
            return False

    @contextmanager
    def _no_logins(self) -> Iterator[None]:
        """No connection to Postgres is opened meanwhile, and none is being opened when this begins."""
        before = self.setting(_POOL_SIZE)
        self.set(_POOL_SIZE, "1")
        try:
            deadline = time.monotonic() + _LOGIN_SECONDS
            while self._logins() and time.monotonic() < deadline:
                time.sleep(0.002)  # it announces nothing
            yield
        finally:
            self.set(_POOL_SIZE, before)

    def _logins(self) -> int:
        return sum(int(row["sv_login"]) for row in self._show("POOLS"))

    def drained(self, seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until no transaction has a server connection: for a pause that another process began."""
        deadline = time.monotonic() + seconds
        while self.active():
            if time.monotonic() >= deadline or given_up():
                return False
            time.sleep(_LOOK_SECONDS)  # it announces nothing
        return True

    def cut(self, seconds: float) -> bool:
        """End what still runs in a transaction, at a server that may never answer; whether all had ended within
        `seconds`. Their clients lose their connection, and what became of a transaction is not known to them."""
        for name in (_QUERY_TIMEOUT, _IDLE_TIMEOUT):
            self.set(name, "0.01")
        try:
            return self.drained(seconds)
        finally:
            for name in (_QUERY_TIMEOUT, _IDLE_TIMEOUT):
                self.set(name, "0")

    def resume(self) -> None:
        """Go on; nothing where it is not paused. Databases that were paused by name stay so."""
        try:
            self.run("RESUME")
        except StatementFailed as error:
            if _NOT_PAUSED not in str(error):
                raise

    def reload(self) -> None:
        """Read the configuration anew. Look at what it should have changed: a file that it cannot read is no error."""
        self.run("RELOAD")

    def set(self, name: str, value: str) -> None:
        """Change a parameter until the next RELOAD or start."""
        quoted = value.replace("'", "''")
        self.run(f"SET {name} = '{quoted}'")

    def set_conffile(self, path: str) -> None:
        """The file that the next RELOAD reads. A restart reads the one of the command line."""
        self.set("conffile", path)

    def run(self, command: str) -> list[dict[str, str]]:
        """Any command, by the simple protocol; its rows. Raises StatementFailed, AlreadyPaused, Unavailable."""
        deadline = time.monotonic() + self._seconds
        try:
            if self._main is None:
                self._main = self._connect()
            with translated(self._address):
                self._ask(self._main.pgconn, command)
                if not self._answered(self._main.pgconn, deadline):
                    raise Unavailable(
                        f"{self._address}: {command.split(maxsplit=1)[0]} not answered in {self._seconds:g} s"
                    )
                return self._result(self._main.pgconn)
        except Unavailable:
            self.close()
            raise

    def _show(self, what: str) -> list[dict[str, str]]:
        return self.run(f"SHOW {what}")

    # -- the protocol

    def _connect(self) -> psycopg.Connection:
        at = self._address
        given: Mapping[str, str] = {
            "host": at.host, "port": str(at.port), "dbname": at.database, "user": at.user, "password": at.password,
            "sslmode": at.sslmode, "connect_timeout": str(max(2, round(self._seconds))),
            "application_name": "crossover",
        }  # fmt: skip
        with translated(at):
            return psycopg.connect(make_conninfo(**{k: v for k, v in given.items() if v}), autocommit=True)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        connection = self._connect()
        try:
            with translated(self._address):
                yield connection
        finally:
            connection.close()

    def _ask(self, at: pq.abc.PGconn, command: str) -> None:
        at.send_query(command.encode())

    def _answered(self, at: pq.abc.PGconn, deadline: float) -> bool:
        """Whether the answer to what was sent is there by `deadline`."""
        while True:
            at.consume_input()
            if not at.is_busy():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([at.socket], [], [], left)

    def _result(self, at: pq.abc.PGconn) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = []
        failure: str | None = None
        while (result := at.get_result()) is not None:
            if result.status == pq.ExecStatus.TUPLES_OK:
                names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
                rows = [
                    {name: (result.get_value(row, i) or b"").decode() for i, name in enumerate(names)}
                    for row in range(result.ntuples)
                ]
            elif result.status != pq.ExecStatus.COMMAND_OK:
                failure = result.get_error_message("utf-8")
        if failure is None:
            return rows
        if at.status == pq.ConnStatus.BAD:
            raise Unavailable(f"{self._address}: {failure}")
        kind = AlreadyPaused if _PAUSED in failure else StatementFailed
        raise kind(f"{self._address}: {failure}")


def _client(row: Mapping[str, str] | None) -> str:
    if row is None:
        return ""
    return f"{row['application_name'] or 'unnamed'} at {row['addr']}:{row['port']}"

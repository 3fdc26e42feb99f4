"""Two Postgres servers behind one real PgBouncer, its agent, and who plays the cutover.

PgBouncer is the one of CROSSOVER_PGBOUNCER, or else of the PATH. It runs as another Unix user than the agent here, so
the agent uses the console with a password; in a pod they are one user.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres.driver import Address, Connection, connect, pq, psycopg, sql
from adapters.postgres.pooler import Console
from adapters.postgres.pooler_config import PoolerSettings, rendered
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from contracts.registry import AdapterRecord
from contracts.routes import Fence, Route
from contracts.stages import Component, Stage
from cutover.pooler.acting import AgentSettings
from cutover.pooler.agent import PoolerAgent
from cutover.pooler.desk import INI, Desk
from tests.contract.postgres_server import Postgres, _end, _spawn, _wait, free_port
from tests.contract.two_postgres import address, two_servers

DEADLINE = 20.0
CLIENT, CLIENT_PASSWORD, CONSOLE_PASSWORD = "service", 'client\'s "password"; =x', "console-password"
SIDES = ("hosted", "selfhosted")
ROLE_PASSWORD = {"hosted": "it's; a \\ 'hosted' = \"one\" ü", "selfhosted": "another one"}
ROLE = {"hosted": "app_at_hosted", "selfhosted": "app_here"}


def until(reached: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Wait for a condition that announces nothing."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


def find_pgbouncer() -> str | None:
    """The binary, where there is one."""
    return os.environ.get("CROSSOVER_PGBOUNCER") or shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")


def version_of(binary: str) -> tuple[int, int]:
    """Major and minor."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return int(told.split(".")[0]), int(told.split(".")[1])


@dataclass(slots=True)
class Servers:
    """Both servers; `new_database` makes one of a new name at each."""

    hosted: Postgres
    own: Postgres
    count: int = 0

    def admin(self, side: str, database: str = "postgres") -> Connection:
        """A superuser's connection."""
        return connect(address(self.hosted if side == "hosted" else self.own, database, "postgres"), "test")

    def sides(self) -> dict[str, Address]:
        """A database of a new name at each side, with the table `written`, as the pooler connects there."""
        self.count += 1
        made = {}
        for side in SIDES:
            name = f"behind '{side}' {self.count}"
            server = self.hosted if side == "hosted" else self.own
            with self.admin(side) as admin:
                admin.execute(
                    sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(ROLE[side]))
                )
            made[side] = Address("127.0.0.1", server.port, name, ROLE[side], ROLE_PASSWORD[side], "disable")
            with connect(made[side], "test") as own:
                own.execute(
                    "create table public.written (id uuid primary key, at timestamptz default clock_timestamp())"
                )
        return made

    @staticmethod
    def password(side: str) -> str:
        """The right one of the pooler's role."""
        return ROLE_PASSWORD[side]

    def set_password(self, side: str, password: str) -> None:
        """Another one for the pooler's role."""
        with self.admin(side) as admin:
            admin.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(ROLE[side]), sql.Literal(password))
            )


@contextmanager
def both_servers() -> Iterator[Servers]:
    """Running, with the pooler's role at each: another name and password at each side."""
    with two_servers() as (hosted, own):
        servers = Servers(hosted, own)
        for side in SIDES:
            with servers.admin(side) as admin:
                admin.execute(sql.SQL("create role {} login").format(sql.Identifier(ROLE[side])))
            servers.set_password(side, ROLE_PASSWORD[side])
        yield servers


class Bouncer:
    """A PgBouncer before `sides`, which starts at the ini that lies in its folder."""

    def __init__(self, binary: str, folder: Path, sides: dict[str, Address]) -> None:
        self.binary, self.folder, self.addresses = binary, folder, sides
        self.version = version_of(binary)
        self.settings = PoolerSettings(
            folder=str(folder), logins=str(folder / "userlist.txt"), address="127.0.0.1", port=free_port(),
            prepared_statements=100 if self.version >= (1, 21) else None, admins="console",
        )  # fmt: skip
        quoted = CLIENT_PASSWORD.replace('"', '""')
        (folder / "userlist.txt").write_text(f'"{CLIENT}" "{quoted}"\n"console" "{CONSOLE_PASSWORD}"\n')
        self.desk = Desk(folder, 0o644)
        self.desk.ini = rendered(self.settings, sides["hosted"])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All it said."""
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = _spawn([self.binary, str(self.folder / INI)], self.folder, self.folder / "log")
        _wait(self.settings.port, self._process, self.folder / "log")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            _end(self._process, 9)
            self._process = None

    @property
    def console_address(self) -> Address:
        """Its Unix socket."""
        return Address(str(self.folder), self.settings.port, "pgbouncer", "console", CONSOLE_PASSWORD, "disable")

    def console(self) -> Console:
        """An operator's."""
        return Console(self.console_address)

    def freeze(self) -> None:
        """SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def client(self, application: str = "test", **options: object) -> Connection:
        """A client's connection."""
        given = {"prepare_threshold": None, "autocommit": True, "connect_timeout": 30, **options}
        return psycopg.connect(
            host="127.0.0.1", port=self.settings.port, dbname=self.settings.database, user=CLIENT,
            password=CLIENT_PASSWORD, application_name=application, sslmode="disable", **given,  # type: ignore[arg-type]
        )  # fmt: skip

    def serves(self) -> str:
        """The side that a statement arrives at."""
        with self.client() as client:
            row = client.execute("select inet_server_port()").fetchone()
        ports = {at.port: side for side, at in self.addresses.items()}
        return ports[row[0]] if row else ""


@contextmanager
def bouncer(binary: str, sides: dict[str, Address]) -> Iterator[Bouncer]:
    """Running, in a folder that its own Unix user may write to."""
    with tempfile.TemporaryDirectory(prefix="crossover-pooler-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        folder.chmod(0o755)
        made = Bouncer(binary, folder, sides)
        made.start()
        try:
            yield made
        finally:
            made.kill()


class Switchboard:
    """Plays the cutover: the route's only writer here."""

    def __init__(self) -> None:
        self.store = MemoryRouteStore(Route(component=Component.DATABASE, stage=Stage.SHADOW, active="hosted", epoch=1))
        self.registry = MemoryRegistry()

    @property
    def route(self) -> Route:
        """As it is."""
        route = self.store.read(Component.DATABASE).route
        assert route is not None
        return route

    def write(self, **changed: object) -> Route:
        """Change the route."""
        made = self.route.model_copy(update=changed)
        self.store.write(made, self.store.read(Component.DATABASE).version)
        return made

    def fence(self, *, emergency: bool = False) -> int:
        """Announce the next epoch."""
        epoch = self.route.epoch + 1
        self.write(fence=Fence(epoch=epoch, since="", holder="test", copied={} if emergency else None))
        return epoch

    def open(self, side: str) -> None:
        """Name `side` under the fence's epoch."""
        fence = self.route.fence
        assert fence is not None
        self.write(active=side, epoch=fence.epoch, fence=None)

    def undo(self) -> None:
        """Let the fence go."""
        self.open(self.route.active)

    @property
    def record(self) -> AdapterRecord:
        """The agent's; one that knows nothing where there is none."""
        found = self.registry.records(Component.DATABASE)
        return found[0] if found else AdapterRecord("", "", 0, 0, 0.0)

    def await_acknowledged(self, epoch: int) -> None:
        """Wait until the agent has told `epoch`."""
        until(lambda: self.record.acknowledged_epoch >= epoch, f"epoch {epoch} acknowledged; {self.record}")

    def await_serving(self, side: str) -> None:
        """Wait until the agent tells that `side` serves under the newest epoch."""

        def reached() -> bool:
            told = self.record
            return told.acknowledged_epoch >= self.route.epoch and (
                told.status.get("state"),
                told.status.get("side"),
            ) == (
                "open",
                side,
            )

        until(reached, f"{side} serves")

    def switch(self, side: str) -> None:
        """All of it."""
        self.await_acknowledged(self.route.epoch)
        self.await_acknowledged(self.fence())
        self.open(side)
        self.await_serving(side)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors may handle it."""


def die() -> None:
    """As one that is killed there."""
    raise Killed


class MortalConsole(Console):
    """Dies as its process would: at the `fatal`-th command that changes something, before it or after it (counted from
    1: SET, PAUSE, SET, RELOAD, RELOAD, RESUME in a switch), or when told to. Then it says nothing more."""

    def __init__(self, at: Address, fatal: int = 0, *, after: bool = False) -> None:
        super().__init__(at)
        self.dead = threading.Event()
        self.done: list[str] = []
        self._fatal, self._after = fatal, after

    def run(self, command: str) -> list[dict[str, str]]:
        if command.startswith(("SHOW", "KILL")):  # KILL is how older ones are asked for their state
            self._check()
            return super().run(command)
        with self._counted(command):
            return super().run(command)

    def _ask(self, at: pq.abc.PGconn, command: str) -> None:
        self._check()
        if command != "PAUSE":
            super()._ask(at, command)
            return
        with self._counted(command):
            super()._ask(at, command)

    def _answered(self, at: pq.abc.PGconn, deadline: float) -> bool:
        self._check()
        return super()._answered(at, deadline)

    @contextmanager
    def _counted(self, command: str) -> Iterator[None]:
        self._check()
        self.done.append(command)
        fatal = len(self.done) == self._fatal
        if fatal and not self._after:
            self.dead.set()
        self._check()
        yield
        if fatal:
            self.dead.set()
        self._check()

    def _check(self) -> None:
        if self.dead.is_set():
            die()


class RunningAgent:
    """An agent on a thread."""

    def __init__(
        self, board: Switchboard, made: Bouncer, *, pause_seconds: float = 3.0, fatal: int = 0, after: bool = False
    ) -> None:
        settings = AgentSettings(pool=made.settings, pause_seconds=pause_seconds)
        self.console = MortalConsole(made.console_address, fatal, after=after)
        self.agent = PoolerAgent(
            board.store, board.registry, "pod.pooler", self.console, made.desk, made.addresses, settings
        )
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.agent.run()
        except Killed:
            self.agent.stop()
            self.console.close()

    @property
    def dead(self) -> bool:
        """Whether its console died, and it with it."""
        return not self._thread.is_alive()

    def kill(self) -> None:
        """End it as a SIGKILL would, wherever it is: PgBouncer stays as it is."""
        self.console.dead.set()
        self.agent.stop()
        self._thread.join(DEADLINE)
        assert self.dead


@contextmanager
def agent(board: Switchboard, made: Bouncer, *, pause_seconds: float = 3.0) -> Iterator[RunningAgent]:
    """Running; it has told of itself."""
    running = RunningAgent(board, made, pause_seconds=pause_seconds)
    try:
        until(lambda: board.record.status.get("state") not in (None, "away"), "the agent found PgBouncer")
        yield running
    finally:
        running.kill()

"""A real Postgres, and a real PgBouncer in front of it, for the time of a test session.

Binaries are looked for in CROSSOVER_POSTGRES_BIN, on the PATH, where Debian puts them, and in
the cache of the image builder. Postgres refuses to run as root, so root hands it to `nobody`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

PASSWORD = "contract-test-password"
APPLICATION_ROLE = "trading"
_DEADLINE = 60.0


def find_postgres() -> Path | None:
    """The folder with initdb and postgres, the newest version first."""
    places = [Path(value) for value in (os.environ.get("CROSSOVER_POSTGRES_BIN"),) if value]
    found = shutil.which("initdb")
    if found:
        places.append(Path(found).resolve().parent)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossover"
    places += [path.parent for path in sorted(cache.glob("**/bin/initdb"))]
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


_ROOT = os.geteuid() == 0
_USER, _GROUP, _GROUPS = ("nobody", "nogroup", ()) if _ROOT else (None, None, None)


def _environment() -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=_environment(), capture_output=True, text=True, check=False,
        user=_USER, group=_GROUP, extra_groups=_GROUPS,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}: {log.read_text()[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port} after {_DEADLINE:.0f} s: {log.read_text()[-2000:]}")


class Postgres:
    """A server on loopback with one database `trading`, owned by an unprivileged role."""

    def __init__(self, folder: Path, binaries: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._settings = settings or {}
        self.port = free_port()
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "trading", role: str = APPLICATION_ROLE, port: int | None = None) -> str:
        """Where clients connect."""
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def initialise(self) -> None:
        """Make the cluster, the role and nothing else."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if _ROOT:
            shutil.chown(self.folder, "nobody", "nogroup")
        _run(
            *(str(self._binaries / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "-A", "scram-sha-256"),
            *("--pwfile", str(secret), "-E", "UTF8", "--no-sync"),
            "--data-checksums",
            cwd=self.folder,
        )

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        log = self.folder / "postgres.log"
        command = [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        # What a killed server leaves behind lies in its folder, and goes with it.
        command += ["-c", "dynamic_shared_memory_type=mmap"]
        command += [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._process = _spawn(command, self.folder, log)
        _wait(self.port, self._process, log)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        """It listens before it has recovered, and refuses until then."""
        deadline = time.monotonic() + _DEADLINE
        while True:
            try:
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                early = "starting up" in str(error) or "not yet accepting" in str(error)
                if not early or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # it announces nothing

    def stop(self, how: int = 2) -> None:
        """End it at once, rolling back what is open (SIGINT is Postgres' fast shutdown)."""
        if self._process is not None:
            _end(self._process, how)
            self._process = None


def _spawn(command: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=folder, env=_environment(), stdout=output, stderr=output,
            user=_USER, group=_GROUP, extra_groups=_GROUPS,
        )  # fmt: skip


def _end(process: subprocess.Popen[bytes], how: int) -> None:
    process.send_signal(how)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=20)


@contextmanager
def postgres(binaries: Path, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A running server in a folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crossover-postgres-", ignore_cleanup_errors=True) as name:
        server = Postgres(Path(name), binaries, settings)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def pgbouncer(server: Postgres) -> Iterator[int]:
    """A PgBouncer in transaction mode before `server`; its port."""
    binary = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if binary is None:
        raise FileNotFoundError("pgbouncer is not installed")
    port = free_port()
    users = server.folder / "users.txt"
    users.write_text(f'"{APPLICATION_ROLE}" "{PASSWORD}"\n')
    config = server.folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = plain\nauth_file = {users}\npool_mode = transaction\n"
        "max_client_conn = 100\ndefault_pool_size = 8\nunix_socket_dir =\n"
    )
    log = server.folder / "pgbouncer.log"
    process = _spawn([binary, str(config)], server.folder, log)
    try:
        _wait(port, process, log)
        yield port
    finally:
        _end(process, 9)

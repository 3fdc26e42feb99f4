"""Our own Postgres as its image starts it: the script `run` on this machine's binaries, in folders of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from adapters.postgres.driver import Address, connect
from components.selfhosted_postgres import HBA
from tests.contract.postgres_server import PASSWORD, find_postgres, free_port

IMAGE = Path(__file__).resolve().parents[2] / "local" / "images" / "postgres"
_USER, _GROUP, _GROUPS = ("nobody", "nogroup", ()) if os.geteuid() == 0 else (None, None, None)
_SECONDS = 60.0


def _binaries() -> Path:
    found = find_postgres()
    assert found is not None
    return found


def _environment() -> dict[str, str]:
    return {"PATH": f"{_binaries()}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


class OwnImage:
    """The container's files below `folder`. The port stands in place of the pod's own address."""

    def __init__(self, folder: Path, roles: str = "", settings: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.volume = folder / "data"
        for name in ("data", "tmp", "postgres", "initdb", "tls"):
            (folder / name).mkdir(parents=True)
        (folder / "password").write_text(PASSWORD)
        (folder / "initdb" / "roles.sql").write_text(roles)
        (folder / "postgres" / "pg_hba.conf").write_text(HBA)
        told = f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\nwal_level = logical\n"
        told += f"dynamic_shared_memory_type = mmap\n{settings}"
        (folder / "postgres" / "postgresql.conf").write_text(told)
        shutil.copy(IMAGE / "first.hba", folder / "first.hba")
        (folder / "run").write_text(self._placed((IMAGE / "run").read_text()))
        self._give(folder)

    def _placed(self, script: str) -> str:
        places = {
            "/usr/local/share/postgres/first.hba": "first.hba", "/docker-entrypoint-initdb.d": "initdb",
            "/run/secrets/tls": "tls", "/etc/postgres": "postgres", "/data": "data", "/tmp": "tmp",  # noqa: S108
        }  # fmt: skip
        # All at once: what is put in holds such a path itself.
        return re.sub("|".join(places), lambda found: str(self.folder / places[found[0]]), script)

    def _give(self, folder: Path) -> None:
        if _USER is not None:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, _USER, _GROUP)

    def give_certificate(self, certificate: str, key: str) -> None:
        """As a mounted Secret: everybody of the group may read it."""
        for name, text in (("tls.crt", certificate), ("tls.key", key)):
            (self.folder / "tls" / name).write_text(text)
            (self.folder / "tls" / name).chmod(0o440)
        self._give(self.folder / "tls")

    def start(self, environment: Mapping[str, str]) -> None:
        """Run it, and wait until it listens."""
        log = self.folder / "log"
        env = {**_environment(), "POSTGRES_PASSWORD_FILE": str(self.folder / "password"), **environment}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["sh", str(self.folder / "run")], env=env, cwd=self.folder, stdout=output, stderr=output,
                user=_USER, group=_GROUP, extra_groups=_GROUPS,
            )  # fmt: skip
        deadline = time.monotonic() + _SECONDS
        asking = [str(_binaries() / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(self.port)]
        while subprocess.run(asking, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start: {log.read_text()[-3000:]}")
            time.sleep(0.05)  # it announces nothing

    def run(self, script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run another script of the image to its end, as the server's user."""
        env = {**_environment(), **environment}
        if "PATH" in environment:
            env["PATH"] = f"{environment['PATH']}:{_environment()['PATH']}"
        return subprocess.run(
            ["sh", "-c", script], env=env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120,
            user=_USER, group=_GROUP, extra_groups=_GROUPS,
        )  # fmt: skip

    def from_elsewhere(self) -> None:
        """What comes over loopback counts as come from another pod: the two rules for the pod itself go."""
        self._rules("".join(line for line in HBA.splitlines(True) if not line.startswith("host ")))

    def at_home(self) -> None:
        """The other way round."""
        self._rules(HBA)

    def _rules(self, text: str) -> None:
        (self.folder / "postgres" / "pg_hba.conf").write_text(text)
        if self._process is not None:
            with connect(replace(self.address("prefer"), host=str(self.folder / "tmp")), "test") as connection:
                connection.execute("select pg_reload_conf()")

    def stop(self) -> None:
        """End it as the kubelet does."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(60)
            self._process = None

    def address(self, sslmode: str, authority: str = "", host: str = "127.0.0.1") -> Address:
        """Its superuser's."""
        return Address(host, self.port, "postgres", "postgres", PASSWORD, sslmode, authority)


@contextmanager
def own_image(folder: Path, roles: str = "", settings: str = "") -> Iterator[OwnImage]:
    """One that is stopped afterwards."""
    made = OwnImage(folder, roles, settings)
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def run_script(script: str, folder: Path) -> Iterator[None]:
    """Run a script of the image with the server's binaries, as the server's user, until it is left."""
    folder.chmod(0o755)
    if _USER is not None:
        shutil.chown(folder, _USER, _GROUP)
    with (folder / "log").open("ab") as output:
        process = subprocess.Popen(
            ["sh", "-c", script], env=_environment(), cwd=folder, stdout=output, stderr=output,
            user=_USER, group=_GROUP, extra_groups=_GROUPS,
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(2)
        process.wait(60)

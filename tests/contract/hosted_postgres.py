"""A hosted project as local/hosted_postgres makes it, and our own server beside it."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.postgres.driver import Address, Connection, connect, sql
from local.hosted_postgres import MIGRATION_ROLE, SETTINGS, seed
from tests.contract.postgres_server import PASSWORD, Postgres, find_postgres, postgres
from tests.contract.two_postgres import OWN_ROLE, Pair, address

_EXTRA = {"fsync": "off", "max_prepared_transactions": "2"}
OWN_SETTINGS = {"wal_level": "logical", "max_wal_senders": "10", "max_replication_slots": "5", **_EXTRA}


@dataclass(frozen=True, slots=True)
class Project:
    """The hosted server, ours, and the programs that belong to them."""

    hosted: Postgres
    own: Postgres
    binaries: Path

    def plant(self, database: str, *, subscriptions: bool = True, sample: bool = True) -> None:
        """Run the seed in `database`, as at every start."""
        admin = address(self.hosted, "postgres", "postgres")
        script = seed(
            database=database, application_role=OWN_ROLE, subscriptions=subscriptions, sample=sample
        )  # fmt: skip
        done = subprocess.run(
            [str(self.binaries / "psql"), "--no-psqlrc", "--quiet"],
            input=script, env=admin.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        with connect(admin, "crossover-test") as connection:
            set_password(connection, MIGRATION_ROLE)

    def new(self, **own: str) -> Pair:
        """A database of its own at each side: a seeded one, and an empty one, made with `own` as options."""
        name = f"project_{uuid.uuid4().hex[:8]}"
        for server, options in ((self.hosted, {}), (self.own, own)):
            with connect(address(server, "postgres", "postgres"), "crossover-test") as admin:
                given = " ".join(f"{option} '{value}'" for option, value in options.items())
                admin.execute(f"create database {name} template template0 {given}".encode())
        self.plant(name)
        return Pair(
            address(self.hosted, name, MIGRATION_ROLE),
            address(self.own, name, "postgres"),
            address(self.hosted, name, "postgres"),
        )


def set_password(connection: Connection, role: str) -> None:
    """Let it log in."""
    connection.execute(
        sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
    )  # fmt: skip


@contextmanager
def project() -> Iterator[Project]:
    """Both servers, running. Ours has the roles that the application's grants name."""
    binaries = find_postgres()
    if binaries is None:
        raise FileNotFoundError("no Postgres server binaries here: install postgresql, or set CROSSOVER_POSTGRES_BIN")
    with postgres(binaries, {**SETTINGS, **_EXTRA}) as hosted, postgres(binaries, OWN_SETTINGS) as own:
        with connect(address(own, "postgres", "postgres"), "crossover-test") as admin:
            for role in ("anon", "authenticated", "service_role", OWN_ROLE):
                admin.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
            set_password(admin, OWN_ROLE)
        yield Project(hosted, own, binaries)


def as_role(at: Address, role: str) -> Address:
    """The same database, as somebody else."""
    return Address(at.host, at.port, at.database, role, PASSWORD, at.sslmode)

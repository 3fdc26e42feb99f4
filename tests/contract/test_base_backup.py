"""Base backups by the image's script: of our own server as it is started, over TLS, restored into a second one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres.driver import Address, connect, sql
from adapters.postgres.errors import PostgresError
from components.selfhosted_postgres import roles_sql
from components.settings import parse
from tests.contract.own_image import IMAGE, OwnImage, own_image, run_script
from tests.contract.postgres_server import free_port
from tests.contract.two_postgres import run
from validation.backup.making import await_scratch, measure

pytestmark = pytest.mark.contract
SECRET = "backuppassword123"
SETTINGS = parse("local", {"kube_context": "c"})


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that the servers' user reaches."""
    with tempfile.TemporaryDirectory(prefix="crossover-base-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[OwnImage]:
    roles = roles_sql(SETTINGS, "apppassword", SECRET)
    with own_image(place / "pod", roles, "max_wal_senders = 5\n") as made:
        made.start({"POSTGRES_TLS_NAMES": "localhost"})
        with connect(made.address("require"), "test") as connection:
            run(
                connection,
                "create schema kept",
                "create table kept.rows (id int primary key, t text, raw bytea)",
                "insert into kept.rows select g, repeat('ü', g % 50), sha256(g::text::bytea)"
                " from generate_series(1, 5000) g",
            )
        yield made


@pytest.fixture
def backups(place: Path, server: OwnImage) -> Iterator[Path]:
    """Its volume."""
    folder = place / "backups"
    folder.mkdir()
    shutil.chown(folder, server.volume.owner(), server.volume.group())
    yield folder
    shutil.rmtree(folder)


def _back_up(server: OwnImage, backups: Path, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "crossover_backup", "PGPASSWORD": SECRET,
        "PGSSLMODE": "require", "KEEP_DAYS": "7", **given,
    }  # fmt: skip
    script = (IMAGE / "base-backup").read_text().replace("/backups", str(backups))
    return server.run(script, environment)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_is_made_checked_and_comes_back_at_a_second_server(place: Path, server: OwnImage, backups: Path) -> None:
    done = _back_up(server, backups)
    assert done.returncode == 0, done.stderr
    (name,) = _names(backups)
    assert len(name) == 14 and name.isdigit()
    assert _names(backups / name) == ["backup_manifest", "base.tar.gz", "pg_wal.tar.gz"]
    with connect(server.address("require"), "test") as connection:
        there = measure(connection, ["kept"])
        # Not in it: what comes later.
        run(connection, "insert into kept.rows values (0, 'later', null)")
    data = place / "restored"
    (data / "pg_wal").mkdir(parents=True)
    for archive, target in (("base.tar.gz", data), ("pg_wal.tar.gz", data / "pg_wal")):
        with tarfile.open(backups / name / archive) as tar:
            tar.extractall(target, filter="data")
    data.chmod(0o700)
    for path in (data, *data.rglob("*")):
        shutil.chown(path, server.volume.owner(), server.volume.group())
    port = free_port()
    start = (
        f"exec postgres -D {data} -k {place} -c listen_addresses= -c port={port} -c ssl=off"
        f" -c hba_file={IMAGE / 'first.hba'}"
    )
    with run_script(start, place):
        at = Address(str(place), port, "postgres", "postgres")
        await_scratch(at, 60)
        with connect(at, "test") as connection:
            assert measure(connection, ["kept"]) == there
            assert there["kept.rows"].rows == 5000
            (row,) = connection.execute(sql.SQL("show data_checksums")).fetchall()
    assert row == ("on",)


def test_only_the_old_go_and_only_once_a_new_one_is_there(server: OwnImage, backups: Path) -> None:
    for old in ("20200101000000", "29990101000000", "notes", "20200102000000.part"):
        (backups / old).mkdir()
        shutil.chown(backups / old, server.volume.owner(), server.volume.group())
    failed = _back_up(server, backups, PGPASSWORD="wrong")
    assert failed.returncode != 0
    assert _names(backups) == ["20200101000000", "29990101000000", "notes"]
    done = _back_up(server, backups)
    assert done.returncode == 0, done.stderr
    left = _names(backups)
    assert "20200101000000" not in left and {"29990101000000", "notes"} <= set(left)
    assert len(left) == 3


def test_one_that_is_damaged_gets_no_name(server: OwnImage, backups: Path, place: Path) -> None:
    """A tar whose content changes between its making and its check."""
    programs = place / "programs"
    programs.mkdir()
    real = shutil.which("tar")
    # Unpacks as tar does, then one byte of a table is another.
    (programs / "tar").write_text(
        f'#!/bin/sh\n{real} "$@" || exit 1\nif [ -f "$4/base/1/1259" ]; then\n'
        '  printf x | dd of="$4/base/1/1259" bs=1 seek=5000 conv=notrunc 2> /dev/null\nfi\n'
    )
    (programs / "tar").chmod(0o755)
    done = _back_up(server, backups, PATH=f"{programs}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert "checksum mismatch" in done.stderr
    assert _names(backups) == []


def test_its_role_gets_into_no_database_and_nowhere_without_tls(server: OwnImage, backups: Path) -> None:
    at = server.address("require")
    mine = Address(at.host, at.port, "postgres", "crossover_backup", SECRET, "require")
    server.from_elsewhere()
    try:
        with pytest.raises(PostgresError, match="rejects connection"):
            connect(mine, "test")
    finally:
        server.at_home()
    done = _back_up(server, backups, PGSSLMODE="disable")
    assert "no pg_hba.conf entry for replication connection" in done.stderr
    assert _names(backups) == []

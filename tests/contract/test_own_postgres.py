"""Our own Postgres, started by its image's script: its own certificate or the user's, TLS for all but itself, and a
start that waits for nobody."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres.driver import Address, connect
from adapters.postgres.errors import PostgresError
from tests.contract.own_image import OwnImage, own_image

pytestmark = pytest.mark.contract
MAKES = {"POSTGRES_TLS_NAMES": "postgres-service,localhost"}


@pytest.fixture
def server() -> Iterator[OwnImage]:
    # Not tmp_path: whoever runs the server must reach it, and root's folders are root's.
    with tempfile.TemporaryDirectory(prefix="crossover-own-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with own_image(Path(name) / "pod") as made:
            yield made


def _encrypted(address: Address) -> bool:
    with connect(address, "test", session={}) as connection:
        row = connection.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
    assert row is not None
    return bool(row[0])


def test_a_certificate_is_made_at_the_first_start_and_kept(server: OwnImage) -> None:
    server.start(MAKES)
    made = (server.volume / "tls" / "tls.crt").read_text()
    assert (server.volume / "tls" / "tls.key").stat().st_mode & 0o077 == 0
    assert _encrypted(server.address("require"))
    # Who has it as an authority can verify it, for the names that it was made for.
    authority = server.folder.parent / "pinned.crt"
    authority.write_text(made)
    assert _encrypted(server.address("verify-full", str(authority), "localhost"))
    with pytest.raises(PostgresError, match="does not match"):
        connect(server.address("verify-full", str(authority)), "test")
    server.stop()
    server.start(MAKES)
    assert (server.volume / "tls" / "tls.crt").read_text() == made


def test_from_other_pods_nobody_gets_in_without_tls(server: OwnImage) -> None:
    server.from_elsewhere()
    server.start(MAKES)
    assert _encrypted(server.address("require"))
    with pytest.raises(PostgresError, match=r"no encryption|SSL off"):
        connect(server.address("disable"), "test")


def test_a_certificate_that_is_about_to_end_is_made_anew(server: OwnImage) -> None:
    folder = server.volume / "tls"
    folder.mkdir()
    old, _ = _certificate(folder, "localhost", days=10)
    shutil.chown(folder, server.volume.owner(), server.volume.group())
    server.start(MAKES)
    assert (folder / "tls.crt").read_text() != old
    assert _encrypted(server.address("require"))


def test_the_users_certificate_is_taken_at_each_start(server: OwnImage) -> None:
    for name in ("first", "second"):
        aside = server.folder.parent / name
        aside.mkdir()
        certificate, key = _certificate(aside, "localhost", days=100)
        server.give_certificate(certificate, key)
        server.start({})
        assert _encrypted(server.address("verify-full", str(aside / "tls.crt"), "localhost"))
        assert not (server.volume / "tls").exists()
        server.stop()


def test_a_server_of_which_nobody_wants_tls_has_none(server: OwnImage) -> None:
    server.start({})
    assert not _encrypted(server.address("prefer"))


def _certificate(folder: Path, name: str, *, days: int) -> tuple[str, str]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days",
         str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out",
         str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    return certificate.read_text(), key.read_text()


def test_a_server_whose_commits_wait_for_another_starts_again(server: OwnImage) -> None:
    """Its start writes roles, and nobody can follow before it serves."""
    server.start({})
    with connect(server.address("disable"), "test", session={}) as connection:
        connection.execute("alter system set synchronous_standby_names = 'crossover_from_selfhosted'")
    server.stop()
    server.start({})
    with connect(server.address("disable"), "test", session={}) as connection:
        assert connection.execute("show synchronous_standby_names").fetchone() == ("crossover_from_selfhosted",)

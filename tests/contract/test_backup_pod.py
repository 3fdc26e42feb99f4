"""What goes to and from the pod of a backup, by a kubectl that runs here, with the real age."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.routes.backup_job import BackupJob
from adapters.routes.jobs import JobFailed
from validation.backup.sealing import HEADER, SealError, seal, unseal

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(shutil.which("age") is None, reason="there is no age on PATH: make test installs it"),
]
PASSPHRASE = "correct horse battery"
KUBECTL = """#!/bin/sh
echo "$@" >> "$KUBECTL_LOG"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


class Jobs:
    """Of a pod that is this process' machine."""

    def pod_of(self, name: str) -> str:
        return "pod-1"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupJob:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kubectl").write_text(KUBECTL)
    (programs / "kubectl").chmod(0o755)
    # The pod's `python` has the repository's packages.
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECTL_LOG", str(tmp_path / "log"))
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    jobs: Any = Jobs()
    return BackupJob(jobs, "here", "trading")


def test_what_is_sealed_opens_with_its_passphrase_only() -> None:
    plain = os.urandom(300_000)
    sealed = seal(plain, PASSPHRASE)
    assert sealed.startswith(HEADER)
    assert plain[:64] not in sealed
    assert unseal(sealed, PASSPHRASE) == plain
    with pytest.raises(SealError, match="incorrect passphrase"):
        unseal(sealed, PASSPHRASE + "!")
    with pytest.raises(SealError):
        unseal(sealed[:-1], PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["short", "", "two lines\nof enough characters"])
def test_a_passphrase_that_is_none_seals_nothing(passphrase: str) -> None:
    with pytest.raises(SealError, match="at least 12"):
        seal(b"plain", passphrase)


def test_the_pod_seals_and_nothing_of_it_is_in_an_argument(job: BackupJob, tmp_path: Path) -> None:
    sealed = job.seal(b"hunter2", PASSPHRASE)
    assert unseal(sealed, PASSPHRASE) == b"hunter2"
    log = (tmp_path / "log").read_text()
    assert log.startswith("--namespace trading --context here exec -i pod-1 -c ")
    assert "hunter2" not in log and "correct" not in log


def test_files_come_whole_and_what_fails_says_why(job: BackupJob, tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    (tmp_path / "there").write_bytes(content)
    job.fetch(str(tmp_path / "there"), tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == content
    job.mark(str(tmp_path / "fetched"))
    assert (tmp_path / "fetched").read_bytes() == b""
    with pytest.raises(JobFailed, match="No such file"):
        job.fetch(str(tmp_path / "nowhere"), tmp_path / "here")
    with pytest.raises(JobFailed, match="at least 12"):
        job.seal(b"x", "short")

"""`crossover backup`, with a pod that is this machine's: what is kept, sealed, noted, and found damaged."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from adapters.routes import exporting
from adapters.routes.jobs import JobFailed
from adapters.routes.memory import MemoryBackupNotes
from cli import backup
from cli.__main__ import app
from cli.errors import CliError
from validation.backup import folder as kept
from validation.backup.__main__ import told
from validation.backup.making import CONTENT, DUMP, ROLES, Content, TableContent
from validation.backup.sealing import HEADER
from validation.result import Check, Report

SECRET = "hunter2-of-the-database"
PASSPHRASE = "correct horse battery"
CONTENT_ = Content(
    at=datetime(2026, 1, 2, tzinfo=UTC), side="hosted", server="17.12", lsn="0/1", sequences={}, large_objects=0,
    tables={"trading.orders": TableContent(rows=7, checksum="99")},
)  # fmt: skip
GOOD = Report(subject="backup of hosted", checks=(Check.that("rows", True, expected="same", found="same"),))
BAD = Report(subject="backup of hosted", checks=(Check.that("rows", False, expected="same", found="other"),))


class Pod:
    """In place of BackupJob. `report` is what the pod says of its dump; `spoil` what happens to a file on its way."""

    files: Path
    report = GOOD
    sealed: tuple[bytes, str] = (b"", "")
    marked: tuple[str, ...] = ()
    spoil: Callable[[int, bytes], bytes] = staticmethod(lambda fetched, content: content)
    fetched = 0

    def __init__(self, jobs: Any, context: str | None, namespace: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def await_report(self, say: Callable[[str], None]) -> dict[str, Any]:
        say("dumping")
        found: dict[str, Any] = json.loads(told(Pod.report, Pod.files))
        return found

    def fetch(self, path: str, target: Path) -> None:
        Pod.fetched += 1
        target.write_bytes(Pod.spoil(Pod.fetched, (Pod.files / Path(path).name).read_bytes()))

    def seal(self, plain: bytes, passphrase: str) -> bytes:
        Pod.sealed = plain, passphrase
        return HEADER + b"..."

    def mark(self, path: str) -> None:
        Pod.marked = (*Pod.marked, path)


@pytest.fixture(autouse=True)
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryBackupNotes:
    pod = tmp_path / "pod"
    pod.mkdir()
    (pod / DUMP).write_bytes(b"PGDMP" + bytes(range(256)) * 100)
    (pod / ROLES).write_text("CREATE ROLE x;")
    (pod / CONTENT).write_text(CONTENT_.model_dump_json())
    Pod.files, Pod.report, Pod.sealed, Pod.marked, Pod.fetched = pod, GOOD, (b"", ""), (), 0
    Pod.spoil = staticmethod(lambda fetched, content: content)
    found = MemoryBackupNotes()
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"password": SECRET}}
    maps = {"configmaps": [{"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}}], "jobs": []}
    for name, value in {
        "connect": lambda context: None,
        "KubernetesJobs": lambda api, namespace: None,
        "BackupJob": Pod,
        "KubernetesBackupNotes": lambda namespace, api: found,
    }.items():
        monkeypatch.setattr(backup, name, value)
    monkeypatch.setattr(exporting, "manifests", lambda api, namespace: maps)
    monkeypatch.setattr(exporting, "secrets", lambda api, namespace: [secret])
    monkeypatch.setattr(exporting, "whoami", lambda api: "admin")
    monkeypatch.setenv(backup.ENV_PASSPHRASE, PASSPHRASE)
    return found


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["backup", *arguments])
    return result.exit_code, result.output, result.exception


def _made(to: Path) -> Path:
    (found,) = (path for path in to.iterdir() if path.is_dir())
    return found


def test_a_backup_has_all_of_it_and_is_noted(tmp_path: Path, notes: MemoryBackupNotes) -> None:
    to = tmp_path / "kept"
    code, text, _ = run("--to", str(to))
    assert code == 0, text
    made = _made(to)
    manifest = kept.Manifest.model_validate_json((made / kept.MANIFEST).read_text())
    assert set(manifest.files) == {
        DUMP, ROLES, CONTENT, "stack/Pulumi.yaml", "stack/Pulumi.local.yaml", "kubernetes/configmaps.json",
        "kubernetes/jobs.json", kept.SECRETS,
    }  # fmt: skip
    assert json.loads((made / "kubernetes/configmaps.json").read_text())["items"][0]["data"] == {"a": "b"}
    note = notes.read()
    assert note is not None
    assert (note.side, note.at, note.rows, note.digest) == ("hosted", CONTENT_.at, 7, kept.digest_of(made))
    assert "as admin" in note.by
    assert Pod.marked == ("/backup/fetched",)
    lines = [json.loads(line) for line in (to / kept.AUDIT).read_text().splitlines()]
    assert [(line["what"], line["backup"], line["digest"]) for line in lines] == [
        ("made", made.name, note.digest), ("verified", made.name, note.digest),
    ]  # fmt: skip
    assert all("admin" in line["who"] and line["when"] for line in lines)


def test_secrets_are_sealed_and_stand_nowhere_in_the_clear(tmp_path: Path) -> None:
    to = tmp_path / "kept"
    _, text, _ = run("--to", str(to))
    plain, passphrase = Pod.sealed
    assert SECRET.encode() in plain
    assert passphrase == PASSPHRASE
    for path in (path for path in to.rglob("*") if path.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
        assert PASSPHRASE.encode() not in path.read_bytes(), path
    assert SECRET not in text and PASSPHRASE not in text


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    run("--to", str(tmp_path / "kept"))
    made = _made(tmp_path / "kept")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (made, *made.rglob("*"))} == {0o700, 0o600}


def test_a_dump_that_did_not_restore_is_no_backup(tmp_path: Path, notes: MemoryBackupNotes) -> None:
    Pod.report = BAD
    code, _, error = run("--to", str(tmp_path / "kept"))
    assert code != 0
    assert isinstance(error, CliError)
    assert list((tmp_path / "kept").iterdir()) == []
    assert notes.read() is None


def test_a_stream_that_ended_early_is_asked_for_again(tmp_path: Path, notes: MemoryBackupNotes) -> None:
    Pod.spoil = staticmethod(lambda fetched, content: content[:-1] if fetched == 1 else content)
    code, text, _ = run("--to", str(tmp_path / "kept"))
    assert code == 0 and "once more" in text
    assert notes.read() is not None


def test_one_that_never_comes_whole_is_no_backup(tmp_path: Path, notes: MemoryBackupNotes) -> None:
    Pod.spoil = staticmethod(lambda fetched, content: content[:-1])
    _, _, error = run("--to", str(tmp_path / "kept"))
    assert isinstance(error, CliError) and "3 times" in str(error)
    assert list((tmp_path / "kept").iterdir()) == []
    assert notes.read() is None


def test_what_failed_midway_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Pod, plain: bytes, passphrase: str) -> bytes:
        raise JobFailed("lost")

    monkeypatch.setattr(Pod, "seal", fail)
    code, _, _ = run("--to", str(tmp_path / "kept"))
    assert code != 0
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize("given", ["short", "two lines\nof enough characters"])
def test_a_passphrase_that_is_none_is_refused_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv(backup.ENV_PASSPHRASE, given)
    _, _, error = run("--to", str(tmp_path / "kept"))
    assert isinstance(error, CliError)
    assert given not in str(error)
    assert not (tmp_path / "kept").exists()


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _link(path: Path) -> None:
    aside = path.parent.parent / "aside"
    path.rename(aside)
    path.symlink_to(aside)


@pytest.mark.parametrize("name", [DUMP, ROLES, CONTENT, kept.SECRETS, "stack/Pulumi.yaml"])
@pytest.mark.parametrize("spoil", [_append, _flip, Path.unlink, _link])
def test_verify_finds_what_is_damaged(tmp_path: Path, spoil: Callable[[Path], None], name: str) -> None:
    run("--to", str(tmp_path / "kept"))
    made = _made(tmp_path / "kept")
    assert run("verify", str(made))[0] == 0
    before = (tmp_path / "kept" / kept.AUDIT).read_text()
    spoil(made / name)
    code, text, _ = run("verify", str(made))
    assert code == 1
    assert "DOES NOT HOLD" in text
    assert (tmp_path / "kept" / kept.AUDIT).read_text() == before


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}'])
def test_verify_of_what_is_no_backup_fails(tmp_path: Path, text: str) -> None:
    (tmp_path / kept.MANIFEST).write_text(text)
    assert run("verify", str(tmp_path))[0] == 1
    assert run("verify", str(tmp_path / "nowhere"))[0] == 1


def test_a_file_that_was_put_in_is_found(tmp_path: Path) -> None:
    run("--to", str(tmp_path / "kept"))
    made = _made(tmp_path / "kept")
    (made / "stack" / "more").write_text("")
    assert [check.name for check in kept.verify(made).failures()] == ["no others"]


def test_a_manifest_without_what_must_be_there_is_none(tmp_path: Path) -> None:
    run("--to", str(tmp_path / "kept"))
    made = _made(tmp_path / "kept")
    manifest = json.loads((made / kept.MANIFEST).read_text())
    del manifest["files"][DUMP]
    (made / kept.MANIFEST).write_text(json.dumps(manifest))
    (made / DUMP).unlink()
    assert [check.name for check in kept.verify(made).failures()] == ["files"]

"""A backup as it is kept: a folder with a manifest of sums, which appears whole or not at all.

    manifest.json               what this is, and the SHA-256 of every other file
    database.dump               pg_dump's custom format: pg_restore reads it
    roles.sql, content.json     the server's roles; what was found in the dump's snapshot
    stack/                      Pulumi.yaml and the stack's own file: its secrets are encrypted by Pulumi
    kubernetes/*.json           what the backend's namespace holds
    kubernetes/secrets.json.age its Secrets, sealed with a passphrase

Beside it, in the folder above, audit.jsonl has a line for each backup and each time that one was verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from adapters.durable import sync
from validation.backup.making import CONTENT, DUMP, ROLES, Content
from validation.backup.sealing import HEADER
from validation.result import Check, Report

MANIFEST, AUDIT, SECRETS = "manifest.json", "audit.jsonl", "kubernetes/secrets.json.age"
NEEDED = (DUMP, ROLES, CONTENT, SECRETS)
FORMAT = 1
_DUMP_HEADER = b"PGDMP"
_MAKE = "Make another: crossover backup --to FOLDER"


class KeptFile(BaseModel):
    """One file of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a backup is. `at`: what was committed then is in it; `made`: when it was whole; `by`: who made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    at: AwareDatetime
    made: AwareDatetime
    by: str
    stack: str
    side: str
    files: dict[str, KeptFile]


def sha256(path: Path) -> str:
    """Of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept(path: Path) -> KeptFile:
    """A file as a manifest has it."""
    return KeptFile(bytes=path.stat().st_size, sha256=sha256(path))


@contextmanager
def begun(above: Path, name: str) -> Iterator[Path]:
    """A folder for what is to become the backup `name` in `above`, of this user alone; gone again where it failed."""
    above.mkdir(parents=True, exist_ok=True)
    aside = above / f".{name}.part"
    aside.mkdir(mode=0o700)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def finish(aside: Path, above: Path, name: str, *, by: str, stack: str) -> tuple[Path, str]:
    """Write the manifest, see that all is on disk, and give the folder its name: the folder, and the digest of the
    backup, which is that of its manifest."""
    content = Content.model_validate_json((aside / CONTENT).read_text())
    files = {str(path.relative_to(aside)): kept(path) for path in _files(aside)}
    manifest = Manifest(
        at=content.at, made=datetime.now(UTC), by=by, stack=stack, side=content.side, files=dict(sorted(files.items()))
    )
    (aside / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
    for path in (*_files(aside), *(one for one in aside.rglob("*") if one.is_dir()), aside):
        _settle(path)
    made = above / name
    aside.rename(made)
    _settle(above)
    return made, sha256(made / MANIFEST)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _settle(path: Path) -> None:
    """On disk, not only in memory. Files become their owner's alone: they hold what the database holds."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    sync(path)


def audit(above: Path, who: str, what: str, backup: str, digest: str) -> None:
    """Add a line to the log of `above`."""
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "who": who, "what": what, "backup": backup}
    handle = os.open(above / AUDIT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, (json.dumps({**line, "digest": digest}) + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def verify(folder: Path) -> Report:
    """Whether a backup is whole: every file of its manifest, unchanged, and no other."""
    subject = f"backup {folder.name}"
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
    except (OSError, ValidationError) as error:
        found = str(error).splitlines()[0]
        check = Check.that("manifest", False, expected=f"{MANIFEST} can be read", found=found, fix=_MAKE)
        return Report(subject=subject, checks=(check,))
    names = {str(path.relative_to(folder)) for path in _files(folder)} - {MANIFEST}
    wrong = [_wrong(folder, name, one) for name, one in manifest.files.items() if name in names]
    wrong = [text for text in wrong if text]
    missing = sorted((manifest.files.keys() | set(NEEDED)) - names)
    others = sorted(names - manifest.files.keys())
    checks = (
        Check.that("manifest", manifest.format == FORMAT, expected=f"format {FORMAT}", found=f"{manifest.format}"),
        Check.none_wrong(
            "sums", wrong=len(wrong), of=len(names), what="files that changed", detail="; ".join(wrong[:5]), fix=_MAKE
        ),
        Check.that("files", not missing, expected="all are there", found=_listed("missing", missing), fix=_MAKE),
        Check.that("no others", not others, expected="none", found=_listed("found", others), fix="Move them elsewhere"),
        *_opened(folder, names),
    )
    figures = {"files": len(names), "bytes": sum(one.bytes for one in manifest.files.values())}
    return Report(subject=subject, checks=checks, figures=figures)


def _wrong(folder: Path, name: str, expected: KeptFile) -> str:
    path = folder / name
    if path.is_symlink():
        return f"{name} is a link"
    size = path.stat().st_size
    if size != expected.bytes:
        return f"{name} has {size} bytes, not {expected.bytes}"
    return "" if sha256(path) == expected.sha256 else f"{name} has other content"


def _listed(word: str, found: list[str]) -> str:
    return f"{word}: {', '.join(found[:5])}" if found else "none"


def _opened(folder: Path, names: set[str]) -> Iterator[Check]:
    """What the two files that matter most begin with."""
    for name, header, what in ((DUMP, _DUMP_HEADER, "a dump of pg_dump"), (SECRETS, HEADER, "sealed by age")):
        if name in names:
            with (folder / name).open("rb") as file:
                begins = file.read(len(header)) == header
            yield Check.that(name, begins, expected=what, found=what if begins else "something else", fix=_MAKE)


def digest_of(folder: Path) -> str:
    """The digest of a backup."""
    return sha256(folder / MANIFEST)

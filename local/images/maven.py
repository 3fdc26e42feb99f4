"""Jars from Maven Central: a lock of coordinates and checksums (jars.lock beside an image.toml).

jars.xml, an ordinary pom, says what is wanted; `python -m local.images lock jars` has Maven resolve it. A build needs
no Maven.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.images import sources
from local.images.cache import Cache, Download, file_digest
from local.images.definition import Definition
from local.images.errors import ImageError

_LISTED = re.compile(r"^\s+([\w.-]+):([\w.-]+):jar:([\w.-]+):(?:compile|runtime)", re.MULTILINE)


@dataclass(frozen=True)
class Jar:
    """One jar. `path` below a Maven repository, `size` in bytes."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def download(self) -> Download:
        """Where it is had from."""
        return Download(f"{sources.maven()}/{self.path}", self.sha256, self.size)


def lock_file(definition: Definition) -> Path:
    """Where the lock of an image lies."""
    return definition.directory / "jars.lock"


def read_lock(path: Path) -> list[Jar]:
    """The locked jars. Raises ImageError where nothing is locked."""
    lines = path.read_text().splitlines() if path.is_file() else []
    jars = [Jar(file, int(size), sha256) for file, size, sha256 in (line.split() for line in lines if line[0] != "#")]
    if not jars:
        raise ImageError(f"{path} locks no jar, so what to download is open. Run: python -m local.images lock jars")
    return jars


def obtain(jars: list[Jar], cache: Cache, what: str) -> dict[str, Path]:
    """The files by checksum."""
    return cache.fetch((one.download for one in jars), what)


def write_lock(definition: Definition) -> int:
    """Have Maven resolve the image's jars.xml and write its lock; the number of jars in it."""
    with tempfile.TemporaryDirectory() as folder:
        listing, jars = Path(folder) / "list", Path(folder) / "jars"
        for goal in (
            ["dependency:list", f"-DoutputFile={listing}", "-DincludeScope=runtime"],
            ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"],
        ):
            command = ["mvn", "-q", "-B", "-f", str(definition.directory / "jars.xml"), *goal]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise ImageError(f"`{' '.join(command)}` failed: {result.stdout[-800:]}{result.stderr[-400:]}")
        lines = []
        for group, artifact, version in sorted(_LISTED.findall(listing.read_text())):
            file = jars / f"{artifact}-{version}.jar"
            path = f"{group.replace('.', '/')}/{artifact}/{version}/{file.name}"
            lines.append(f"{path} {file.stat().st_size} {file_digest(file)}\n")
    head = "# Made by `python -m local.images lock jars` of jars.xml: path below a Maven repository, size, sha256.\n"
    lock_file(definition).write_text(head + "".join(lines))
    return len(lines)

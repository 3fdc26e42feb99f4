"""A layer as a tar file whose bytes depend on its content only: sorted, root-owned, one fixed time.

Content is spooled to a temporary file, so a layer of some hundred MB needs little memory.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Literal, cast

from local.images.errors import ImageError

MERGED = ("bin", "lib", "lib64", "sbin")
"""Folders that are links into /usr since Debian merged them; packages may still name them."""

Kind = Literal["file", "link", "directory"]


def epoch() -> int:
    """The time of every entry, seconds since 1970: SOURCE_DATE_EPOCH where set, else 0."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isdigit():
        raise ImageError(f"SOURCE_DATE_EPOCH is {text!r}, no number of seconds; unset it or give a whole number.")
    return int(text)


@dataclass(frozen=True)
class Entry:
    """One path of a layer. `offset` and `size` point into the spool; `target` is a link's text."""

    kind: Kind
    mode: int
    owner: int = 0
    offset: int = 0
    size: int = 0
    target: str = ""


@dataclass(frozen=True)
class Layer:
    """A finished layer: its tar file, the digest of the bytes in it, and their number."""

    path: Path
    diff_id: str
    size: int


class LayerBuilder:
    """Collects paths, then writes them as one deterministic tar file. Use as a context manager."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by __exit__
        self._end = 0
        self._entries: dict[str, Entry] = {}

    def __enter__(self) -> LayerBuilder:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add_file(self, path: str, content: bytes | IO[bytes], mode: int = 0o644) -> None:
        """A regular file; a later one of the same path replaces it. Set-id bits are dropped."""
        stream = BytesIO(content) if isinstance(content, bytes) else content
        self._spool.seek(self._end)
        size = 0
        while chunk := stream.read(1 << 20):
            self._spool.write(chunk)
            size += len(chunk)
        self._put(path, Entry("file", mode & 0o777, offset=self._end, size=size))
        self._end += size

    def add_copy(self, path: str, of: str, mode: int) -> None:
        """A second name for the content of `of`: what a hard link in a package becomes."""
        original = self._entries.get(clean(of))
        if original is None or original.kind != "file":
            raise ImageError(f"{path} is a hard link to {of}, which is not in the layer; keep or exclude both.")
        self._put(path, replace(original, mode=mode & 0o777))

    def add_link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._put(path, Entry("link", 0o777, target=target))

    def add_directory(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """A folder, owned by the user and group `owner`."""
        self._put(path, Entry("directory", mode & 0o1777, owner=owner))

    def read(self, path: str) -> bytes:
        """The content of a file that was added."""
        entry = self._entries[clean(path)]
        self._spool.seek(entry.offset)
        return self._spool.read(entry.size)

    def files(self, pattern: str) -> Iterator[str]:
        """The paths of files and links that match a shell pattern, sorted."""
        for path in sorted(self._entries):
            if self._entries[path].kind != "directory" and PurePosixPath(path).match(pattern):
                yield path

    def extract(self, root: Path, prefixes: tuple[str, ...], suffix: str = "") -> None:
        """Write the files and links whose path starts with one of `prefixes` and ends with `suffix` below `root`."""
        for path, entry in self._entries.items():
            if entry.kind == "directory" or not path.startswith(prefixes) or not path.endswith(suffix):
                continue
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            if entry.kind == "link":
                place.symlink_to(entry.target)
            else:
                place.write_bytes(self.read(path))
                place.chmod(entry.mode)

    def write(self, destination: Path) -> Layer:
        """Write the tar file. The same entries give the same bytes, whatever order they came in."""
        time = epoch()
        with destination.open("wb") as raw:
            sink = _Hashing(raw)
            with tarfile.open(fileobj=cast(IO[bytes], sink), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for path in sorted(self._entries):
                    self._write_entry(tar, path, self._entries[path], time)
        return Layer(destination, f"sha256:{sink.digest.hexdigest()}", sink.size)

    def _write_entry(self, tar: tarfile.TarFile, path: str, entry: Entry, time: int) -> None:
        info = tarfile.TarInfo(path)
        info.mode, info.mtime, info.uid, info.gid = entry.mode, time, entry.owner, entry.owner
        info.size, info.linkname = entry.size, entry.target
        info.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "directory": tarfile.DIRTYPE}[entry.kind]
        if entry.kind == "file":
            self._spool.seek(entry.offset)
            tar.addfile(info, self._spool)
        else:
            tar.addfile(info)

    def _put(self, path: str, entry: Entry) -> None:
        name = clean(path)
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            self._entries.setdefault(str(parent), Entry("directory", 0o755))
        self._entries[name] = entry


class _Hashing:
    """A sink that hashes what is written through it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._raw.write(data)


def clean(path: str) -> str:
    """The path as it stands in a layer: relative, without `./`, below /usr where Debian merged it there."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise ImageError(f"{path!r} is no path for a layer: it must name something below the root.")
    if len(parts) > 1 and parts[0] in MERGED:
        parts.insert(0, "usr")
    return "/".join(parts)

"""Where downloads, layers and archives are kept: ${XDG_CACHE_HOME:-~/.cache}/crossover/images.

Everything is addressed by what it was made from, so nothing is ever out of date, only unused. Files appear by a rename,
so an interrupted build leaves nothing half made behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.images.errors import ImageError, SourceMissing
from local.images.layer import Layer, LayerBuilder
from local.images.progress import Progress
from local.images.sources import open_url

ATTEMPTS = 4
"""Tries of one download; the pause doubles from 1 s."""
PARALLEL = 8
"""Downloads at once: small files are bound by latency, not by bandwidth."""


@dataclass(frozen=True)
class Download:
    """A file somewhere, with the checksum it must have. `size` in bytes, where known, is for progress only."""

    url: str
    sha256: str
    size: int = 0

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def default_root() -> Path:
    """The cache folder of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "crossover" / "images"


class Cache:
    """Downloads, layers, archives and scratch space below one folder."""

    def __init__(self, root: Path | None = None, progress: Progress | None = None) -> None:
        self.root = root or default_root()
        self.progress = progress or Progress(quiet=True)
        self.downloads = self.root / "downloads"
        self.layers = self.root / "layers"
        self.archives = self.root / "archives"
        self.scratch = self.root / "scratch"
        for folder in (self.downloads, self.layers, self.archives, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One build at a time a user: a second one waits, and then finds everything made."""
        with (self.root / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress.say("another build of images is running; waiting for it to end")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder that is gone afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def layer(self, inputs: object, make: Callable[[LayerBuilder], None]) -> Layer:
        """The layer made of `inputs` (anything JSON holds), from the cache or by `make`."""
        folder = self.layers / digest_of(inputs)
        record = folder / "layer.json"
        if record.is_file():
            stored = json.loads(record.read_text())
            return Layer(folder / "layer.tar", stored["diff_id"], stored["size"])
        with self.workspace() as work, LayerBuilder(work) as builder:
            make(builder)
            made = builder.write(work / "layer.tar")
            (work / "layer.json").write_text(json.dumps({"diff_id": made.diff_id, "size": made.size, "inputs": inputs}))
            folder.mkdir(exist_ok=True)
            (work / "layer.tar").replace(folder / "layer.tar")
            (work / "layer.json").replace(record)
        return Layer(folder / "layer.tar", made.diff_id, made.size)

    def fetch(self, wanted: Iterable[Download], what: str) -> dict[str, Path]:
        """The files by checksum, downloaded where they are not here yet. Raises SourceMissing, ImageError."""
        downloads = list({one.sha256: one for one in wanted}.values())
        missing = [one for one in downloads if not (self.downloads / one.sha256).is_file()]
        if missing:
            total = sum(one.size for one in missing)
            title = f"{what}: downloading {len(missing)} files"
            with self.progress.task(title, total) as advance, ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(lambda one: self._download(one, advance), missing))
        return {one.sha256: self.downloads / one.sha256 for one in downloads}

    def _download(self, download: Download, advance: Callable[[int], None]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._download_once(download, advance)
            except urllib.error.HTTPError as error:
                if error.code in (404, 410):
                    raise SourceMissing(
                        f"{download.url} answers {error.code}: the lock names a file that is gone."
                    ) from error
                reason: Exception = error
            except (OSError, EOFError) as error:  # URLError, time-outs and resets are OSErrors
                reason = error
            if attempt < ATTEMPTS:
                time.sleep(2.0 ** (attempt - 1))
        raise ImageError(
            f"{download.url} could not be downloaded in {ATTEMPTS} attempts ({reason}), so the image cannot be built. "
            "Check the network, or name a mirror (docs/images.md, 'Mirrors'), and run the command again."
        )

    def _download_once(self, download: Download, advance: Callable[[int], None]) -> None:
        digest, partial = hashlib.sha256(), self.scratch / f"{download.sha256}.{os.getpid()}.part"
        try:
            with open_url(download.url) as response, partial.open("wb") as out:
                expected = response.headers.get("Content-Length")
                while chunk := response.read(1 << 18):
                    digest.update(chunk)
                    out.write(chunk)
                    advance(len(chunk))
                if expected is not None and out.tell() != int(expected):
                    raise EOFError(f"{out.tell()} of {expected} bytes came")
            if digest.hexdigest() != download.sha256:
                raise ImageError(
                    f"{download.url} has sha256 {digest.hexdigest()}, the lock says {download.sha256}. It was not "
                    "used. A proxy may have answered instead of the server; if the file was changed, renew the lock."
                )
            partial.replace(self.downloads / download.sha256)
        finally:
            partial.unlink(missing_ok=True)


def digest_of(inputs: object) -> str:
    """A name for anything JSON can hold: the same content, the same name."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

"""Debian packages: a lock of exact versions and checksums, and their files without installing them.

The lock (debian.lock) is made from the archive's signed index, so a build needs neither apt nor a key: the checksum
settles what a file is. Debian drops superseded versions from its mirrors; where the lock names one that is gone, the
signed index is asked for its successor, and the build says so.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cmp_to_key
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from local.images import sources
from local.images.cache import Cache, Download, digest_of
from local.images.definition import IMAGES_DIR
from local.images.errors import ImageError, SourceMissing
from local.images.layer import MERGED, LayerBuilder, clean

LOCK = IMAGES_DIR / "debian.lock"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURE = "amd64"
SUITES = (("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security"))
CA_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
CA_SOURCES = "usr/share/ca-certificates/mozilla/*.crt"


@dataclass(frozen=True)
class Package:
    """One package file: where it lies in which archive, and what it must be."""

    name: str
    version: str
    archive: str
    path: str
    size: int
    sha256: str

    @property
    def download(self) -> Download:
        return Download(f"{sources.debian(self.archive)}/{self.path}", self.sha256, self.size)


def read_lock(path: Path = LOCK) -> dict[str, Package]:
    """The locked packages by name."""
    packages = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, version, archive, size, sha256, file = line.split()
            packages[name] = Package(name, version, archive, file, int(size), sha256)
    return packages


def write_lock(packages: Iterable[Package], path: Path = LOCK) -> None:
    """Write the lock, sorted by name."""
    head = "# Made by `python -m local.images lock debian`: name, version, archive, size, sha256, path.\n"
    lines = (
        f"{one.name} {one.version} {one.archive} {one.size} {one.sha256} {one.path}\n"
        for one in sorted(packages, key=lambda one: one.name)
    )
    path.write_text(head + "".join(lines))


def locked(names: Iterable[str], lock: dict[str, Package]) -> list[Package]:
    """The locked packages of these names. Raises ImageError where one is not locked."""
    wanted = sorted(set(names))
    if unknown := [name for name in wanted if name not in lock]:
        raise ImageError(
            f"Packages {', '.join(unknown)} are named by an image.toml and missing in local/images/debian.lock, so "
            "what to download is open. Run: python -m local.images lock debian"
        )
    return [lock[name] for name in wanted]


def obtain(packages: list[Package], cache: Cache, what: str) -> tuple[list[Package], dict[str, Path]]:
    """The package files by checksum; the packages may be newer than asked where the lock's are gone from the mirror."""
    try:
        return packages, cache.fetch((one.download for one in packages), what)
    except SourceMissing as missing:
        cache.progress.say(f"[yellow]{missing} Asking the signed index for its successor; renew the lock.[/yellow]")
    current = read_index(one.name for one in packages)
    successors = locked((one.name for one in packages), current)
    return successors, cache.fetch((one.download for one in successors), what)


def read_index(names: Iterable[str]) -> dict[str, Package]:
    """The newest version of each of these packages, from the signed indexes of trixie and its updates."""
    wanted, best = set(names), dict[str, Package]()
    for archive, suite in SUITES:
        for package in _packages(archive, _verified_index(archive, suite)):
            known = best.get(package.name)
            if package.name in wanted and (known is None or newer(package.version, known.version)):
                best[package.name] = package
    return best


def _verified_index(archive: str, suite: str) -> str:
    base = f"{sources.debian(archive)}/dists/{suite}"
    release = _verify(_get(f"{base}/InRelease"), f"{base}/InRelease")
    name = f"main/binary-{ARCHITECTURE}/Packages.xz"
    found = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(name)}$", release, re.MULTILINE)
    if found is None:
        raise ImageError(
            f"{base}/InRelease names no {name}; the mirror is incomplete; set {sources.DEBIAN_VARIABLES[archive]}."
        )
    packed = _get(f"{base}/{name}")
    if hashlib.sha256(packed).hexdigest() != found[1]:
        raise ImageError(
            f"{base}/{name} is not what the signed InRelease says; the mirror may be in mid-update. Try again."
        )
    return lzma.decompress(packed).decode()


def _get(url: str) -> bytes:
    with sources.open_url(url) as response:
        return response.read()


def _verify(signed: bytes, source: str) -> str:
    """The text under a good signature of Debian's archive keys."""
    if not KEYRING.is_file():
        raise ImageError(
            f"{KEYRING} is missing, so {source} cannot be trusted. Install debian-archive-keyring and gpgv."
        )
    with tempfile.NamedTemporaryFile() as message:
        message.write(signed)
        message.flush()
        command = ["gpgv", "--keyring", str(KEYRING), "--output", "-", message.name]
        result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0:
        raise ImageError(
            f"{source} has no good signature of Debian's: {result.stderr.decode()[-500:]} Use another mirror."
        )
    return result.stdout.decode()


def _packages(archive: str, index: str) -> Iterator[Package]:
    for stanza in index.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        if "Filename" in fields:
            yield Package(
                fields["Package"], fields["Version"], archive, fields["Filename"], int(fields["Size"]), fields["SHA256"]
            )


def newer(left: str, right: str) -> bool:
    """Whether Debian version `left` is newer than `right` (Debian Policy 5.6.12)."""
    return _compare(left, right) > 0


def _compare(left: str, right: str) -> int:
    for one, other in zip(_split(left), _split(right), strict=True):
        if result := _compare_part(one, other):
            return result
    return 0


def _split(version: str) -> tuple[str, str, str]:
    epoch, _, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-")
    return (epoch or "0", upstream or revision, revision if upstream else "0")


def _compare_part(left: str, right: str) -> int:
    """Turns of non-digits and digits; `~` sorts before the end, letters before other characters."""

    def weight(character: str) -> int:
        return (
            -1 if character == "~" else 0 if character == "" else ord(character) + (0 if character.isalpha() else 256)
        )

    pieces = [re.findall(r"(\D*)(\d*)", text) for text in (left, right)]
    for index in range(max(len(pieces[0]), len(pieces[1]))):
        words, numbers = zip(*(piece[index] if index < len(piece) else ("", "") for piece in pieces), strict=True)
        for place in range(max(len(words[0]), len(words[1])) + 1):
            difference = weight(words[0][place : place + 1]) - weight(words[1][place : place + 1])
            if difference:
                return difference
        if difference := int(numbers[0] or 0) - int(numbers[1] or 0):
            return difference
    return 0


def newest(versions: Iterable[str]) -> str:
    """The newest of some Debian versions."""
    return max(versions, key=cmp_to_key(_compare))


def unpack(deb: Path, layer: LayerBuilder, excluded: Callable[[str], bool]) -> None:
    """Add a package's files to a layer, but for what `excluded` says of their paths."""
    with tarfile.open(fileobj=_data_member(deb), mode="r:") as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            if name in ("", ".") or (member.isdir() and name in MERGED) or excluded(clean(name)):
                continue
            if member.isdir():
                layer.add_directory(name, member.mode)
            elif member.issym():
                layer.add_link(name, member.linkname)
            elif member.islnk():
                layer.add_copy(name, member.linkname, member.mode)
            elif member.isreg():
                layer.add_file(name, cast(IO[bytes], tar.extractfile(member)), member.mode)
            else:
                raise ImageError(
                    f"{deb.name}: {name} is neither file, folder nor link; images hold no devices. Exclude it."
                )


def _data_member(deb: Path) -> IO[bytes]:
    """The data.tar of a .deb, which is an `ar` archive of three members."""
    content = deb.read_bytes()
    position = 8
    while content.startswith(b"!<arch>\n") and position < len(content):
        header = content[position : position + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        body = content[position + 60 : position + 60 + size]
        if name == "data.tar.xz":
            return BytesIO(lzma.decompress(body))
        if name == "data.tar":
            return BytesIO(body)
        if name.startswith("data.tar"):
            raise ImageError(f"{deb} holds {name}; only .xz is read. Use a suite whose packages are packed with xz.")
        position += 60 + size + size % 2
    raise ImageError(f"{deb} is no Debian package (no data.tar in it). Remove it and build again.")


def excluder(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is left out: matched itself, or below a matched folder. `!` before a pattern keeps."""
    keep = [one[1:] for one in patterns if one.startswith("!")]
    drop = [one for one in patterns if not one.startswith("!")]
    return lambda path: any(fnmatchcase(path, one) for one in drop) and not any(fnmatchcase(path, one) for one in keep)


def add_ca_bundle(layer: LayerBuilder) -> None:
    """The bundle that update-ca-certificates would make: every certificate, in the order of file names."""
    sources = list(layer.files(CA_SOURCES))
    if len(sources) < 50:
        raise ImageError(f"Only {len(sources)} certificates match {CA_SOURCES}; add ca-certificates to the packages.")
    layer.add_file(CA_BUNDLE, b"".join(layer.read(path).rstrip(b"\n") + b"\n" for path in sources))


def inputs(packages: list[Package], patterns: tuple[str, ...]) -> dict[str, str]:
    """What a layer of packages depends on."""
    return {"packages": digest_of([one.sha256 for one in packages]), "exclude": digest_of(patterns)}

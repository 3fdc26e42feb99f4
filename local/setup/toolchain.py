"""The Go programs in the user's cache, built where they are not there yet.

`${XDG_CACHE_HOME:-~/.cache}/crossover/toolchain/<group>-<version>-<key>/<program>`: the key
covers everything the build depends on, and a program appears there only once it is whole, so a
build that was cut off goes on where it stopped and clones share what they agree on.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from local.cluster.settings import cache_home
from local.setup.errors import SetupError
from local.setup.golang import find_go
from local.setup.progress import Step, console, step
from local.setup.versions import CLUSTER_GROUPS, Group


class ToolchainError(SetupError):
    """A program cannot be had: which, why, and what to do."""


def key(group: Group) -> str:
    """What the programs of `group` depend on, as 12 hex digits."""
    digest = hashlib.sha256()
    for file in sorted(path for path in group.module.iterdir() if path.suffix in {".mod", ".sum", ".go"}):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(repr((_linker_flags(group), sorted(group.programs.items()), platform.machine())).encode())
    return digest.hexdigest()[:12]


def folder(group: Group) -> Path:
    """Where the programs of `group` lie, or will."""
    return cache_home() / "toolchain" / f"{group.name}-{group.version}-{key(group)}"


def find(group: Group) -> dict[str, Path]:
    """Program name -> file, of those that are there."""
    place = folder(group)
    return {name: place / name for name in group.programs if (place / name).is_file()}


def find_cluster_binaries() -> dict[str, Path]:
    """Program name -> file, for everything the local cluster runs.

    Raises ToolchainError naming those that are missing.
    """
    found: dict[str, Path] = {}
    for group in CLUSTER_GROUPS:
        found |= find(group)
        missing = sorted(set(group.programs) - set(found))
        if missing and group.required:
            raise ToolchainError(f"{', '.join(missing)} not built yet: run `make setup`")
    return found


def ensure(groups: Iterable[Group]) -> dict[str, Path]:
    """Build what is missing of `groups` and return program name -> file for all that is there.

    Raises ToolchainError where a required program cannot be built; of a group that is not
    required it says so and goes on.
    """
    found: dict[str, Path] = {}
    for group in groups:
        have = find(group)
        missing = [name for name in group.programs if name not in have]
        if missing:
            try:
                have |= _build(group, missing)
            except ToolchainError as error:
                if group.required:
                    raise
                console.print(f"  going on without {group.name}: {error}", markup=False)
        found |= have
    return found


def _build(group: Group, programs: list[str]) -> dict[str, Path]:
    go = find_go()
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    with step(f"{group.name} {group.version}: modules") as shown:
        _run([go, "mod", "download"], group, environment, shown)
    built: dict[str, Path] = {}
    place = folder(group)
    place.mkdir(parents=True, exist_ok=True)
    for name in programs:
        with (
            step(f"{group.name} {group.version}: building {name}") as shown,
            tempfile.TemporaryDirectory(dir=place, prefix=".partial-") as partial,
        ):
            target = Path(partial) / name
            flags = ["-mod=readonly", "-trimpath", "-v", "-ldflags", _linker_flags(group), "-o", str(target)]
            _run([go, "build", *flags, group.programs[name]], group, environment, shown)
            built[name] = target.rename(place / name)
    return built


def _linker_flags(group: Group) -> str:
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in group.variables.items())])


def _run(command: list[str], group: Group, environment: dict[str, str], shown: Step) -> None:
    """Run go, telling `shown` of each line, and keep the last lines for an error."""
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=group.module, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None  # PIPE was asked for
        for line in process.stdout:
            lines.append(line.rstrip())
            shown.tick(lines[-1])
    if process.returncode != 0:
        raise ToolchainError(
            f"`{' '.join(command[:3])}` failed for {group.name} {group.version}: " + "\n".join(lines[-8:])
        )

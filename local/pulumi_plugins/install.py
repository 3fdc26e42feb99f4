"""Puts the plugins where the Pulumi CLI looks: the official ones where they can be had,
else the stand-ins.

Resource plugins go to $PULUMI_HOME/plugins under the official names and versions, so that
Pulumi.yaml needs no `plugins:` entry. A language host is found only beside the `pulumi`
binary itself, so that binary is linked, or copied, into a folder of our own next to it.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from local.pulumi_plugins import KUBERNETES_VERSION, RANDOM_VERSION

ENTRY = Path(__file__).with_name("entry.py")
MARK = "# Crossover stand-in plugin"
"""In every wrapper script: tells our files from official ones."""
DOWNLOADS = "https://get.pulumi.com/releases/plugins"
"""Where the CLI itself looks for official plugins."""
PROBE_SECONDS = 4.0
"""How long a machine without that host loses at the first set-up."""
DOWNLOAD_SECONDS = 300.0
RETRY_AFTER_SECONDS = 7 * 24 * 3600.0
"""How long a failed try is remembered."""
STAMP = "official-plugins-unavailable.json"


class InstallError(Exception):
    """The plugins could not be put in place: what, and what to do."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A resource plugin by name and version (without `v`)."""

    name: str
    version: str

    @property
    def folder(self) -> str:
        """Its folder's name under $PULUMI_HOME/plugins."""
        return f"resource-{self.name}-v{self.version}"

    @property
    def binary(self) -> str:
        """Its executable's name."""
        return f"pulumi-resource-{self.name}"


@dataclass(frozen=True, slots=True)
class Installed:
    """What is in place now. `origins` maps language host and plugins to official or stand-in."""

    pulumi: Path
    home: Path
    origins: dict[str, str]


def wanted_plugins() -> tuple[Plugin, ...]:
    """The plugins in the versions that the installed SDK packages ask the engine for."""
    return (
        Plugin("kubernetes", _sdk_version("pulumi-kubernetes", KUBERNETES_VERSION)),
        Plugin("random", _sdk_version("pulumi-random", RANDOM_VERSION)),
    )


def _sdk_version(distribution: str, default: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return default


def install(pulumi: Path, home: Path, binaries: Path, python: Path, *, official: bool | None = None) -> Installed:
    """Installs the language host and the resource plugins; a second run changes nothing.

    `home` is PULUMI_HOME, `binaries` the folder that gets `pulumi` (and the language host),
    `python` an interpreter with the Pulumi SDK. `official`: True insists on the official
    plugins, False takes the stand-ins, None tries the official ones first and remembers a
    failure. The official language host comes with the official CLI, beside it. Raises InstallError.
    """
    if not pulumi.is_file():
        raise InstallError(f"there is no pulumi at {pulumi}: give the path of the CLI with --pulumi")
    home.mkdir(parents=True, exist_ok=True)
    binaries.mkdir(parents=True, exist_ok=True)
    host, command = _install_language_host(pulumi.resolve(), home, binaries, python, official)
    origins = {"python": host}
    for plugin in wanted_plugins():
        origins[plugin.name] = _install_resource(plugin, command, home, python, official)
    return Installed(pulumi=command, home=home, origins=origins)


def _install_language_host(
    pulumi: Path, home: Path, binaries: Path, python: Path, wanted_official: bool | None
) -> tuple[str, Path]:
    command, host = binaries / "pulumi", binaries / "pulumi-language-python"
    official = pulumi.with_name(host.name)
    present = official.exists() and not is_stand_in(official)
    if wanted_official and not present:
        raise InstallError(f"there is no official {host.name} beside {pulumi}: give an official CLI with --pulumi")
    if present and wanted_official is not False:
        host.unlink(missing_ok=True)
        if command.resolve() != pulumi:
            command.unlink(missing_ok=True)
            command.symlink_to(pulumi)
        return "official", command
    if command.is_symlink() or not command.exists() or not _same_file(command, pulumi):
        _link_or_copy(pulumi, command)
    _write_script(host, wrapper(python, "language", {"CROSSOVER_LANGUAGE_HOST_VERSION": _cli_version(command, home)}))
    return "stand-in", command


def _same_file(one: Path, other: Path) -> bool:
    first, second = one.stat(), other.stat()
    return os.path.samestat(first, second) or (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


def _link_or_copy(source: Path, target: Path) -> None:
    """A hard link, for the CLI looks beside its own real path, or a copy across file systems."""
    temporary = target.with_name(target.name + ".new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copy2(source, temporary)
    temporary.replace(target)


def _cli_version(pulumi: Path, home: Path) -> str:
    environment = os.environ | {"PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        result = subprocess.run(
            [pulumi, "version"], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InstallError(f"{pulumi} does not run: {error}") from error
    return result.stdout.strip().removeprefix("v")


def wrapper(python: Path, plugin: str, environment: dict[str, str] | None = None) -> str:
    """The shell script that runs `plugin` of this package with `python`."""
    settings = "".join(f"{name}={shlex.quote(value)} " for name, value in (environment or {}).items())
    command = f"{shlex.quote(str(python))} -I {shlex.quote(str(ENTRY))} {plugin}"
    return f'#!/bin/sh\n{MARK}\n{settings and "export " + settings.strip() + chr(10)}exec {command} "$@"\n'


def _write_script(path: Path, text: str) -> None:
    if path.exists() and path.read_text(errors="replace") == text:
        return
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(0o755)
    temporary.replace(path)


def is_stand_in(path: Path) -> bool:
    """Whether the executable at `path` is one of our wrapper scripts."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(200)


def _install_resource(plugin: Plugin, pulumi: Path, home: Path, python: Path, official: bool | None) -> str:
    binary = home / "plugins" / plugin.folder / plugin.binary
    present = binary.exists() and not is_stand_in(binary)
    if present and official is not False:
        return "official"
    if official is not False and _try_official(plugin, pulumi, home, insist=official is True):
        return "official"
    if present:
        shutil.rmtree(binary.parent)
    binary.parent.mkdir(parents=True, exist_ok=True)
    _write_script(binary, wrapper(python, plugin.name))
    return "stand-in"


def _try_official(plugin: Plugin, pulumi: Path, home: Path, *, insist: bool) -> bool:
    stamp = home / STAMP
    if not insist and _failed_lately(stamp):
        return False
    problem = probe_download(plugin) or _run_official(plugin, pulumi, home)
    if problem is None:
        stamp.unlink(missing_ok=True)
        return True
    if insist:
        raise InstallError(f"the official {plugin.name} v{plugin.version} cannot be installed: {problem}")
    stamp.write_text(json.dumps({"at": time.time(), "problem": problem}))
    return False


def _failed_lately(stamp: Path) -> bool:
    try:
        at = float(json.loads(stamp.read_text())["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return 0 <= time.time() - at < RETRY_AFTER_SECONDS


def probe_download(plugin: Plugin) -> str | None:
    """None where the official plugin can be downloaded from here, else why not.

    The CLI's own download tries five times with growing pauses; this asks once.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    url = f"{DOWNLOADS}/{plugin.binary}-v{plugin.version}-{platform.system().lower()}-{machine}.tar.gz"
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the scheme stands in DOWNLOADS
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):  # noqa: S310 - as above
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {error}"


def _run_official(plugin: Plugin, pulumi: Path, home: Path) -> str | None:
    shutil.rmtree(home / "plugins" / plugin.folder, ignore_errors=True)
    command = [str(pulumi), "plugin", "install", "resource", plugin.name, f"v{plugin.version}"]
    environment = os.environ | {"PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the download took more than {DOWNLOAD_SECONDS:.0f} s"
    return None if result.returncode == 0 else (result.stderr or result.stdout).strip()[-500:]


def default_python() -> Path:
    """The interpreter of this process, by the path of its virtual environment."""
    return Path(sys.executable).absolute()

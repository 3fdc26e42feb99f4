"""Which interpreter runs a program, and what is installed beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.pulumi_plugins.failures import ProviderError

_DISTRIBUTION = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)\.dist-info$")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python and, where it belongs to one, its virtual environment."""

    executable: Path
    virtualenv: Path | None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` as the environment's `activate` script would leave it."""
        result = dict(base)
        if self.virtualenv is not None:
            result["VIRTUAL_ENV"] = str(self.virtualenv)
            result["PATH"] = os.pathsep.join([str(self.virtualenv / "bin"), result.get("PATH", os.defpath)])
            result.pop("PYTHONHOME", None)
        return result

    def site_packages(self) -> Path | None:
        """Where the virtual environment's packages lie; None outside of one."""
        if self.virtualenv is None:
            return None
        return next(iter(sorted(self.virtualenv.glob("lib/python3*/site-packages"))), None)


def find_interpreter(root: str, options: Mapping[str, Any]) -> Interpreter:
    """The interpreter that Pulumi.yaml's `runtime.options` ask for.

    `virtualenv` is relative to `root`, the folder of Pulumi.yaml; without it, the command
    PULUMI_PYTHON_CMD, or python3 of PATH. Raises ProviderError where there is none.
    """
    toolchain = options.get("toolchain") or "pip"
    if toolchain != "pip":
        raise ProviderError(
            f"Pulumi.yaml asks for the toolchain {toolchain!r}, which the stand-in language host does not have: "
            "give runtime.options.virtualenv instead"
        )
    virtualenv = options.get("virtualenv")
    if virtualenv:
        folder = Path(root, str(virtualenv)).absolute()
        executable = folder / "bin" / "python"
        if not executable.exists():
            raise ProviderError(
                f"Pulumi.yaml sets runtime.options.virtualenv to {virtualenv!r}, but {executable} does not exist: "
                "make the environment with `pulumi install`"
            )
        return Interpreter(executable, folder)
    for name in (os.environ.get("PULUMI_PYTHON_CMD"), "python3", "python"):
        found = shutil.which(name) if name else None
        if found:
            return Interpreter(Path(found), None)
    raise ProviderError("no python3 is on PATH, and Pulumi.yaml names no runtime.options.virtualenv")


@dataclass(frozen=True, slots=True)
class PluginNeed:
    """A resource plugin that an installed SDK package names in its pulumi-plugin.json."""

    name: str
    version: str
    server: str


def required_plugins(site_packages: Path | None) -> list[PluginNeed]:
    """The plugins of the SDK packages in `site_packages`, by name."""
    found = []
    for path in sorted(site_packages.glob("*/pulumi-plugin.json")) if site_packages else []:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            print(f"skipping {path}: {error}", file=sys.stderr)
            continue
        if content.get("resource") and content.get("name"):
            found.append(PluginNeed(content["name"], content.get("version", ""), content.get("server", "")))
    return found


def installed_distributions(site_packages: Path | None) -> list[tuple[str, str]]:
    """(name, version) of every distribution in `site_packages`, sorted."""
    if site_packages is None:
        return []
    matches = (_DISTRIBUTION.match(path.name) for path in site_packages.glob("*.dist-info"))
    return sorted((match["name"], match["version"]) for match in matches if match)

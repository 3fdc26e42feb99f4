"""`crossover bench`: `python -m benchmarks`, by the component's name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.errors import CliError
from contracts.stages import Component


def command(root: Path, component: Component, parts: Sequence[str]) -> list[str]:
    """What is run in `root`. Raises CliError where this checkout has no benchmark of the component."""
    if not (root / "benchmarks" / "__main__.py").exists():
        raise CliError(
            f"{root} has no benchmarks: they come with the program's sources, and are in no image",
            "run crossover from a checkout of its repository",
        )
    if not (root / "benchmarks" / f"{component.value}.py").exists():
        raise CliError(f"there is no benchmark of {component.value}", f"one of: {', '.join(_known(root))}")
    return [sys.executable, "-m", "benchmarks", component.value, *parts]


def run(root: Path, component: Component, parts: Sequence[str]) -> int:
    """Run it, its output passed on; its exit status: 1 where a limit is not kept, 2 where a part is not known."""
    return subprocess.run(command(root, component, parts), cwd=root, check=False).returncode


def _known(root: Path) -> list[str]:
    return [one.value for one in Component if (root / "benchmarks" / f"{one.value}.py").exists()]

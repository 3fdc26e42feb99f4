"""What every test run has: more workers than cores, one folder that they share, work in memory, and no deadlines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SHARED = "CROSSOVER_TESTS_SHARED"
"""The environment variable with that folder. Workers get it from the process that starts them."""
_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()

_MEMORY = Path("/dev/shm")  # noqa: S108 - names below it are made as they are below /tmp
_ROOM = 6 << 30
"""Bytes that must be free there; the servers of a whole run take about 1 GB."""


def _work_in_memory() -> None:
    """Let temporary files lie in memory where there is room, unless TMPDIR says where. A machine that runs tests may
    let a sync wait for seconds, as while large files are deleted: Kafka then takes a change of rights in 7 s, and what
    is measured is the disk. In a pod what the pooler keeps lies in memory, too; what a killed server had written
    outlives it either way."""
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM:
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # it is read anew


_work_in_memory()

settings.register_profile("unhurried", deadline=None)  # a full machine is no fault of what is tested
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def cluster() -> Path:
    """The kubeconfig of a running cluster: the one that KUBECONFIG names, or the local one, brought up."""
    given = os.environ.get("KUBECONFIG")
    if given:
        return Path(given)
    subprocess.run([sys.executable, "-m", "local.cluster", "up"], cwd=ROOT, check=True)
    found = ROOT / ".crossover" / "kubeconfig"
    os.environ["KUBECONFIG"] = str(found)
    return found


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Two workers a core that xdist counts: half of the tests' time is spent on waiting for threads."""
    counted = yield
    return counted if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else 2 * counted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Beside others, modules that may take long begin first: one that begins last keeps all other workers waiting."""
    if hasattr(config, "workerinput"):
        longest: dict[str, float] = {}
        for item in items:
            mark = item.get_closest_marker("timeout")
            module = item.nodeid.partition("::")[0]
            longest[module] = max(longest.get(module, 0.0), float(mark.args[0]) if mark is not None else 0.0)
        items.sort(key=lambda item: -longest[item.nodeid.partition("::")[0]])


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder, in the process that starts the workers."""
    if SHARED not in os.environ:
        config.stash[_FOLDER] = tempfile.TemporaryDirectory(prefix="crossover-tests-")
        os.environ[SHARED] = config.stash[_FOLDER].name


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it there too."""
    if _FOLDER in config.stash:
        del os.environ[SHARED]
        config.stash[_FOLDER].cleanup()

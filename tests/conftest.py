"""What every test run has: more workers than cores, one folder that they share, and no deadlines."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator

import pytest
from hypothesis import settings

SHARED = "CROSSOVER_TESTS_SHARED"
"""The environment variable with that folder. Workers get it from the process that starts them."""
_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()

settings.register_profile("unhurried", deadline=None)  # a full machine is no fault of what is tested
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Two workers a core that xdist counts: half of the tests' time is spent on waiting for threads."""
    counted = yield
    return counted if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else 2 * counted


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

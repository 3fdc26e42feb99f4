"""Fixtures of the cluster tests: a running cluster, made if need be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.stages import Stage
from tests.e2e.journey import Stack

ROOT = Path(__file__).parents[2]


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


@pytest.fixture(scope="session")
def stack(cluster: Path) -> Stack:
    """The stack `local`, up at the stage where it was left, or at mvp."""
    if not (ROOT / ".crossover" / "env").exists() or shutil.which("pulumi") is None:
        subprocess.run([sys.executable, "-m", "local.setup"], cwd=ROOT, check=True)
    found = Stack(ROOT)
    if found.pulumi.stage("event_bus") is None:
        found.ask_for(Stage.MVP)
    found.pulumi.up()
    return found
